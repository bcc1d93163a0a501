"""Data sources. `load("digits")` gives a `Dataset`; adding a source is one function and one entry here."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from jaxsnn_mia.data import images, location, npz, tables, tfds
from jaxsnn_mia.data.dataset import Dataset, make_dataset, units


class Source(NamedTuple):
    """load(argument, folder) -> Dataset; fingerprint(argument, folder) -> str tells, without reading all of it,
    whether the content may have changed. `argument` is what follows the colon of the name."""

    load: Callable[[str, str], Dataset]
    fingerprint: Callable[[str, str], str]


SOURCES: dict[str, Source] = {
    **{name: Source(partial(tables.load, name), tables.fingerprint) for name in tables.NAMES},
    "location30": Source(location.load, location.fingerprint),
    "mnist10k": Source(images.mnist10k, images.mnist_fingerprint),
    "cifar10_jpeg": Source(images.cifar10_jpeg, images.cifar_fingerprint),
    "npz": Source(npz.load, npz.fingerprint),
    "tfds": Source(tfds.load, tfds.fingerprint),
}
WITH_ARGUMENT = {"npz": "PATH", "tfds": "NAME"}


def check_name(name: str) -> str:
    """The name if a source of `SOURCES` answers to it; ValueError with the known names otherwise."""
    source, _, argument = name.partition(":")
    if source not in SOURCES or (source in WITH_ARGUMENT) != bool(argument):
        known = ", ".join(f"{s}:{WITH_ARGUMENT[s]}" if s in WITH_ARGUMENT else s for s in sorted(SOURCES))
        raise ValueError(f"`data.name` must be one of {known}, got {name!r}.")
    return name


def load(name: str, folder: str = "") -> Dataset:
    """The named data set; `folder` (data.dir or JAXSNN_MIA_DATA) holds the files of those that need any."""
    source, _, argument = check_name(name).partition(":")
    return SOURCES[source].load(argument, folder)


def fingerprint(name: str, folder: str = "") -> str:
    """Changes when the content of the named data set may have changed; cheaper than `load`."""
    source, _, argument = check_name(name).partition(":")
    return SOURCES[source].fingerprint(argument, folder)


__all__ = ["SOURCES", "Dataset", "Source", "check_name", "fingerprint", "load", "make_dataset", "units"]
