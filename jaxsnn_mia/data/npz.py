"""A user's own arrays: an .npz file with `x` and `y`."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from jaxsnn_mia.data.dataset import Dataset, make_dataset
from jaxsnn_mia.store.files import file_sha256


def fingerprint(path: str, folder: str = "") -> str:
    return file_sha256(existing(path))


def existing(path: str) -> Path:
    if not Path(path).is_file():
        raise ValueError(f"npz:{path}: no such file. Save one by numpy.savez(path, x=x, y=y).")
    return Path(path)


def load(path: str, folder: str = "") -> Dataset:
    """x [N, ...] and integer y [N] of an .npz file; `class_names` [C], `features` [D] (names of the columns) and
    `test` bool [N] are optional.

    Raises ValueError for a file that is missing, not an npz, needs pickle or lacks an array.
    """
    try:
        loaded = np.load(existing(path), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("one array, as numpy.save writes it")
        with loaded as arrays:
            held = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, zipfile.BadZipFile, zlib.error, EOFError, AttributeError) as error:
        raise ValueError(
            f"npz:{path}: not an .npz of plain arrays ({error}). Pickled objects are refused, never loaded: "
            "save numeric arrays by numpy.savez(path, x=x, y=y)."
        ) from None
    missing = {"x", "y"} - set(held)
    if missing:
        raise ValueError(f"npz:{path}: needs arrays x and y, lacks {sorted(missing)}, has {sorted(held)}.")
    y = held["y"]
    names = held.get("class_names")
    if names is None:
        labels = np.unique(y)
        if not np.array_equal(labels, np.arange(len(labels))) and np.issubdtype(y.dtype, np.integer):
            raise ValueError(f"npz:{path}: labels must be 0 to C - 1 without gaps, got {labels[:10].tolist()}.")
        names = [str(i) for i in range(len(labels))]
    of = {"features": held["features"]} if "features" in held else {}
    return make_dataset(held["x"], y, names, f"npz:{Path(path).name}", held.get("test"), **of)
