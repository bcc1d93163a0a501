"""Data sources that read files: each from files written here in the published format, and with each fault there is."""

import errno
import gzip
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsnn_mia import config, data
from jaxsnn_mia.pipeline.run import run_pipeline

FIXTURES = Path(__file__).parents[1] / "fixtures"
RNG = np.random.default_rng(0)


# IDX files


def idx(array, compress=gzip.compress):
    head = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">i4").tobytes()
    return compress(head + array.tobytes())


def digits(n, size=(28, 28)):
    return RNG.integers(0, 256, (n, *size)).astype(np.uint8), (np.arange(n) % 10).astype(np.uint8)


def write_pair(folder, start, pair, end=".gz", dot="-"):
    folder.mkdir(exist_ok=True)
    for part, array in zip(("images{}idx3-ubyte", "labels{}idx1-ubyte"), pair, strict=True):
        (folder / f"{start}-{part.format(dot)}{end}").write_bytes(idx(array, gzip.compress if end else bytes))


def test_mnist10k_from_idx_files(tmp_path):
    images, labels = digits(7)
    write_pair(tmp_path, "t10k", (images, labels))
    found = data.load("mnist10k", str(tmp_path))
    np.testing.assert_array_equal(found.x[..., 0], images)
    np.testing.assert_array_equal(found.y, labels)
    assert found.x.dtype == np.uint8
    assert found.test_n is None
    for cut in (idx(images)[:-20], idx(images, bytes)[:-1], idx(images, bytes)[:3], b"", b"\0" * 20):
        (tmp_path / data.idx.FILES[0]).write_bytes(cut)
        with pytest.raises(ValueError, match=r"no whole IDX file of bytes \(.*Download it again"):
            data.load("mnist10k", str(tmp_path))
    with pytest.raises(ValueError, match=r"mnist10k: t10k-images.* not found in .*nowhere.*Get it from .*mnist"):
        data.load("mnist10k", str(tmp_path / "nowhere"))


@pytest.mark.parametrize(("end", "dot"), [(".gz", "-"), ("", "-"), ("", ".")])
def test_mnist_idx_has_both_files_and_the_official_split(tmp_path, end, dot):
    train, test = digits(12), digits(5)
    write_pair(tmp_path, "train", train, end, dot)
    write_pair(tmp_path, "t10k", test, end, dot)
    found = data.load(f"mnist_idx:{tmp_path}")
    np.testing.assert_array_equal(found.x[..., 0], np.concatenate([train[0], test[0]]))
    np.testing.assert_array_equal(found.y, np.concatenate([train[1], test[1]]))
    assert found.test_n.tolist() == [False] * 12 + [True] * 5
    assert found.class_names == tuple("0123456789")


def test_mnist_idx_of_one_split_has_no_test_rows(tmp_path):
    for start in ("train", "t10k"):
        write_pair(tmp_path / start, start, digits(10))
        found = data.load(f"mnist_idx:{tmp_path / start}")
        assert found.test_n is None
        assert len(found.x) == 10


def test_mnist_idx_of_emnist_is_one_set_with_labels_from_one(tmp_path):
    images, labels = digits(10)
    for start in ("emnist-letters-train", "emnist-letters-test", "emnist-mnist-train"):
        write_pair(tmp_path, start, (images, labels % 3 + 1))
    with pytest.raises(
        ValueError, match=r"one set expected, got \['emnist-letters-train-images-idx3-ubyte', 'emnist-mn"
    ):
        data.load(f"mnist_idx:{tmp_path}")
    found = data.load(f"mnist_idx:{tmp_path}/emnist-letters")
    assert found.test_n.sum() == 10
    np.testing.assert_array_equal(found.y, np.tile(labels % 3, 2))
    assert found.class_names == ("1", "2", "3")


def test_a_fingerprint_of_idx_files_is_that_of_their_content(tmp_path):
    pair = digits(10)
    write_pair(tmp_path, "t10k", pair)
    before = data.fingerprint(f"mnist_idx:{tmp_path}")
    write_pair(tmp_path, "t10k", pair)
    assert data.fingerprint(f"mnist_idx:{tmp_path}") == before
    write_pair(tmp_path, "t10k", (pair[0], pair[1][::-1]))
    assert data.fingerprint(f"mnist_idx:{tmp_path}") != before


def test_idx_files_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte .*not found in .*Get the"):
        data.load(f"mnist_idx:{tmp_path}")
    images, labels = digits(6)
    write_pair(tmp_path, "train", (images, labels[:5]))
    with pytest.raises(ValueError, match=r"got \(6, 28, 28\) and \(5,\) in train"):
        data.load(f"mnist_idx:{tmp_path}")
    write_pair(tmp_path, "train", (images, labels))
    write_pair(tmp_path, "t10k", digits(3, (20, 20)))
    with pytest.raises(ValueError, match=r"one size and labels \[N\], got \(3, 20, 20\)"):
        data.load(f"mnist_idx:{tmp_path}")
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match=r": train-labels-idx1-ubyte \(or \.gz\) not found in"):
        data.load(f"mnist_idx:{tmp_path}")


# CIFAR-10 of JPEGs


def test_cifar_from_jpegs(tmp_path):
    plain = np.stack([np.full((32, 32, 3), 20 * i, np.uint8) for i in range(6)])
    files = []
    for image in plain:
        out = io.BytesIO()
        Image.fromarray(image).save(out, "JPEG", quality=95)
        files.append(np.frombuffer(out.getvalue(), np.uint8))
    arrays = {
        "jpeg": np.concatenate(files), "offsets": np.cumsum([0, *map(len, files)]),
        "label": np.arange(6) % 3, "is_train": np.arange(6) < 4, "class_names": np.array(["a", "b", "c"]),
    }  # fmt: skip
    np.savez(tmp_path / data.cifar.FILE, **arrays)
    found = data.load("cifar10_jpeg", str(tmp_path))
    np.testing.assert_allclose(found.x.astype(int), plain.astype(int), atol=2)
    assert found.test_n.tolist() == [False] * 4 + [True] * 2
    (tmp_path / data.cifar.FILE).rename(tmp_path / "mine.npz")
    by_path = f"cifar10_jpeg:{tmp_path / 'mine.npz'}"
    assert data.load(by_path, "elsewhere").sha256 == found.sha256
    np.savez(tmp_path / "mine.npz", **{**arrays, "jpeg": arrays["jpeg"][:100]})
    with pytest.raises(ValueError, match="is not the published file"):
        data.load(by_path)
    with pytest.raises(ValueError, match=r"cifar10_jpeg\.npz not found in .*tfds:cifar10"):
        data.load("cifar10_jpeg", str(tmp_path))
    with pytest.raises(ValueError, match=r"cifar10_jpeg:nothing\.npz: no such file\. .*tfds:cifar10"):
        data.load("cifar10_jpeg:nothing.npz")


# the tables of Shokri et al.


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


# an image folder


def write_images(root, sizes=((5, 4),), modes=("RGB",), n=3, suffix="png"):
    """n images of each class; image i has size and mode i of those given, cyclically. Gives their arrays."""
    arrays = []
    for name in ("a", "b"):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            shape = sizes[i % len(sizes)]
            image = Image.fromarray(RNG.integers(0, 256, (*shape, 3)).astype(np.uint8)).convert(modes[i % len(modes)])
            image.save(root / name / f"{i}.{suffix}")
            arrays.append(np.asarray(image))
    return np.stack(arrays) if len(sizes) == len(modes) == 1 else arrays


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1), ("1", 1)])
def test_an_image_folder(tmp_path, mode, channels):
    plain = write_images(tmp_path, modes=(mode,))
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    found = data.load(f"folder:{tmp_path}")
    assert found.x.dtype == np.uint8
    np.testing.assert_array_equal(found.x, plain.reshape(6, 5, 4, channels) * (255 if mode == "1" else 1))
    assert found.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.class_names == ("a", "b")
    assert found.test_n is None


def test_grey_images_among_coloured_ones_have_three_equal_channels(tmp_path):
    plain = write_images(tmp_path, modes=("RGB", "L"))
    x = data.load(f"folder:{tmp_path}").x
    np.testing.assert_array_equal(x[0], plain[0])
    np.testing.assert_array_equal(x[1], np.stack([plain[1]] * 3, -1))


def test_an_image_folder_with_a_split_of_its_own(tmp_path):
    train = write_images(tmp_path / "train", suffix="bmp")
    test = write_images(tmp_path / "test", n=1, suffix="PNG")
    found = data.load(f"folder:{tmp_path}")
    np.testing.assert_array_equal(found.x, np.concatenate([train, test]))
    assert found.test_n.tolist() == [False] * 6 + [True] * 2
    assert found.y.tolist() == [0, 0, 0, 1, 1, 1, 0, 1]


def test_classes_may_be_called_train_and_test(tmp_path):
    write_images(tmp_path)
    for old, new in (("a", "train"), ("b", "test")):
        (tmp_path / old).rename(tmp_path / new)
    found = data.load(f"folder:{tmp_path}")
    assert found.class_names == ("test", "train")
    assert found.test_n is None


def test_a_fingerprint_of_a_folder_sees_names_sizes_and_times(tmp_path):
    write_images(tmp_path)
    seen = {data.fingerprint(f"folder:{tmp_path}")}
    file = tmp_path / "a" / "0.png"
    os.utime(file, (1, 1))
    seen.add(data.fingerprint(f"folder:{tmp_path}"))
    file.write_bytes(file.read_bytes() + b"x")
    os.utime(file, (1, 1))
    seen.add(data.fingerprint(f"folder:{tmp_path}"))
    file.rename(tmp_path / "a" / "z.png")
    seen.add(data.fingerprint(f"folder:{tmp_path}"))
    assert len(seen) == 4
    tmp_path = tmp_path.rename(tmp_path.with_name("moved"))
    assert data.fingerprint(f"folder:{tmp_path}") in seen


def test_faults_of_an_image_folder_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere: no such folder\. Put images .* into DIR/CLASS"):
        data.load("folder:nowhere")
    with pytest.raises(ValueError, match="no images in any subfolder"):
        data.load(f"folder:{tmp_path}")
    write_images(tmp_path / "sizes", sizes=((9, 4), (5, 4), (5, 4)))
    with pytest.raises(ValueError, match=r"expected 5x4 \(height x width\) as most, got 9x4 in .*a/0\.png"):
        data.load(f"folder:{tmp_path / 'sizes'}")
    write_images(tmp_path / "broken")
    file = tmp_path / "broken" / "b" / "1.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"cannot read .*b/1\.png"):
        data.load(f"folder:{tmp_path / 'broken'}")
    Image.fromarray(np.full((5, 4), 40_000, np.uint16)).save(file)
    with pytest.raises(ValueError, match=r"b/1\.png \(expected 8 bits per channel, got mode I;16"):
        data.load(f"folder:{tmp_path / 'broken'}")
    (tmp_path / "broken" / "c").mkdir()
    with pytest.raises(ValueError, match=r"no images in \['c'\]"):
        data.load(f"folder:{tmp_path / 'broken'}")
    for split in ("train", "test"):
        write_images(tmp_path / "split" / split)
    (tmp_path / "split" / "val").mkdir()
    with pytest.raises(ValueError, match=r"train and test must stand alone, got also \['val'\]"):
        data.load(f"folder:{tmp_path / 'split'}")
    (tmp_path / "split" / "val").rmdir()
    shutil.rmtree(tmp_path / "split" / "test" / "b")
    with pytest.raises(ValueError, match=r"the same classes, got \[\['a', 'b'\], \['a'\]\]"):
        data.load(f"folder:{tmp_path / 'split'}")


# tensorflow-datasets


@pytest.fixture
def glyphs(tmp_path):
    """The folder of the committed ArrayRecord set, copied: reading writes a cache beside it."""
    shutil.copytree(FIXTURES / "tfds", tmp_path / "tfds")
    return tmp_path / "tfds"


def test_tfds_reads_array_records_and_then_its_cache_without_tensorflow(glyphs):
    code = f"""
import sys
from jaxsnn_mia import data
dataset = data.load("tfds:glyphs", {str(glyphs)!r})
assert dataset.x.shape == (32, 8, 8, 1) and dataset.x.dtype == "uint8", (dataset.x.shape, dataset.x.dtype)
assert dataset.class_names == ("bar", "box") and dataset.test_n.sum() == 8
centre = dataset.x[:, 2:6, 5, 0].mean(1) > 128  # a box is bright there, a bar is not
assert (centre == dataset.y).all()
assert "tensorflow" not in sys.modules
print(dataset.sha256, data.fingerprint("tfds:glyphs", {str(glyphs)!r}))
"""
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    before = set(sys.modules)
    shutil.rmtree(glyphs / "glyphs" / "1.0.0")
    found = data.load("tfds:glyphs", str(glyphs))  # from the cache, which is enough by itself
    assert [found.sha256, *data.fingerprint("tfds:glyphs", str(glyphs)).split()] == out
    assert found.x.dtype == np.uint8
    assert not {"tensorflow", "tensorflow_datasets"} & (set(sys.modules) - before)


def flipped(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 64
    path.write_bytes(content)


def test_a_damaged_or_outdated_cache_is_made_again_or_refused(glyphs, caplog):
    whole = data.load("tfds:glyphs", str(glyphs))
    cache = glyphs / "glyphs" / "1.0.0.npz"
    good = cache.read_bytes()
    for at in RNG.integers(0, len(good), 12):
        flipped(cache, at)
        assert data.load("tfds:glyphs", str(glyphs)).sha256 == whole.sha256
        cache.write_bytes(good)
    with np.load(cache) as arrays:
        stored = dict(arrays)
    np.savez(cache, **{**stored, "x": stored["x"][::-1]})  # a whole file of other content
    caplog.clear()
    assert data.load("tfds:glyphs", str(glyphs)).sha256 == whole.sha256
    assert "stored sha256" in caplog.text
    np.savez(cache, **{**stored, "about": '{"name": "glyphs/1.0.0", "state": "another"}'})
    caplog.clear()
    assert data.load("tfds:glyphs", str(glyphs)).sha256 == whole.sha256
    assert "out of date" in caplog.text
    caplog.clear()
    assert data.load("tfds:glyphs", str(glyphs)).sha256 == whole.sha256  # it was written again
    assert not caplog.text
    prepared = data.fingerprint("tfds:glyphs", str(glyphs))
    (glyphs / "glyphs" / "1.0.0" / "label.labels.txt").write_text("bar\nsquare\n")
    assert data.fingerprint("tfds:glyphs", str(glyphs)) != prepared
    assert data.load("tfds:glyphs", str(glyphs)).class_names == ("bar", "square")
    shutil.rmtree(glyphs / "glyphs" / "1.0.0")
    cache.write_bytes(good[: len(good) // 2])
    for ask in (data.load, data.fingerprint):
        with pytest.raises(ValueError, match=r"1\.0\.0\.npz is damaged .*jaxsnn_mia\.data\.tfds glyphs --dir"):
            ask("tfds:glyphs", str(glyphs))


def test_a_flip_anywhere_in_the_arrays_of_a_cache_is_seen(glyphs):
    """No record to fall back on: whatever is given is what was cached."""
    whole = data.load("tfds:glyphs", str(glyphs))
    shutil.rmtree(glyphs / "glyphs" / "1.0.0")
    cache = glyphs / "glyphs" / "1.0.0.npz"
    good, refused = cache.read_bytes(), 0
    for at in RNG.integers(0, len(good), 60):
        flipped(cache, at)
        try:
            assert data.load("tfds:glyphs", str(glyphs)).sha256 == whole.sha256  # padding, dates of the zip
        except ValueError as error:
            assert "is damaged" in str(error)  # noqa: PT017
            refused += 1
        cache.write_bytes(good)
    assert refused > 30


def test_a_read_only_folder_is_read_without_a_cache(glyphs, monkeypatch, caplog):
    def refuse(*paths):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    assert data.load("tfds:glyphs", str(glyphs)).x.shape == (32, 8, 8, 1)
    assert "Read-only file system" in caplog.text
    assert sorted(path.name for path in (glyphs / "glyphs").iterdir()) == ["1.0.0"]


def test_versions_and_configs_of_tfds(glyphs, tmp_path):
    place = glyphs / "glyphs"
    for version in ("9.0.0", "10.0.0"):
        shutil.copytree(place / "1.0.0", place / version)
        info = place / version / "dataset_info.json"
        info.write_text(info.read_text().replace('"1.0.0"', f'"{version}"'))
    assert data.fingerprint("tfds:glyphs", str(glyphs)).startswith("glyphs/10.0.0 ")
    assert data.fingerprint("tfds:glyphs:9.0.0", str(glyphs)).startswith("glyphs/9.0.0 ")
    with pytest.raises(ValueError, match=r"no prepared data set of version 2\.0\.0 in"):
        data.load("tfds:glyphs:2.0.0", str(glyphs))
    (tmp_path / "other" / "glyphs").mkdir(parents=True)
    shutil.copytree(place / "1.0.0", tmp_path / "other" / "glyphs" / "small" / "1.0.0")
    with pytest.raises(ValueError, match=r"It has the configs \['small'\]: name one, as in tfds:glyphs/small"):
        data.load("tfds:glyphs", str(tmp_path / "other"))
    assert len(data.load("tfds:glyphs/small", str(tmp_path / "other")).x) == 32


def rewrite(folder, change):
    """Lets change(i, features of the proto) act on every training example of the glyphs in `folder`."""
    from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    path = folder / "glyphs" / "1.0.0" / "glyphs-train.array_record-00000-of-00001"
    reader = ArrayRecordReader(str(path))
    examples = [tf_example_pb2.Example.FromString(record) for record in reader.read_all()]
    reader.close()
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for i, example in enumerate(examples):
        change(i, example.features.feature)
        writer.write(example.SerializeToString())
    writer.close()


def test_tfds_rows_without_a_label_are_left_out(glyphs):
    def unlabel(i, features):
        if i < 5:
            features["label"].int64_list.value[0] = -1

    before = data.load("tfds:glyphs", str(glyphs))
    rewrite(glyphs, unlabel)
    after = data.load("tfds:glyphs", str(glyphs))
    np.testing.assert_array_equal(after.x, before.x[5:])
    np.testing.assert_array_equal(after.y, before.y[5:])
    assert after.test_n.sum() == 8


def test_tfds_images_of_several_sizes_are_refused(glyphs):
    def widen(i, features):
        if i == 3:
            out = io.BytesIO()
            Image.fromarray(np.zeros((8, 9), np.uint8)).save(out, "PNG")
            features["image"].bytes_list.value[0] = out.getvalue()

    rewrite(glyphs, widen)
    described = glyphs / "glyphs" / "1.0.0" / "features.json"
    described.write_text(re.sub(r'"8",\s*"8",\s*"1"', '"-1", "-1", "1"', described.read_text()))
    with pytest.raises(ValueError, match=r"one shape, got \(8, 8, 1\) and \(8, 9, 1\) in train\. Resize them"):
        data.load("tfds:glyphs", str(glyphs))


def test_a_tfds_that_is_not_prepared_or_of_another_format_says_how(glyphs, monkeypatch):
    with pytest.raises(ValueError, match=r"in .*mnist\. .*`python -m jaxsnn_mia\.data\.tfds mnist --dir .*data\.dir"):
        data.load("tfds:mnist", str(glyphs))
    monkeypatch.setenv("TFDS_DATA_DIR", str(glyphs))
    assert len(data.load("tfds:glyphs").x) == 32
    (glyphs / "glyphs" / "1.0.0.npz").unlink()
    info = glyphs / "glyphs" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(ValueError, match=r"holds tfrecord files, array_record is needed\. Remove .*--dir"):
        data.load("tfds:glyphs", str(glyphs))


def test_only_sets_of_one_dense_input_and_a_label():
    from tensorflow_datasets import features as f

    label, image, vector = f.ClassLabel(num_classes=2), f.Image(shape=(4, 4, 1)), f.Tensor(shape=(3,), dtype=np.float32)

    def key(**features):
        return data.tfds.input_key("set", f.FeaturesDict(features))

    assert key(image=image, label=label, id=f.Text(), coarse_label=label) == "image"
    assert key(features=vector, label=label) == "features"
    assert key(image=f.Image(), label=label, mask=vector) == "image"
    for refused in (
        {"text": f.Text(), "label": label},
        {"image": image, "label": vector},
        {"image": image},
        {"a": vector, "b": vector, "label": label},
        {"tokens": f.Tensor(shape=(None,), dtype=np.int64), "label": label},
        {"boxes": f.Sequence(vector), "label": label},
        {"names": f.Tensor(shape=(3,), dtype=np.str_), "label": label},
        {"age": f.Scalar(np.float32), "label": label},
    ):
        with pytest.raises(
            ValueError, match=r"tfds:set: only classification sets with one dense input .*npz:PATH, got"
        ):
            key(**refused)


BUILDER = """
import numpy as np
import tensorflow_datasets as tfds

class Marks(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("2.0.0")

    def _info(self):
        label = tfds.features.ClassLabel(names=["row", "column"])
        features = {"image": tfds.features.Image(shape=(6, 6, 3)), "id": tfds.features.Text(), "label": label}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, manager):
        return {"train": self._generate_examples(0, 10), "test": self._generate_examples(10, 14)}

    def _generate_examples(self, start, end):
        for i in range(start, end):
            yield i, {"image": np.arange(108, dtype=np.uint8).reshape(6, 6, 3) + i, "id": str(i), "label": i % 2}
"""


@pytest.mark.tfds
@pytest.mark.skipif(
    not importlib.util.find_spec("tensorflow"), reason="needs the extra [tfds], which brings TensorFlow"
)
def test_the_command_prepares_generated_images_that_later_runs_read(tmp_path):
    (tmp_path / "marks.py").write_text(BUILDER)
    folder = tmp_path / "prepared"
    command = [sys.executable, "-m", "jaxsnn_mia.data.tfds", "marks", "--imports", "marks", "--dir", str(folder)]
    env = os.environ | {"PYTHONPATH": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert f"prepared: --config.data.name=tfds:marks --config.data.dir={folder}\n" in done.stdout
    cached = data.load("tfds:marks", str(folder))
    (folder / "marks" / "2.0.0.npz").unlink()
    from_records = data.load("tfds:marks", str(folder))
    assert cached.sha256 == from_records.sha256
    offset = from_records.x[:, 0, 0, 0].astype(int)  # tensorflow-datasets shuffles
    np.testing.assert_array_equal(from_records.x, np.arange(108).reshape(1, 6, 6, 3) + offset[:, None, None, None])
    np.testing.assert_array_equal(from_records.y, offset % 2)
    np.testing.assert_array_equal(from_records.test_n, offset >= 10)
    assert sorted(offset) == list(range(14))
    assert "tensorflow" not in sys.modules


def test_the_command_without_tensorflow_is_one_line(tmp_path):
    code = """
import sys
sys.modules["tensorflow"] = None  # as where the extra is absent
from jaxsnn_mia.data.tfds import __main__
__main__.main(["mnist"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: preparing mnist needs TensorFlow")
    assert "pip install -e '.[tfds]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# all of them


@pytest.mark.parametrize("name", ["tfds", "folder", "mnist_idx", "npz", "mnist10k:x", "iris:3", "tfds:"])
def test_an_argument_that_is_missing_or_too_much(name):
    with pytest.raises(
        ValueError, match=r"cifar10_jpeg\[:FILE\], .*folder:DIR, .*texas100\[:FILE\], tfds:NAME, wine, got"
    ):
        data.check_name(name)
    with pytest.raises(ValueError, match=r"data\.name"):
        config.from_dict({"data": {"name": name}})


@pytest.mark.parametrize("name", ["location30", "location30:a", "texas100:b:c", "cifar10_jpeg:/a/b", "tfds:a/b:1.0.0"])
def test_an_argument_may_be_optional(name):
    assert data.check_name(name) == name


def test_tfds_images_reach_the_data_stage_as_bytes(glyphs, tmp_path):
    c = config.from_dict({"data": {"name": "tfds:glyphs", "dir": str(glyphs)}, "splits": {"n_shadows": 6}})
    run_pipeline(c, tmp_path / "run", until="data")
    x = np.load(next((tmp_path / "run").glob("data-*/x.npy")))
    np.testing.assert_array_equal(x, data.load("tfds:glyphs", str(glyphs)).x)


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
