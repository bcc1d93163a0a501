"""Location-30, Purchase-100 and Texas-100, from files written here in the published format, and with each fault."""

import gzip
import io
import os
import tarfile

import numpy as np
import pytest

from jaxsnn_mia import data

RNG = np.random.default_rng(0)


def published(name, n=70, quoted=False):
    """Random records of the published width as {member: text}, with what they hold."""
    _, table, beside, features, classes = data.records.PUBLISHED[name]
    x, y = RNG.integers(0, 2, (n, features)), np.arange(n) % classes
    labels = [f'"{label + 1}"' if quoted else str(label + 1) for label in y]
    rows = [",".join(map(str, row)) for row in x]
    if beside:
        return {table: "\n".join(rows) + "\n", beside: "\n".join(labels) + "\n"}, x, y
    return {table: "\n".join(map(",".join, zip(labels, rows, strict=True)))}, x, y


def write_archive(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))


@pytest.mark.parametrize(
    ("name", "quoted", "prefix"),
    [("location30", True, ""), ("purchase100", False, "./"), ("purchase100", True, ""), ("texas100", False, "")],
)
def test_published_tables_from_archives_extracted_files_and_folders(tmp_path, monkeypatch, name, quoted, prefix):
    members, x, y = published(name, n=12, quoted=quoted)
    archive = data.records.PUBLISHED[name].archive
    write_archive(tmp_path / archive, {prefix + member: text for member, text in members.items()})
    for member, text in members.items():
        (tmp_path / "extracted" / member).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "extracted" / member).write_text(text)
    table = tmp_path / "extracted" / next(iter(members))
    monkeypatch.setenv("JAXSNN_MIA_DATA", str(tmp_path))
    where = [(name, str(tmp_path)), (name, ""), (name, f"{tmp_path}/extracted"), (name, str(table.parent))]
    for named, folder in [*where, (f"{name}:{tmp_path / archive}", "elsewhere"), (f"{name}:{table}", "elsewhere")]:
        found = data.load(named, folder)
        np.testing.assert_array_equal(found.x, x)
        np.testing.assert_array_equal(found.y, y)
        assert found.x.dtype == np.float32
        assert len(found.class_names) == data.records.PUBLISHED[name].classes
    before = [data.fingerprint(named, folder) for named, folder in where]
    assert before[0] == before[1] != before[2] == before[3]
    last = tmp_path / "extracted" / list(members)[-1]  # of Texas the labels
    last.write_text(last.read_text().replace("1", "2", 1))
    assert data.fingerprint(*where[3]) != before[3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-2], "line 70: expected 600 features of 0 or 1"),
        (lambda rows: rows.replace("\n", ",1\n", 1), "line 1: expected 600 features"),
        (lambda rows: rows[:-1] + "2", "line 70: features must be 0 or 1"),
        (lambda rows: rows[:-2] + ",,", "line 70: expected 600 features"),
        (lambda rows: rows.replace("1,", "one,", 1), "invalid literal"),
        (lambda rows: "0" + rows[1:], "labels must be 1 to 100, got 0 to"),
        (lambda rows: "101" + rows[1:], "labels must be 1 to 100, got 2 to 101|got 1 to 101"),
        (lambda rows: "", "labels must be 1 to 100"),
        (lambda rows: rows.replace("\n", "\n\n", 1), "invalid literal"),
    ],
)
def test_what_is_not_as_published_is_refused_with_its_line(tmp_path, change, message):
    members, _, _ = published("purchase100")
    (tmp_path / "dataset_purchase").write_text(change(members["dataset_purchase"]))
    with pytest.raises(ValueError, match=rf"purchase100: .* is not as published \(.*({message}).*Get it again from"):
        data.load("purchase100", str(tmp_path))


def test_archives_that_are_missing_cut_or_others_are_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("JAXSNN_MIA_DATA", raising=False)
    with pytest.raises(ValueError, match=r"location30: dataset_location\.tgz .* not found in any folder.*data\.dir"):
        data.load("location30")
    with pytest.raises(ValueError, match=r"dataset_texas\.tgz \(or .*feats\) not found in .*Get it from .*datasets"):
        data.load("texas100", str(tmp_path))
    with pytest.raises(ValueError, match=r"purchase100: .* not found in nowhere/file\.tgz"):
        data.load("purchase100:nowhere/file.tgz", str(tmp_path))
    members, _, _ = published("texas100", n=5)
    path = tmp_path / "dataset_texas.tgz"
    write_archive(path, members | {"texas/100/labels": "1\n2\n"})
    with pytest.raises(ValueError, match="2 labels for 5 records"):
        data.load("texas100", str(tmp_path))
    write_archive(path, {"texas/100/feats": members["texas/100/feats"]})
    with pytest.raises(ValueError, match="no file texas/100/labels in it"):
        data.load("texas100", str(tmp_path))
    archive = path.read_bytes()
    for cut in (archive[:200], archive[:20], gzip.compress(b"no tar")):
        path.write_bytes(cut)
        assert data.fingerprint("texas100", str(tmp_path))
        with pytest.raises(ValueError, match=r"texas100: .* is not as published \((?!line|invalid).*Get it again from"):
            data.load("texas100", str(tmp_path))


@pytest.mark.real_data
def test_the_real_location30():
    dataset = data.load("location30", os.environ["JAXSNN_MIA_DATA"])
    assert dataset.x.shape == (5010, 446)
    assert len(dataset.class_names) == 30


@pytest.mark.long
@pytest.mark.real_data
def test_the_published_files():
    mnist, cifar = data.load("mnist10k"), data.load("cifar10_jpeg")
    assert mnist.x.shape == (10_000, 28, 28, 1)
    assert np.bincount(mnist.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.load(f"mnist_idx:{os.environ['JAXSNN_MIA_DATA']}").sha256 == mnist.sha256
    assert cifar.x.shape == (60_000, 32, 32, 3)
    assert cifar.test_n.sum() == 10_000
    assert set(np.bincount(cifar.y)) == {6000}
