"""The cache of a prepared set: x, y, class_names, test, what it was made from (`about`), and the hash of the arrays."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from jaxsnn_mia.data.dataset import Dataset, make_dataset
from jaxsnn_mia.store.files import StoreError, atomic


class Damaged(ValueError):
    """A cache that is not what was written, or written from other records; the message names it and why."""


@contextlib.contextmanager
def opened(cache: Path) -> Iterator[Any]:
    try:
        with open(cache, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            yield arrays
    except Exception as error:  # a damaged zip raises errors of many kinds
        raise Damaged(f"{cache} is damaged or out of date ({error})") from None


def read_about(cache: Path) -> dict[str, str]:
    with opened(cache) as arrays:
        about = json.loads(str(arrays["about"]))
        return {key: about[key] for key in ("name", "state")}


def read(cache: Path, source: str, about: dict[str, str] | None) -> Dataset:
    """The cached arrays; `Damaged` where their hash is not the stored one, or they were made from records other than
    those that `about` describes."""
    stored = read_about(cache)
    with opened(cache) as arrays:
        if about not in (None, stored):
            raise ValueError(f"made from {stored}, prepared is {about}")
        test_n = arrays["test"] if arrays["test"].any() else None
        dataset = make_dataset(arrays["x"], arrays["y"], arrays["class_names"], source, test_n)
        if dataset.sha256 != str(arrays["sha256"]):
            raise ValueError("the arrays do not have the stored sha256")
    return dataset


def write(cache: Path, dataset: Dataset, about: dict[str, str]) -> None:
    """A folder that cannot be written to costs later runs the reading of the records, nothing else."""
    test = np.zeros(len(dataset.y), bool) if dataset.test_n is None else dataset.test_n
    arrays = {"x": dataset.x, "y": dataset.y, "class_names": np.array(dataset.class_names), "test": test}
    try:
        with atomic(cache) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays, about=json.dumps(about), sha256=dataset.sha256)
    except (OSError, StoreError) as error:
        logging.warning("%s is not written (%s): the records are read again next time", cache, error)
