"""A data set in memory, checked once, with the hash of its content."""

import dataclasses
import hashlib
import os
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


@dataclasses.dataclass(frozen=True)
class Dataset:
    """x float32 or float64 [N, ...], as exact as its source; or uint8 [N, H, W, channels] for images; y int32 [N] in
    [0, C); test_n bool [N] or None where the source has no test split. Where `timed`, x is [N, T, ...]: uint8 counts of
    events in T bins of time, or a float series."""

    x: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...]
    source: str
    sha256: str
    test_n: np.ndarray | None = None
    timed: bool = False
    features: tuple[str, ...] = ()  # names of the columns of x [N, D], where the source has any
    group_n: np.ndarray | None = None  # int64 [N], who an example comes from (a person), where the source knows

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.x.shape[1:]


def make_dataset(
    x, y, class_names, source: str, test_n=None, *, timed: bool = False, features=(), group_n=None
) -> Dataset:
    """A checked `Dataset`; uint8 stays uint8 for images [N, H, W, channels] and where `timed`.

    Raises ValueError for x that is not of real numbers [N, ...] or has NaN or infinity, for labels that are not
    integers in [0, C), of another length, or of one class only, for names of columns that are not one for each, and for
    groups [N] (any values that name whom an example comes from) of another length.
    """
    x, y = np.asarray(x), np.asarray(y)
    check_numeric(x, source)
    if y.shape != x.shape[:1]:
        raise ValueError(f"{source}: y must have shape {x.shape[:1]} like x {x.shape}, got {y.shape}.")
    if not x.size:
        raise ValueError(f"{source}: x must hold examples, got shape {x.shape}.")
    as_bytes = x.dtype == np.uint8 and (x.ndim == 4 or timed)
    x = np.ascontiguousarray(x, np.uint8 if as_bytes else wide_enough(x.dtype))
    finite = np.ones(len(x), bool) if as_bytes else np.isfinite(x.reshape(len(x), -1)).all(1)
    if not finite.all():
        raise ValueError(
            f"{source}: x must be finite, got NaN or infinity in {np.sum(~finite)} rows (the first is row "
            f"{np.flatnonzero(~finite)[0]}). Drop or impute them."
        )
    if not (np.issubdtype(y.dtype, np.integer) or y.dtype == bool):
        raise ValueError(f"{source}: labels must be integers, got {y.dtype}. Number the classes from 0.")
    class_names = tuple(str(name) for name in class_names)
    if len(y) and not 0 <= y.min() <= y.max() < len(class_names):
        raise ValueError(
            f"{source}: labels must lie in [0, {len(class_names) - 1}], got {y.min()} to {y.max()}. "
            "Number the classes from 0 without gaps."
        )
    if len(np.unique(y)) < 2:
        raise ValueError(f"{source}: labels must hold at least 2 classes, got {len(np.unique(y))}.")
    features = tuple(str(name) for name in features)
    if features and (x.ndim != 2 or len(features) != x.shape[1] or len(set(features)) != len(features)):
        raise ValueError(f"{source}: features must name each column of x {x.shape} once, got {len(features)} names.")
    y = np.ascontiguousarray(y, np.int32)
    sha = hashlib.sha256(repr((x.shape, class_names)).encode())
    sha.update(x.data)
    sha.update(y.data)
    if test_n is not None:
        test_n = np.asarray(test_n)
        if test_n.shape != y.shape or test_n.dtype != bool:
            raise ValueError(f"{source}: test must be boolean {y.shape}, got {test_n.dtype} {test_n.shape}.")
        sha.update(test_n.tobytes())
    if group_n is not None:
        group_n = np.unique(np.asarray(group_n), return_inverse=True)[1].reshape(-1)
        if group_n.shape != y.shape:
            raise ValueError(f"{source}: group must have shape {y.shape}, got {group_n.shape}.")
        sha.update(group_n.tobytes())
    return Dataset(x, y, class_names, source, sha.hexdigest(), test_n, timed, features, group_n)


def wide_enough(dtype: np.dtype) -> type:
    """The narrower of float32 and float64 that holds every value of a type."""
    exact = dtype.kind == "b" or dtype.itemsize < 4 or (dtype.kind == "f" and dtype.itemsize == 4)
    return np.float32 if exact else np.float64


def check_numeric(x: np.ndarray, source: str) -> None:
    """ValueError unless x is [N, ...] of real numbers of any type, bfloat16 among them, or of booleans."""
    if x.ndim < 2 or not (x.dtype.kind in "fiub" or x.dtype.name == "bfloat16"):
        raise ValueError(f"{source}: x must be a numeric array [N, ...], got {x.dtype} {x.shape}.")


def named_file(folder: str, file: str, source: str, origin: str) -> Path:
    """`file` in `folder`, or in JAXSNN_MIA_DATA where that is empty; ValueError that says where to get it otherwise."""
    folder = folder or os.environ.get("JAXSNN_MIA_DATA", "")
    path = Path(folder).expanduser() / file
    if not folder or not path.is_file():
        raise ValueError(
            f"{source}: {file} not found in {folder or 'any folder'}. Get it from {origin} and name its folder by "
            "--config.data.dir=FOLDER or JAXSNN_MIA_DATA."
        )
    return path


def units(x: np.ndarray) -> np.ndarray:
    """unit_n int64 [N]: rows of x that are exact duplicates share a number, counted from 0.

    Roles and splits are drawn by these numbers, so they depend on the values and not on their type: rows are in the
    order of their bytes in float32 (uint8 in its own), those that float32 cannot tell apart in that of float64.
    """
    if x.dtype != np.float64:
        return by_bytes(x)
    with np.errstate(over="ignore"):
        narrow, wide = by_bytes(x.astype(np.float32)), by_bytes(x)
    return np.unique(narrow * len(x) + wide, return_inverse=True)[1].reshape(-1)


def united(unit_n: np.ndarray, group_n: np.ndarray) -> np.ndarray:
    """unit_n int64 [N] of whole groups: examples of one group share a number, and so do groups with a duplicate in
    common."""
    units, groups = unit_n.max() + 1, group_n.max() + 1
    links = coo_array((np.ones(len(unit_n)), (unit_n, units + group_n)), shape=(units + groups,) * 2)
    return np.unique(connected_components(links, directed=False)[1][unit_n], return_inverse=True)[1].reshape(-1)


def by_bytes(x: np.ndarray) -> np.ndarray:
    """int64 [N]: the place of each row in the order of their bytes; equal rows share it."""
    rows = np.ascontiguousarray(x.reshape(len(x), -1))
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    return np.unique(keys, return_inverse=True)[1].reshape(-1)
