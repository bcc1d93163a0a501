"""A user's own arrays: an .npz file with `x` and `y`, or arrays in memory."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxsnn_mia.data.dataset import Dataset, check_numeric, make_dataset
from jaxsnn_mia.data.layout import laid_out
from jaxsnn_mia.store import untrusted
from jaxsnn_mia.store.files import file_sha256, write_npz

READ = ("x", "y", "class_names", "features", "test", "layout")  # other arrays of a file are not decoded


def fingerprint(path: str, folder: str = "") -> str:
    return file_sha256(existing(path))


def existing(path: str) -> Path:
    place = Path(path).expanduser()
    if not place.is_file():
        raise ValueError(f"npz:{path}: no such file. Save one by numpy.savez(path, x=x, y=y).")
    return place


def load(path: str, folder: str = "", layout: str = "auto") -> Dataset:
    """x [N, ...] and integer y [N] of an .npz file; `class_names` [C], `features` [D] (names of the columns), `test`
    bool [N] and `layout` (as of `layout.LAYOUTS`) are optional.

    Raises ValueError for a file that is missing, not an npz, needs pickle or lacks an array, and for a layout that
    does not fit or is missing.
    """
    place = existing(path)
    try:
        held, there = untrusted.npz(place, READ), untrusted.names(place)
    except untrusted.UNREADABLE as error:
        raise ValueError(
            f"npz:{path}: not an .npz of plain arrays ({untrusted.first_line(error)}). Pickled objects are refused, "
            "never loaded: save numeric arrays by numpy.savez(path, x=x, y=y)."
        ) from None
    missing = {"x", "y"} - set(held)
    if missing:
        raise ValueError(f"npz:{path}: needs arrays x and y, lacks {sorted(missing)}, has {sorted(there)}.")
    if "layout" in held:
        of_file = str(held["layout"])
        if layout not in ("auto", of_file):
            raise ValueError(f"npz:{path}: it says that its layout is {of_file!r}, data.layout says {layout!r}.")
        layout = of_file
    optional = {name: held[name] for name in ("class_names", "features", "test") if name in held}
    return from_arrays(held["x"], held["y"], layout=layout, source=f"npz:{Path(path).name}", **optional)


def from_arrays(
    x: Any, y: Any, *, layout: str = "auto", class_names: Any = None, features: Any = (), test: Any = None,
    source: str = "arrays",
) -> Dataset:  # fmt: skip
    """A `Dataset` from arrays in memory, or from lists of equal examples, as other libraries give them.

    Args:
      x: [N, ...] real numbers, or N arrays or pictures of one shape.
      y: [N] whole numbers from 0 without gaps.
      layout: what the axes mean, see `layout.laid_out`.
      class_names, features, test: as `Dataset` has them.

    Raises:
      ValueError: what `laid_out` and `make_dataset` refuse, and examples of different shapes.
    """
    x = stacked(x, source)
    y = np.asarray(y)
    check_numeric(x, source)
    x, timed = laid_out(x, layout, source)
    if class_names is None:
        labels = np.unique(y)
        if not np.array_equal(labels, np.arange(len(labels))) and y.dtype.kind in "iub":
            raise ValueError(f"{source}: labels must be 0 to C - 1 without gaps, got {labels[:10].tolist()}.")
        class_names = [str(i) for i in range(len(labels))]
    return make_dataset(x, y, class_names, source, test, timed=timed, features=features)


def stacked(x: Any, source: str) -> np.ndarray:
    """One array of examples that come one by one."""
    if hasattr(x, "dtype"):
        return np.asarray(x)
    examples = [np.asarray(example) for example in x]
    shapes = {example.shape for example in examples}
    if len(shapes) > 1:
        raise ValueError(f"{source}: all examples must have one shape, got {sorted(shapes)[:3]}. Crop or pad them.")
    return np.stack(examples) if examples else np.zeros((0, 0))


def save(path: Path | str, dataset: Dataset) -> None:
    """Writes a data set for `npz:PATH`, with its layout."""
    layout = "table" if dataset.x.ndim == 2 else "image_hwc"
    if dataset.timed:
        layout = "events" if dataset.x.dtype == np.uint8 else "series"
    arrays = {"x": dataset.x, "y": dataset.y, "class_names": np.array(dataset.class_names), "layout": np.array(layout)}
    if dataset.features:
        arrays["features"] = np.array(dataset.features)
    if dataset.test_n is not None:
        arrays["test"] = dataset.test_n
    write_npz(Path(path), arrays)
