"""Location-30: Foursquare check-ins, 5,010 records, 446 binary features, 30 classes (Shokri et al. 2017)."""

import io
import tarfile
import zlib
from pathlib import Path

import numpy as np

from jaxsnn_mia.data.dataset import Dataset, make_dataset, named_file
from jaxsnn_mia.store import file_sha256

FILE = "dataset_location.tgz"


def existing(folder: str) -> Path:
    origin = "the page of Shokri et al. 2017 (github.com/privacytrustlab/datasets)"
    return named_file(folder, FILE, "location30", origin)


def fingerprint(argument: str, folder: str) -> str:
    return file_sha256(existing(folder))


def load(argument: str, folder: str) -> Dataset:
    """Reads `dataset_location.tgz` from `folder`, or from JAXSNN_MIA_DATA where that is empty."""
    path = existing(folder)
    try:
        with tarfile.open(path) as archive:
            text = archive.extractfile("bangkok").read().replace(b'"', b"")  # type: ignore[union-attr]
        table = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.int32, ndmin=2)
    except (tarfile.TarError, KeyError, EOFError, OSError, AttributeError, ValueError, zlib.error) as error:
        raise ValueError(f"location30: {path} is not the published archive ({error}). Download it again.") from None
    if table.shape[1] != 447:
        raise ValueError(f"location30: expected 447 columns in {path}, got {table.shape[1]}. Download it again.")
    return make_dataset(table[:, 1:], table[:, 0] - 1, range(1, 31), "location30")
