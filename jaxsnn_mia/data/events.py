"""Event recordings as counts in T bins of time; N-MNIST and DVS Gesture from the files that tonic (and Spyx, whose
loaders call tonic) leaves in a folder. Reading needs neither; `python -m jaxsnn_mia.data.fetch` downloads."""

import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from jaxsnn_mia.data.dataset import Dataset, make_dataset
from jaxsnn_mia.store import untrusted
from jaxsnn_mia.store.files import StoreError, atomic, digest

VERSION = 1  # of what is made of a file: part of every fingerprint, and so of the cache
EVENT = np.dtype([("t", np.int64), ("x", np.int64), ("y", np.int64), ("p", np.int64)])  # t in us
DIGITS = tuple(str(digit) for digit in range(10))
GESTURES = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter-clockwise",
    "left arm clockwise", "left arm counter-clockwise", "arm roll", "air drums", "air guitar", "other gestures",
)  # fmt: skip


def bins(
    events: np.ndarray, shape: tuple[int, ...], T: int, *, window: tuple[int, int] | None = None, factor: int = 1
) -> np.ndarray:
    """Counts of the events in T equal slices of time, uint8 [T, H / factor, W / factor, P] or [T, W / factor], at most
    255 each.

    `events` has the fields t, x and, for a `shape` of (H, W, P), y and p; they may come in any order of time. `shape`
    is that of the sensor, (H, W, P) or (W,). Slices divide [first event, last event], so that the last event falls in
    the last slice (events of one single time fall in slice 0), or [start, end) of `window`; events outside it are left
    out. Integer times are divided without rounding: slice = floor((t - start) T / (end - start)).
    Raises ValueError for an event outside the sensor and a factor that does not divide H and W.
    """
    fields = ("y", "x", "p") if len(shape) == 3 else ("x",)
    events = widened(events, fields)
    reduced = tuple(size // factor if field != "p" else size for field, size in zip(fields, shape, strict=True))
    if any(size % factor for field, size in zip(fields, shape, strict=True) if field != "p"):
        raise ValueError(f"`factor` must divide the sensor's {shape}, got {factor}.")
    for field, size in zip(fields, shape, strict=True):
        outside = (events[field] < 0) | (events[field] >= size)
        if outside.any():
            raise ValueError(f"{field} of every event must lie in [0, {size - 1}], got {events[field][outside][0]}")
    if window is not None:
        events = events[(events["t"] >= window[0]) & (events["t"] < window[1])]
    if not len(events):
        return np.zeros((T, *reduced), np.uint8)
    start, end = window or (int(events["t"].min()), int(events["t"].max()))
    at = np.minimum((events["t"] - start) * T // max(end - start, 1), T - 1).astype(np.int64)
    for field, size in zip(fields, reduced, strict=True):
        at = at * size + (events[field] if field == "p" else events[field] // factor)
    counts = np.bincount(at, minlength=T * int(np.prod(reduced)))
    return np.minimum(counts, 255).astype(np.uint8).reshape(T, *reduced)


def widened(events: np.ndarray, fields: tuple[str, ...]) -> np.ndarray:
    """The events with 64-bit integers in every field: products of narrow times and T would wrap. Times that are floats
    stay so."""
    lacking = [field for field in ("t", *fields) if field not in (events.dtype.names or ())]
    if lacking:
        raise ValueError(f"events need the fields {', '.join(('t', *fields))}, got {events.dtype}.")
    time = np.float64 if events["t"].dtype.kind == "f" else np.int64
    if not np.isfinite(events["t"].astype(np.float64)).all():
        raise ValueError("times of events must be finite, got NaN or infinity.")
    wide = np.empty(len(events), [("t", time), *((field, np.int64) for field in fields)])
    for field in ("t", *fields):
        wide[field] = events[field]
    return wide


def from_recordings(
    recordings: Iterable[tuple[np.ndarray, int]], shape: tuple[int, ...], T: int, *, class_names: Any = None,
    test: Any = None, source: str = "recordings",
) -> Dataset:  # fmt: skip
    """A `Dataset` from recordings in memory, such as a dataset object of tonic.

    Args:
      recordings: pairs of events (a structured array with the fields t, x and, of a camera, y and p) and a label >= 0.
      shape: of the sensor, (H, W, P) or (W,); tonic has (W, H, P).
      T: bins of time, see `bins`.
      class_names, test: as `Dataset` has them.
    """
    counts, labels = [], []
    for number, (events, label) in enumerate(recordings):
        try:
            counts.append(bins(np.asarray(events), shape, T))
        except ValueError as error:
            raise ValueError(f"{source}: recording {number}: {error}") from None
        labels.append(int(label))
    names = [str(c) for c in range(max(labels, default=0) + 1)] if class_names is None else class_names
    return make_dataset(np.stack(counts), np.array(labels), names, source, test, timed=True)


def as_events(t: Any, x: Any, y: Any = 0, p: Any = 0) -> np.ndarray:
    """The four columns as one array of `EVENT`s [E]."""
    if len(t) != len(x):
        raise ValueError(f"{len(t)} times of {len(x)} events")
    events = np.empty(len(x), EVENT)
    for field, column in zip(EVENT.names or (), (t, x, y, p), strict=True):
        events[field] = column
    return events


def read_nmnist(path: Path) -> np.ndarray:
    """The events of an N-MNIST file (Orchard et al. 2015): 5 bytes each, x, y, one bit of polarity and 23 bits of time
    in us, big endian. A y of 240 is no event: the clock overflowed, and 2^13 us are added from there on."""
    raw = np.fromfile(path, np.uint8)
    if raw.size % 5:
        raise ValueError(f"{raw.size} bytes are no whole number of events of 5 bytes")
    x, y, high, middle, low = raw.reshape(-1, 5).T.astype(np.int64)
    overflow = y == 240
    t = ((high & 127) << 16 | middle << 8 | low) + 2**13 * np.cumsum(overflow)
    return as_events(t, x, y, high >> 7)[~overflow]


def read_gesture(path: Path) -> np.ndarray:
    """The events of a DVS Gesture file as tonic cuts them (Amir et al. 2017): .npy [E, 4] of x, y, p and t in ms."""
    table = np.load(path, allow_pickle=False)
    if table.ndim != 2 or table.shape[1] != 4:
        raise ValueError(f"a table of x, y, p and t [events, 4] is expected, got {table.shape}")
    x, y, p, t = table.T
    return as_events(t.astype(float) * 1000, x, y, p)


class Recordings(NamedTuple):
    """A data set of one file per recording. Labels stand in the name of the file or of its folder."""

    folder: str  # that tonic makes in its `save_to`
    splits: tuple[str, str]  # folders of training and test recordings
    pattern: str  # of the files in a split
    label: Callable[[Path], str]
    read: Callable[[Path], np.ndarray]
    shape: tuple[int, int, int]  # H, W, polarities
    factor: int
    classes: tuple[str, ...]
    published: tuple[int, int]  # recordings in each split


NMNIST = Recordings(
    "NMNIST", ("Train", "Test"), "*/*.bin", lambda path: path.parent.name, read_nmnist, (34, 34, 2), 1, DIGITS,
    (60_000, 10_000),
)  # fmt: skip
GESTURE = Recordings(
    "DVSGesture", ("ibmGestureTrain", "ibmGestureTest"), "*/*.npy", lambda path: path.stem, read_gesture,
    (128, 128, 2), 4, GESTURES, (1077, 264),
)  # fmt: skip
FILES = {"nmnist": NMNIST, "dvs_gesture": GESTURE}


def time_bins(name: str, argument: str) -> int:
    """T of `NAME:T`; ValueError where it is no int of at least 1."""
    if not re.fullmatch("0*[1-9][0-9]{0,5}", argument):
        raise ValueError(
            f"`data.name` must be {name}:T with the number of time bins T, an int of at least 1, got "
            f"{name + ':' + argument!r}."
        )
    return int(argument)


def root(inner: str, folder: str) -> Path:
    """`inner` in the folder, or in JAXSNN_MIA_DATA where that is empty."""
    return Path(folder or os.environ.get("JAXSNN_MIA_DATA", "")).expanduser() / inner


def missing(name: str, what: str, where: Path) -> ValueError:
    folder = where.parent if where.is_absolute() or len(where.parts) > 1 else "FOLDER"
    return ValueError(
        f"{name}: {what} not found in {where}. Download it by `python -m jaxsnn_mia.data.fetch {name} --dir {folder}` "
        "(needs the extra [events]) and name that folder by --config.data.dir=FOLDER or JAXSNN_MIA_DATA."
    )


def listed(name: str, folder: str) -> tuple[list[Path], np.ndarray]:
    """The files of both splits in order of their names, and bool [N], which belong to the test split."""
    about = FILES[name]
    top = root(about.folder, folder)
    recordings = [
        sorted(path for path in (top / split).glob(about.pattern) if path.name[0] != ".") for split in about.splits
    ]
    for split, paths in zip(about.splits, recordings, strict=True):
        if not paths:
            raise missing(name, f"{split}/{about.pattern}", top)
    return recordings[0] + recordings[1], np.repeat([False, True], [len(paths) for paths in recordings])


def fingerprint_files(name: str, argument: str, folder: str) -> str:
    """A hash of every file's name and size, and of the beginning of the first file of each folder."""
    time_bins(name, argument)
    seen: set[Path] = set()
    about: list[Any] = []
    for path in listed(name, folder)[0]:
        about.append((path.parent.parent.name, path.parent.name, path.name, path.stat().st_size))
        if path.parent not in seen:
            seen.add(path.parent)
            with open(path, "rb") as file:
                about.append(zlib.crc32(file.read(2**16)))
    return f"{name} {VERSION} {digest(about)}"


def load_files(name: str, argument: str, folder: str) -> Dataset:
    """`nmnist:T` uint8 [N, T, 34, 34, 2], or `dvs_gesture:T` [N, T, 32, 32, 2], each pixel of 4 x 4 of the sensor's;
    slices divide each recording's own time; the published test split is the test split."""
    T = time_bins(name, argument)
    about = FILES[name]

    def build() -> dict[str, Any]:
        paths, test_n = listed(name, folder)
        for split, count, published in zip(
            about.splits, (np.sum(~test_n), np.sum(test_n)), about.published, strict=True
        ):
            if count != published:
                logging.warning("%s: %d recordings in %s, %d are published", name, count, split, published)
        height, width, polarities = about.shape
        x = np.empty((len(paths), T, height // about.factor, width // about.factor, polarities), np.uint8)
        y = np.empty(len(paths), np.int32)
        for i, path in enumerate(paths):
            try:
                y[i] = int(about.label(path))
                x[i] = bins(about.read(path), about.shape, T, factor=about.factor)
            except (OSError, EOFError, ValueError) as error:
                raise ValueError(f"{name}: {path} is no published recording ({error}). Download it again.") from None
        return {"x": x, "y": y, "test": test_n, "names": np.array(about.classes)}

    return cached(name, f"{T}", folder, fingerprint_files(name, argument, folder), build)


def cached(name: str, argument: str, folder: str, fingerprint: str, build: Callable[[], dict[str, Any]]) -> Dataset:
    """The data set of `build()`, from `frames-NAME-ARGUMENT-HASH.npz` in the folder where that is there and whole;
    written there otherwise, unless the folder cannot be written."""
    path = root(f"frames-{name}-{argument}-{digest(fingerprint)}.npz", folder)
    try:
        held = untrusted.npz(path)
        arrays = {key: held[key] for key in ("x", "y", "test", "names")}
    except untrusted.UNREADABLE:
        arrays = build()
        try:
            with (
                atomic(path) as temporary,
                zipfile.ZipFile(temporary, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=1) as out,
            ):
                for key, array in arrays.items():  # savez_compressed has no level, and takes longer than the reading
                    with out.open(f"{key}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
        except (OSError, StoreError) as error:
            logging.warning("%s: %s cannot be kept (%s); the recordings are read again next time", name, path, error)
    return make_dataset(arrays["x"], arrays["y"], arrays["names"], f"{name}:{argument}", arrays["test"], timed=True)
