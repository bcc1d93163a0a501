import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from jaxsnn_mia import data

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("iris", (150, 4), 3),
        ("wine", (178, 13), 3),
        ("breast_cancer", (569, 30), 2),
        ("digits", (1797, 64), 10),
    ],
)
def test_embedded_tables(name, shape, classes):
    dataset = data.load(name)
    assert dataset.x.shape == shape
    assert dataset.x.dtype == np.float32
    assert len(dataset.class_names) == classes == len(np.unique(dataset.y))
    assert dataset.sha256 == data.load(name).sha256
    assert "scikit-learn" in data.fingerprint(name)


def test_iris_has_a_duplicate():
    unit = data.units(data.load("iris").x)
    assert len(unit) - len(np.unique(unit)) == 1


def test_an_npz_of_ones_own(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(20, 2, 3)), np.arange(20) % 2
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    dataset = data.load(f"npz:{tmp_path / 'mine.npz'}")
    assert dataset.shape == (2, 3)
    before = data.fingerprint(f"npz:{tmp_path / 'mine.npz'}")
    np.savez(tmp_path / "mine.npz", x=x + 1, y=y)
    assert data.fingerprint(f"npz:{tmp_path / 'mine.npz'}") != before


def bad(**arrays):
    return {"x": np.zeros((6, 2)), "y": np.arange(6) % 2, **arrays}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (bad(x=np.full((6, 2), np.nan)), "NaN or infinity in 6 rows"),
        (bad(x=np.array([[0, np.inf]] * 6)), "NaN or infinity"),
        (bad(y=np.zeros(6, int)), "at least 2 classes, got 1"),
        (bad(y=np.arange(6) % 2 - 1), r"without gaps, got \[-1, 0\]"),
        (bad(y=np.arange(6) / 2), "must be integers, got float64"),
        (bad(y=np.arange(5) % 2), r"shape \(6,\)"),
        (bad(x=np.zeros(6)), r"\[N, ...\]"),
        (bad(x=np.full((6, 2), 1e300)), "finite in float32"),
        (bad(y=np.arange(6) % 2 * 7), r"without gaps, got \[0, 7\]"),
        (bad(test=np.arange(2)), r"test must be boolean \(6,\), got int64 \(2,\)"),
        (bad(x=np.array([[{}]] * 6)), "Pickled objects are refused"),
        ({"x": np.zeros((6, 2))}, "lacks \\['y'\\]"),
        (bad(class_names=np.array(["a"])), r"must lie in \[0, 0\]"),
    ],
)
def test_a_bad_npz_is_refused_with_the_reason(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        data.load(f"npz:{tmp_path / 'bad.npz'}")


def test_what_is_no_npz_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("x,y\n1,0\n")
    for name in ("text.npz", "missing.npz"):
        with pytest.raises(ValueError, match=r"not an \.npz|no such file"):
            data.load(f"npz:{tmp_path / name}")


@pytest.mark.parametrize("name", ["digit", "npz", "iris:3"])
def test_an_unknown_source_names_the_known_ones(name):
    with pytest.raises(ValueError, match=rf"breast_cancer, .*digits, .* got '{name}'"):
        data.load(name)


def test_location30_reads_the_published_format(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 2, (60, 446))
    text = "\n".join(f'"{i % 30 + 1}",' + ",".join(map(str, row)) for i, row in enumerate(rows)).encode()
    with tarfile.open(tmp_path / "dataset_location.tgz", "w:gz") as archive:
        info = tarfile.TarInfo("bangkok")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
    monkeypatch.setenv("JAXSNN_MIA_DATA", str(tmp_path))
    dataset = data.load("location30")
    np.testing.assert_array_equal(dataset.x, rows)
    np.testing.assert_array_equal(dataset.y, np.arange(60) % 30)
    archive_path = tmp_path / "dataset_location.tgz"
    archive_path.write_bytes(archive_path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"not the published archive.*Download it again"):
        data.load("location30")
    monkeypatch.delenv("JAXSNN_MIA_DATA")
    with pytest.raises(ValueError, match=r"dataset_location\.tgz not found in any folder.*data\.dir"):
        data.load("location30")


@pytest.mark.real_data
def test_the_real_location30():
    dataset = data.load("location30", os.environ["JAXSNN_MIA_DATA"])
    assert dataset.x.shape == (5010, 446)
    assert len(dataset.class_names) == 30


def test_tfds_reads_array_records_without_tensorflow():
    code = f"""
import sys
from jaxsnn_mia import data
dataset = data.load("tfds:glyphs", {str(FIXTURES / "tfds")!r})
assert dataset.x.shape == (32, 8, 8, 1) and 0 <= dataset.x.min() < dataset.x.max() <= 1, dataset.x.shape
assert dataset.class_names == ("bar", "box") and dataset.test_n.sum() == 8
centre = dataset.x[:, 2:6, 5, 0].mean(1) > 0.5  # a box is bright there, a bar is not
assert (centre == dataset.y).all()
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_tfds_that_is_not_prepared_says_how(tmp_path):
    with pytest.raises(ValueError, match=r"tfds build mnist --file_format=array_record --data_dir="):
        data.load("tfds:mnist", str(tmp_path))
