"""Files of others: their sizes are taken from their headers and checked before anything is decoded."""

import gzip
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxsnn_mia.runtime.resources import host_memory

# what libraries raise on a damaged file: zip files that are encrypted (RuntimeError) or packed in an unknown way
# (NotImplementedError), headers that are no Python literal or nested too deep
UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, SyntaxError,
    RuntimeError, MemoryError, struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tokenize.TokenError,
)  # fmt: skip
SHARE = 0.5  # of the machine's memory, that the arrays of one file may take


def check_size(nbytes: float, what: str) -> None:
    """ValueError where a file says that its content is larger than what this machine can hold."""
    if nbytes > SHARE * host_memory():
        raise ValueError(
            f"{what} would take {nbytes / 1e9:.3g} GB, and this machine has {host_memory() / 1e9:.3g} GB in all"
        )


def first_line(error: BaseException) -> str:
    """What an error says, or its name where it says nothing."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def npz(path: Path, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an .npz, or those of `names` that it holds; others are not read. Raises one of `UNREADABLE`: for
    pickled objects, for arrays larger than memory, and for headers that do not fit their files."""
    with zipfile.ZipFile(path) as archive:
        wanted = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in wanted:
                raise ValueError(f"it holds {name} twice")
            if name != info.filename and (names is None or name in names):
                wanted[name] = info
        sizes = [declared(archive, info) for info in wanted.values()]
        check_size(sum(sizes), "its arrays")
        found = {}
        for name, info in wanted.items():
            with archive.open(info) as member:
                found[name] = np.lib.format.read_array(member, allow_pickle=False)
        return found


def declared(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Bytes of an array by its header, which must be those of its file."""
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
        start = member.tell()
    if dtype.hasobject:
        raise ValueError(f"{info.filename} holds Python objects")
    nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if nbytes + start != info.file_size:
        raise ValueError(f"{info.filename} should hold {nbytes} bytes by its header and holds {info.file_size - start}")
    return nbytes


def names(path: Path) -> list[str]:
    """The names of the arrays of an .npz."""
    with zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def lines(file, longest: int) -> Iterator[bytes]:
    """The lines of a binary file; ValueError for one longer than `longest` bytes."""
    number = 0
    while line := file.readline(longest + 1):
        number += 1
        if len(line) > longest:
            raise ValueError(f"line {number} is longer than {longest} bytes")
        yield line


def unzipped(path: Path):
    """A file opened for reading, through gzip where it is gzipped."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else open(path, "rb")
