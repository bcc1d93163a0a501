"""Data sources. `load("digits")` gives a `Dataset`; adding a source is one function and one entry here."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from jaxsnn_mia.data import cifar, events, glyphs, idx, image_folder, npz, records, shd, sklearn_sets, speech, tfds
from jaxsnn_mia.data.dataset import Dataset, make_dataset, united, units
from jaxsnn_mia.data.events import from_recordings
from jaxsnn_mia.data.npz import from_arrays, save


class Source(NamedTuple):
    """load(argument, folder) -> Dataset; fingerprint(argument, folder) -> str tells, without reading all of it,
    whether the content may have changed. `argument` is what follows the colon of the name."""

    load: Callable[[str, str], Dataset]
    fingerprint: Callable[[str, str], str]


SOURCES: dict[str, Source] = {
    **{name: Source(partial(sklearn_sets.load, name), sklearn_sets.fingerprint) for name in sklearn_sets.NAMES},
    **{name: Source(partial(records.load, name), partial(records.fingerprint, name)) for name in records.PUBLISHED},
    "mnist10k": Source(idx.mnist10k, idx.mnist10k_fingerprint),
    "mnist_idx": Source(idx.load, idx.fingerprint),
    "cifar10_jpeg": Source(cifar.load, cifar.fingerprint),
    "folder": Source(image_folder.load, image_folder.fingerprint),
    **{
        name: Source(partial(events.load_files, name), partial(events.fingerprint_files, name)) for name in events.FILES
    },
    "shd": Source(shd.load, shd.fingerprint),
    "fsdd": Source(speech.fsdd, speech.fsdd_fingerprint),
    "japanese_vowels": Source(speech.vowels, speech.vowels_fingerprint),
    "moving_glyphs": Source(glyphs.load, glyphs.fingerprint),
    "npz": Source(npz.load, npz.fingerprint),
    "tfds": Source(tfds.load, tfds.fingerprint),
}
WITH_ARGUMENT = {"npz": "PATH", "tfds": "NAME", "mnist_idx": "DIR", "folder": "DIR"}
WITH_ARGUMENT |= {"nmnist": "T", "shd": "T[xC]", "dvs_gesture": "T", "moving_glyphs": "T", "fsdd": "T[xC]"}
MAY_HAVE_ARGUMENT = dict.fromkeys(("cifar10_jpeg", *records.PUBLISHED), "FILE")


def check_name(name: str) -> str:
    """The name if a source of `SOURCES` answers to it; ValueError with the known names otherwise."""
    source, _, argument = name.partition(":")
    if source not in SOURCES or (source not in MAY_HAVE_ARGUMENT and (source in WITH_ARGUMENT) != bool(argument)):
        forms = {s: s for s in SOURCES} | {s: f"{s}:{what}" for s, what in WITH_ARGUMENT.items()}
        forms |= {s: f"{s}[:{what}]" for s, what in MAY_HAVE_ARGUMENT.items()}
        raise ValueError(f"`data.name` must be one of {', '.join(sorted(forms.values()))}, got {name!r}.")
    return name


def load(name: str, folder: str = "", layout: str = "auto") -> Dataset:
    """The named data set; `folder` (data.dir or JAXSNN_MIA_DATA) holds the files of those that need any. `layout` says
    what the axes of a user's own arrays mean."""
    source, _, argument = check_name(name).partition(":")
    if source == "npz":
        return npz.load(argument, folder, layout)
    if layout != "auto":
        raise ValueError(f"`data.layout` must be 'auto' for {name}, whose layout is known, got {layout!r}.")
    return SOURCES[source].load(argument, folder)


def fingerprint(name: str, folder: str = "") -> str:
    """Changes when the content of the named data set may have changed; cheaper than `load`."""
    source, _, argument = check_name(name).partition(":")
    return SOURCES[source].fingerprint(argument, folder)


__all__ = [
    "SOURCES", "Dataset", "Source", "check_name", "fingerprint", "from_arrays", "from_recordings", "load",
    "make_dataset", "save", "united", "units",
]  # fmt: skip
