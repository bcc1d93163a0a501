"""Files that lie about their size, or that a library cannot read: one ValueError with the file's name, in no time."""

import gzip
import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from jaxsnn_mia import data
from jaxsnn_mia.data import idx, image_folder, records
from jaxsnn_mia.store import arrays, untrusted

X, Y = np.zeros((4, 3), np.float32), np.array([0, 1, 0, 1])


def npy(array, header=None):
    """The bytes of an .npy file, with another header where one is given."""
    whole = io.BytesIO()
    np.save(whole, array)
    if header is None:
        return whole.getvalue()
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + array.tobytes()


def packed(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(f"{name}.npy", content)
    return path


def flagged(path, at, value):
    """The zip file with two bytes of its first entries, local and central, set."""
    content = bytearray(path.read_bytes())
    local, central = content.index(b"PK\x03\x04"), content.index(b"PK\x01\x02")
    for place in (local + at, central + at + 2):
        content[place : place + 2] = value.to_bytes(2, "little")
    path.write_bytes(content)
    return path


HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000,)}"
NESTED = "{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 60 + ")" * 60 + "}"


def damaged(path, kind):
    """An .npz that cannot be read, and what the error says of it."""
    of_y = ("y", npy(Y))
    if kind == "header":
        packed(path, [("x", npy(X, HUGE)), of_y])
        return "should hold 40000000000000 bytes"
    if kind == "nested":
        packed(path, [("x", npy(X, NESTED)), of_y])
        return "npz"
    if kind == "twice":
        with pytest.warns(UserWarning, match="Duplicate name"):
            packed(path, [("x", npy(X)), ("x", npy(X)), of_y])
        return "it holds x twice"
    if kind == "encrypted":
        flagged(packed(path, [("x", npy(X)), of_y]), 6, 1)
        return "encrypted"
    if kind == "method":
        flagged(packed(path, [("x", npy(X)), of_y]), 8, 99)
        return "compression"
    packed(path, [("x", npy(np.random.default_rng(0).normal(size=(40, 3)))), of_y], zipfile.ZIP_LZMA)
    content = bytearray(path.read_bytes())
    content[60:120] = bytes(60)
    path.write_bytes(content)
    return "npz"


@pytest.mark.parametrize("kind", ["header", "nested", "twice", "encrypted", "method", "lzma"])
def test_a_damaged_npz_is_refused_by_its_name(tmp_path, kind):
    path = tmp_path / "x.npz"
    says = damaged(path, kind)
    with pytest.raises(ValueError, match=says) as refused:
        data.load(f"npz:{path}", "")
    assert str(path) in str(refused.value)
    with pytest.raises(ValueError, match=r"x\.npz"):
        arrays.read(f"{path}:x")


def test_arrays_larger_than_memory_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    path = packed(tmp_path / "x.npz", [("x", npy(np.zeros((10**6, 4)))), ("y", npy(Y))], zipfile.ZIP_BZIP2)
    assert path.stat().st_size < 5000
    monkeypatch.setattr(untrusted, "host_memory", lambda: 10**7)
    with pytest.raises(ValueError, match=r"its arrays would take 0.032 GB, and this machine has 0.01 GB"):
        data.load(f"npz:{path}", "")
    packed(tmp_path / "more.npz", [("x", npy(X)), ("y", npy(Y)), ("z", npy(np.zeros((10**6, 4))))])
    assert data.load(f"npz:{tmp_path / 'more.npz'}", "").x.shape == (4, 3)  # what is not needed is not read


def test_an_idx_file_is_read_as_far_as_its_header_says(tmp_path, monkeypatch):
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (2, 3, 3))
    for content, says in (
        (head + bytes(10**7), r"more bytes for shape \(2, 3, 3\)"),
        (head + bytes(5), r"5 bytes for shape"),
        (head[:7], "buffer"),
        (b"", "does not begin"),
    ):
        path.write_bytes(gzip.compress(content))
        with pytest.raises(ValueError, match=says) as refused:
            idx.read(path)
        assert path.name in str(refused.value)
    path.write_bytes(head + bytes(18))
    assert idx.read(path).shape == (2, 3, 3)
    monkeypatch.setattr(untrusted, "host_memory", lambda: 20)
    with pytest.raises(ValueError, match="its content would take"):
        idx.read(path)


def test_a_line_without_end_is_not_read():
    lines = untrusted.lines(io.BytesIO(b"1,0\n" + b"1" * 10**6), 100)
    assert next(lines) == b"1,0\n"
    with pytest.raises(ValueError, match="line 2 is longer than 100 bytes"):
        next(lines)


def test_a_tar_with_such_a_line_is_not_as_published(tmp_path):
    path = tmp_path / "bangkok"
    path.write_bytes(b"1" * 10**6)
    with pytest.raises(ValueError, match=r"bangkok is not as published \(line 1 is longer"):
        records.load("location30", str(path), "")


def folder_of_images(tmp_path, count=2):
    for name in "ab":
        (tmp_path / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (8, 8), i).save(tmp_path / name / f"{i}.png")
    return tmp_path


def test_images_are_measured_before_they_are_decoded(tmp_path, monkeypatch):
    folder = folder_of_images(tmp_path)
    assert image_folder.load(str(folder)).x.shape == (4, 8, 8, 1)
    monkeypatch.setattr(untrusted, "host_memory", lambda: 1000)
    monkeypatch.setattr(image_folder, "read", lambda file: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="its images would take"):
        image_folder.load(str(folder))


def test_what_is_no_image_or_no_file_is_refused(tmp_path):
    folder = folder_of_images(tmp_path)
    (folder / "a" / "2.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    with pytest.raises(ValueError, match=r"cannot read .*2\.png"):
        image_folder.load(str(folder))
    (folder / "a" / "2.png").unlink()
    os.mkfifo(folder / "a" / "3.png")  # opening it would wait for ever
    with pytest.raises(ValueError, match=r"3\.png is no image"):
        image_folder.load(str(folder))
