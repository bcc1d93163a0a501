"""CIFAR-10 as a public mirror stores it, re-encoded as JPEG: report it as CIFAR-10 (JPEG)."""

import io
import itertools
from pathlib import Path

import numpy as np

from jaxsnn_mia.data.dataset import Dataset, make_dataset, named_file
from jaxsnn_mia.store import untrusted
from jaxsnn_mia.store.files import file_sha256

FILE = "cifar10_jpeg.npz"
ORIGIN = (
    "a mirror of CIFAR-10 that stores JPEGs, packed as jaxsnn_mia.data.cifar says (tfds:cifar10 has the originals),"
)


def existing(argument: str, folder: str) -> Path:
    """The file that the argument names, else `FILE` in the folder."""
    path = Path(argument).expanduser()
    if argument and not path.is_file():
        raise ValueError(f"cifar10_jpeg:{argument}: no such file. Get it from {ORIGIN} and name its path.")
    return path if argument else named_file(folder, FILE, "cifar10_jpeg", ORIGIN)


def fingerprint(argument: str, folder: str) -> str:
    return file_sha256(existing(argument, folder))


def load(argument: str, folder: str) -> Dataset:
    """All 60,000 images, lossy, uint8 [N, 32, 32, 3], with the official split.

    The file is an .npz of `jpeg` uint8 (all files one after another), `offsets` [N + 1], `label`, `is_train` bool [N],
    `class_names`.
    """
    from PIL import Image

    path = existing(argument, folder)
    try:
        arrays = untrusted.npz(path)
        jpeg, offsets, label, is_train, names = (
            arrays[name] for name in ("jpeg", "offsets", "label", "is_train", "class_names")
        )
        whole = jpeg.tobytes()
        x = np.stack(
            [
                np.asarray(Image.open(io.BytesIO(whole[start:end]), formats=("JPEG",)).convert("RGB"))
                for start, end in itertools.pairwise(offsets)
            ]
        )
    except (*untrusted.UNREADABLE, Image.DecompressionBombError) as error:
        raise ValueError(f"cifar10_jpeg: {path} is not the published file ({error}). Download it again.") from None
    return make_dataset(x, label.astype(np.int32), names, "CIFAR-10 (JPEG)", ~is_train)
