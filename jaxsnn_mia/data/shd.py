"""Spiking Heidelberg Digits (Cramer et al. 2020) as counts in T bins of time, from the HDF5 files that tonic and Spyx
download."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from jaxsnn_mia.data.dataset import Dataset
from jaxsnn_mia.data.events import VERSION, as_events, bins, cached, missing, root, time_bins
from jaxsnn_mia.store.files import file_sha256

FILES = ("shd_train.h5", "shd_test.h5")
CHANNELS = 700
WINDOW = (0, 1_400_000)  # us, as in Cramer et al.: no recording is longer


def form(argument: str) -> tuple[int, int]:
    """(T, channels) of `T` or `TxCHANNELS`."""
    T, cross, channels = argument.partition("x")
    bins_of_time = time_bins("shd", T)
    count = int(channels) if channels.isascii() and channels.isdigit() else 0
    if cross and (count < 1 or CHANNELS % count):
        raise ValueError(
            f"`data.name` must be shd:T or shd:TxC with C channels, a divisor of {CHANNELS}, got {'shd:' + argument!r}."
        )
    return bins_of_time, count or CHANNELS


def existing(folder: str) -> list[Path]:
    top = root("SHD", folder)
    for file in FILES:
        if not (top / file).is_file():
            raise missing("shd", file, top)
    return [top / file for file in FILES]


def fingerprint(argument: str, folder: str) -> str:
    form(argument)
    return " ".join(["shd", str(VERSION), *map(file_sha256, existing(folder))])


def recordings(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """(events, label) of every recording of a file: spikes/times in s and spikes/units, both of varying length, and
    labels. Times that are not finite are left out, as Spyx does."""
    import h5py

    with h5py.File(path, "r") as file:
        for times, units, label in zip(file["spikes/times"], file["spikes/units"], file["labels"], strict=True):
            finite = np.isfinite(times)
            # tonic's microseconds; times are float16 in the published files, which could not hold the product
            yield as_events(times[finite].astype(np.float64) * 1e6, units[finite]), int(label)


def class_names(path: Path) -> list[str]:
    import h5py

    with h5py.File(path, "r") as file:
        return [key.decode() if isinstance(key, bytes) else str(key) for key in file["extra/keys"]]


def load(argument: str, folder: str) -> Dataset:
    """`shd:T` uint8 [N, T, 700], or `shd:Tx140` with each 5 neighbouring channels as one; 20 classes, ten digits in two
    languages. Slices divide [0, 1.4 s); the published test split, which has two unheard speakers, is the test split."""
    T, channels = form(argument)

    def build() -> dict[str, Any]:
        x, y, test = [], [], []
        names = None
        for path in existing(folder):
            late, first = 0, len(y)
            try:
                if names not in (None, class_names(path)):
                    raise ValueError(f"its classes differ from those of {FILES[0]}")
                names = class_names(path)
                for events, label in recordings(path):
                    late += int(np.sum(events["t"] >= WINDOW[1]))
                    x.append(bins(events, (CHANNELS,), T, window=WINDOW, factor=CHANNELS // channels))
                    y.append(label)
                    test.append(path.name == FILES[1])
            except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
                raise ValueError(
                    f"shd: {path} is not the published file ({error}; after {len(y) - first} recordings). "
                    "Download it again."
                ) from None
            if late:
                logging.warning("shd: %d events of %s at or after 1.4 s are left out", late, path)
        return {"x": np.stack(x), "y": np.array(y, np.int32), "test": np.array(test), "names": np.array(names)}

    return cached("shd", f"{T}x{channels}", folder, fingerprint(argument, folder), build)
