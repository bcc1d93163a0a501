"""Location-30, Purchase-100 and Texas-100 of Shokri et al. (2017), from the text files that they were published as.

| source      | archive                | file in it         | a line                                       | records |
|-------------|------------------------|--------------------|----------------------------------------------|---------|
| location30  | `dataset_location.tgz` | `bangkok`          | label 1 to 30, then 446 features of 0 or 1   |   5,010 |
| purchase100 | `dataset_purchase.tgz` | `dataset_purchase` | label 1 to 100, then 600 features            | 197,324 |
| texas100    | `dataset_texas.tgz`    | `texas/100/feats`  | 6,169 features; labels in `texas/100/labels` |  67,330 |

Values are separated by commas and may be quoted. The argument of a source, or else data.dir or JAXSNN_MIA_DATA, names
the archive, an extracted file, or a folder of either. Texas-100 takes 1.7 GB in float32, and 5.4 GB while it is read.
"""

import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from jaxsnn_mia.data.dataset import Dataset, make_dataset
from jaxsnn_mia.store import untrusted
from jaxsnn_mia.store.files import file_sha256

ORIGIN = "the page of Shokri et al. 2017 (github.com/privacytrustlab/datasets)"


class Published(NamedTuple):
    archive: str
    table: str
    labels: str  # a file beside the table, or "" where each line starts with its label
    features: int
    classes: int


PUBLISHED = {
    "location30": Published("dataset_location.tgz", "bangkok", "", 446, 30),
    "purchase100": Published("dataset_purchase.tgz", "dataset_purchase", "", 600, 100),
    "texas100": Published("dataset_texas.tgz", "texas/100/feats", "texas/100/labels", 6169, 100),
}


def existing(name: str, argument: str, folder: str) -> Path:
    """The archive, or the extracted table; ValueError that says where it was looked for and where to get it."""
    archive, table, *_ = PUBLISHED[name]
    named = argument or folder or os.environ.get("JAXSNN_MIA_DATA", "")
    place = Path(named).expanduser()
    choices = [place] if place.is_file() else [place / file for file in (archive, table, Path(table).name)]
    there = [path for path in choices if named and path.is_file()]
    if not there:
        raise ValueError(
            f"{name}: {archive} (or the extracted {table}) not found in {named or 'any folder'}. Get it from {ORIGIN} "
            f"and name its folder by --config.data.dir=FOLDER or JAXSNN_MIA_DATA, or the file by {name}:FILE."
        )
    return there[0]


def is_archive(path: Path) -> bool:
    """A tar, or anything gzipped: a cut archive must not pass for text."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b" or tarfile.is_tarfile(path)


def fingerprint(name: str, argument: str, folder: str) -> str:
    path = existing(name, argument, folder)
    labels = path.with_name(Path(PUBLISHED[name].labels or path).name)
    return " ".join(map(file_sha256, [path] if is_archive(path) or not labels.is_file() else sorted({path, labels})))


@contextmanager
def opened(path: Path, member: str, extracted: Path) -> Iterator[IO[bytes]]:
    """The file `member` of the archive at `path`, or the `extracted` one where `path` is no archive."""
    if not is_archive(path):
        with open(extracted, "rb") as file:
            yield file
        return
    with tarfile.open(path) as archive:
        entry = next((entry for entry in archive if entry.name.removeprefix("./") == member), None)
        content = entry and archive.extractfile(entry)
        if not content:
            raise ValueError(f"no file {member} in it")
        yield content


def parse(lines: Iterable[bytes], features: int, labelled: bool) -> tuple[list[int], np.ndarray]:
    """Labels, from 1, where `labelled`, and uint8 [N, features] of lines of digits 0 and 1 between commas.

    A line is checked and cut as a whole, without a look at each number: 118 million of them take seconds.
    """
    labels, bits = [], bytearray()
    for number, line in enumerate(lines, 1):
        values = line.replace(b'"', b"").rstrip()
        if labelled:
            label, _, values = values.partition(b",")
            labels.append(int(label))
        if len(values) != 2 * features - 1 or values.count(b",") != features - 1:
            raise ValueError(f"line {number}: expected {features} features of 0 or 1, got {values[:40]!r}...")
        bits += values[::2]
    x = np.frombuffer(bits, np.uint8).reshape(-1, features)
    x -= ord("0")
    if (x > 1).any():
        raise ValueError(f"line {np.flatnonzero((x > 1).any(1))[0] + 1}: features must be 0 or 1")
    return labels, x


def load(name: str, argument: str, folder: str) -> Dataset:
    """x float32 [N, features] of zeros and ones, y from 0; ValueError for a file that is not as published."""
    published = PUBLISHED[name]
    path = existing(name, argument, folder)
    try:
        with opened(path, published.table, path) as lines:
            labels, x = parse(
                untrusted.lines(lines, 16 * published.features + 64), published.features, not published.labels
            )
        if published.labels:
            with opened(path, published.labels, path.with_name("labels")) as lines:
                labels = [int(line.replace(b'"', b"")) for line in untrusted.lines(lines, 64)]
        if len(labels) != len(x):
            raise ValueError(f"{len(labels)} labels for {len(x)} records")
        if not labels or min(labels) < 1 or max(labels) > published.classes:
            labelled = f"{min(labels)} to {max(labels)}" if labels else "none"
            raise ValueError(f"labels must be 1 to {published.classes}, got {labelled}")
    except (tarfile.TarError, *untrusted.UNREADABLE) as error:
        why = untrusted.first_line(error)  # tarfile lists all it has tried
        raise ValueError(f"{name}: {path} is not as published ({why}). Get it again from {ORIGIN}.") from None
    return make_dataset(x, np.array(labels) - 1, range(1, published.classes + 1), name)
