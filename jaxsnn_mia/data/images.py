"""Images as uint8 [N, H, W, channels]: MNIST from its IDX files, CIFAR-10 from a file of JPEGs."""

import gzip
import io
import itertools
import zipfile
import zlib
from pathlib import Path

import numpy as np

from jaxsnn_mia.data.dataset import Dataset, make_dataset, named_file
from jaxsnn_mia.store import file_sha256

MNIST_FILES = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
CIFAR_FILE = "cifar10_jpeg.npz"


def mnist_paths(folder: str) -> list[Path]:
    return [named_file(folder, file, "mnist10k", "a mirror of the MNIST database") for file in MNIST_FILES]


def cifar_path(folder: str) -> Path:
    return named_file(folder, CIFAR_FILE, "cifar10_jpeg", "a mirror of CIFAR-10 that stores JPEGs")


def mnist_fingerprint(argument: str, folder: str) -> str:
    return " ".join(map(file_sha256, mnist_paths(folder)))


def cifar_fingerprint(argument: str, folder: str) -> str:
    return file_sha256(cifar_path(folder))


def read_idx(path: Path) -> np.ndarray:
    """The array of a gzipped IDX file of bytes: magic 0, 0, 8, number of axes; their lengths, big endian; the bytes."""
    try:
        content = gzip.decompress(path.read_bytes())
        axes = content[3] if content[:3] == b"\0\0\x08" else 0
        shape = tuple(np.frombuffer(content, ">i4", axes, 4))
        array = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
        if not axes or array.size != np.prod(shape):
            raise ValueError(f"{array.size} bytes for shape {shape}")
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise ValueError(f"mnist10k: {path} is no whole IDX file of bytes ({error}). Download it again.") from None
    return array.reshape(shape)


def mnist10k(argument: str, folder: str) -> Dataset:
    """The 10,000 images of MNIST's official test file, uint8 [N, 28, 28, 1]."""
    images, labels = (read_idx(path) for path in mnist_paths(folder))
    return make_dataset(images[..., None], labels, range(10), "MNIST-10k")


def cifar10_jpeg(argument: str, folder: str) -> Dataset:
    """All 60,000 images of CIFAR-10, re-encoded as JPEG and so lossy, uint8 [N, 32, 32, 3], with the source's split.

    The file is an .npz of `jpeg` uint8 (all files one after another), `offsets` [N + 1], `label`, `is_train`,
    `class_names`.
    """
    from PIL import Image

    path = cifar_path(folder)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            jpeg, offsets, label, is_train, names = (
                arrays[name] for name in ("jpeg", "offsets", "label", "is_train", "class_names")
            )
        whole = jpeg.tobytes()
        x = np.stack(
            [
                np.asarray(Image.open(io.BytesIO(whole[start:end])).convert("RGB"))
                for start, end in itertools.pairwise(offsets)
            ]
        )
    except (KeyError, OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"cifar10_jpeg: {path} is not the published file ({error}). Download it again.") from None
    return make_dataset(x, label.astype(np.int32), names, "CIFAR-10 (JPEG)", ~is_train)
