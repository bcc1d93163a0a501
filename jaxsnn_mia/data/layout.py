"""What the axes of a user's array mean: rows of a table, pictures, series or recordings of events."""

import numpy as np

LAYOUTS = ("auto", "table", "image_hwc", "image_chw", "series", "events")
CHANNELS = (1, 3)  # of pictures whose layout need not be named


def laid_out(x: np.ndarray, layout: str, source: str) -> tuple[np.ndarray, bool]:
    """(x as the models take it, whether its second axis is time).

    Args:
      x: [N, ...].
      layout: "table" [N, ...], flattened to [N, D]; "image_hwc" [N, H, W] or [N, H, W, C]; "image_chw" [N, C, H, W];
        "series" [N, T] or [N, T, ...]; "events", counts in bins of time, whole numbers [N, T, ...]; "auto": what the
        shape leaves as the only reading.
      source: its name in errors.

    Raises:
      ValueError: a shape that does not fit, or that can be read in two ways.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}.")
    kind = only_reading(x, source) if layout == "auto" else layout
    axes = {"image_hwc": (3, 4), "image_chw": (4,), "series": range(2, 6), "events": range(3, 6)}
    if kind in axes and x.ndim not in axes[kind]:
        raise ValueError(
            f"{source}: x of shape {x.shape} is no {kind}; expected {' or '.join(map(str, axes[kind]))} axes."
        )
    if kind == "events":
        return as_counts(x, source), True
    if kind == "series":
        return as_floats(x[..., None] if x.ndim == 2 else x), True
    if kind == "image_chw":
        return np.moveaxis(x, 1, -1), False
    if kind == "image_hwc":
        return (x[..., None] if x.ndim == 3 else x), False
    return x.reshape(len(x), -1), False


def only_reading(x: np.ndarray, source: str) -> str:
    """The layout that the shape and the type leave; ValueError asks where there are several."""
    bytes_ = x.dtype == np.uint8
    if x.ndim == 2:
        return "table"
    if x.ndim == 3 and bytes_ and x.shape[1] == x.shape[2]:
        return "image_hwc"
    if x.ndim == 4:
        last, first = x.shape[-1] in CHANNELS, x.shape[1] in CHANNELS
        if last and not first:
            return "image_hwc"
        if first and not last:
            raise asked(x, source, ("image_chw", "events", "series"))
    if x.ndim == 5 and bytes_:
        return "events"
    kinds = {3: ("series", "image_hwc", "table"), 4: ("image_hwc", "image_chw", "series", "events", "table")}
    raise asked(x, source, kinds.get(x.ndim, ("series", "events", "table")))


def asked(x: np.ndarray, source: str, kinds: tuple[str, ...]) -> ValueError:
    return ValueError(
        f"{source}: x of {x.dtype} {x.shape} can be read in several ways. Say which by --config.data.layout: "
        f"{', '.join(kinds)}."
    )


def as_floats(x: np.ndarray) -> np.ndarray:
    """Values over time: bytes become floats, so that they are not taken for counts of events."""
    return x.astype(np.float32) if x.dtype == np.uint8 else x


def as_counts(x: np.ndarray, source: str) -> np.ndarray:
    """Counts of events as uint8; ValueError for numbers that are none."""
    if x.dtype == np.uint8:
        return x
    values = x.astype(np.float64)
    if (
        not np.isfinite(values).all()
        or (values < 0).any()
        or (values > 255).any()
        or (values != np.round(values)).any()
    ):
        raise ValueError(
            f"{source}: events are counts, whole numbers from 0 to 255, got {x.dtype} from {x.min()} to {x.max()}. "
            "Pass data.layout=series for other values over time."
        )
    return values.astype(np.uint8)
