"""Readers of others' files on damaged ones: what comes out is the content, or a ValueError with the file's name, soon.

Bytes are flipped, cut, doubled and set to extremes at random places, headers first, for `SECONDS` a format.
"""

import gzip
import io
import resource
import tarfile
import time

import numpy as np
import pytest
from PIL import Image

from jaxsnn_mia import data
from jaxsnn_mia.data import idx, image_folder
from jaxsnn_mia.store import arrays

SECONDS = 6.0
LONGEST = 2.0  # seconds of one file
MORE = 200 * 2**20  # bytes of memory above the file's size
RNG = np.random.default_rng(1)


def npz(path):
    np.savez_compressed(path, x=RNG.normal(size=(20, 4)), y=np.arange(20) % 2, class_names=np.array(["a", "b"]))
    return lambda: data.load(f"npz:{path}", "")


def npy(path):
    np.save(path, RNG.normal(size=(20, 4)))
    return lambda: np.asarray(arrays.read(str(path))).tobytes()


def csv(path):
    path.write_text("a,b\n" + "\n".join(f"{x:.3f},{y:.3f}" for x, y in RNG.normal(size=(30, 2))))
    return lambda: arrays.read(str(path))


def idx_file(path):
    head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (3, 5, 5))
    path.write_bytes(gzip.compress(head + RNG.bytes(75)))
    return lambda: idx.read(path)


def tar(path):
    lines = "\n".join(
        ",".join([f'"{label}"', *(str(bit) for bit in RNG.integers(0, 2, 446))]) for label in (1, 2, 3, 1, 2)
    ).encode()
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("bangkok")
        entry.size = len(lines)
        archive.addfile(entry, io.BytesIO(lines))
    return lambda: data.load(f"location30:{path}", "")


def png(path):
    path = path.parent / "folder" / "a" / path.name
    path.parent.mkdir(parents=True)
    Image.fromarray(RNG.integers(0, 256, (9, 9, 3)).astype(np.uint8)).save(path)
    return lambda: image_folder.read(path)


FORMATS = {
    "x.npz": npz, "x.npy": npy, "x.csv": csv, "x-idx3-ubyte.gz": idx_file, "dataset_location.tgz": tar, "x.png": png,
}  # fmt: skip


def damaged(content):
    """Other bytes, near those of a file."""
    out, size = bytearray(content), len(content)
    for _ in range(RNG.integers(1, 4)):
        at = int(RNG.integers(min(size, 200) if RNG.random() < 0.6 else size))
        how = RNG.integers(4)
        if how == 0:
            out[at : at + 1] = bytes([RNG.integers(256)])
        elif how == 1:
            out[at : at + 4] = RNG.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
        elif how == 2:
            del out[at:]
        else:
            out[at:at] = out[at : at + int(RNG.integers(1, 50))]
        size = max(len(out), 1)
        out = out or bytearray(b"\0")
    return bytes(out)


@pytest.mark.long
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_file_is_read_or_refused_by_its_name(tmp_path, name):
    read = FORMATS[name](tmp_path / name)
    read()
    (path,) = (file for file in tmp_path.rglob(name) if file.is_file())
    content, before, refusals, end = path.read_bytes(), peak(), [], time.monotonic() + SECONDS
    while time.monotonic() < end:
        path.unlink()
        path.write_bytes(damaged(content))
        start = time.monotonic()
        try:
            read()
        except ValueError as error:
            refusals.append(str(error))
        assert time.monotonic() - start < LONGEST
        assert peak() - before < MORE
    assert refusals
    assert all(name in refusal or "location30: " in refusal for refusal in refusals)


def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
