"""MNIST and its relatives from IDX files: `train-` and `t10k-` (or `test-`), `images-idx3-ubyte` [N, H, W] and
`labels-idx1-ubyte` [N], with .gz or without."""

import math
from pathlib import Path

import numpy as np

from jaxsnn_mia.data.dataset import Dataset, make_dataset, named_file
from jaxsnn_mia.store import untrusted
from jaxsnn_mia.store.files import file_sha256

FILES = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
ORIGIN = "the page of MNIST (yann.lecun.com/exdb/mnist), Fashion-MNIST or EMNIST, or a mirror"
SPLITS = {"train": ("train",), "test": ("t10k", "test")}
PARTS = ("images?idx3-ubyte", "labels?idx1-ubyte")  # some mirrors write images.idx3-ubyte


def read(path: Path) -> np.ndarray:
    """The uint8 array of an IDX file: 0, 0, 8, number of axes; their lengths, big endian, 4 bytes each; the bytes."""
    try:
        with untrusted.unzipped(path) as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:3] != b"\0\0\x08" or not 0 < magic[3] < 5:
                raise ValueError("it does not begin as one")
            shape = tuple(int(length) for length in np.frombuffer(file.read(4 * magic[3]), ">u4", magic[3]))
            size = math.prod(shape)
            untrusted.check_size(size, "its content")
            content = file.read(size + 1)  # no more, whatever it unpacks to
        if len(content) != size:
            raise ValueError(f"{'more' if len(content) > size else len(content)} bytes for shape {shape}")
    except untrusted.UNREADABLE as error:
        raise ValueError(
            f"{path} is no whole IDX file of bytes ({untrusted.first_line(error)}). Download it again."
        ) from None
    return np.frombuffer(content, np.uint8).reshape(shape)


def mnist10k_paths(folder: str) -> list[Path]:
    return [named_file(folder, file, "mnist10k", ORIGIN) for file in FILES]


def mnist10k_fingerprint(argument: str, folder: str) -> str:
    return " ".join(map(file_sha256, mnist10k_paths(folder)))


def mnist10k(argument: str, folder: str) -> Dataset:
    """The 10,000 images of MNIST's official test file, uint8 [N, 28, 28, 1], without a test split of their own."""
    images, labels = (read(path) for path in mnist10k_paths(folder))
    return make_dataset(images[..., None], labels, range(10), "MNIST-10k")


def pairs(place: str) -> dict[str, tuple[Path, Path]]:
    """{"train": (images, labels), "test": (images, labels)}, as far as the folder has them. Of `place` DIR/NAME, where
    that is no folder, the files of DIR that start with "NAME-". ValueError that names what is missing."""
    root = Path(place).expanduser()
    folder, prefix = (root, "*") if root.is_dir() else (root.parent, f"{root.name}-")
    pairs = {}
    for split, starts in SPLITS.items():
        patterns = [[f"{prefix}{start}-{part}" for start in starts] for part in PARTS]
        pair = [unique(place, folder, names) for names in patterns]
        if None not in pair:
            pairs[split] = (pair[0], pair[1])
        elif pair != [None, None] or (split == "test" and not pairs):
            missing = [
                names[0].lstrip("*").replace("?", "-") for names, path in zip(patterns, pair, strict=True) if not path
            ]
            raise ValueError(
                f"mnist_idx:{place}: {' and '.join(missing)} (or .gz) not found in {folder}. Get the IDX files from "
                f"{ORIGIN}; tfds:mnist needs none."
            )
    return pairs  # type: ignore[return-value]


def unique(place: str, folder: Path, patterns: list[str]) -> Path | None:
    """The one file of these names, compressed or not; None where there is none."""
    paths = sorted(
        path for name in patterns for end in ("", ".gz") for path in folder.glob(name + end) if path.is_file()
    )
    names = sorted({path.name.removesuffix(".gz") for path in paths})
    if len(names) > 1:
        raise ValueError(f"mnist_idx:{place}: one set expected, got {names}. Choose one by mnist_idx:DIR/NAME.")
    return paths[0] if paths else None


def fingerprint(argument: str, folder: str) -> str:
    return " ".join(f"{split} {file_sha256(path)}" for split, pair in pairs(argument).items() for path in pair)


def load(argument: str, folder: str) -> Dataset:
    """uint8 [N, H, W, 1]; those of t10k are the test split where the train files are there too. Classes are the labels
    that occur, numbered in their order (EMNIST letters count from 1). ValueError for files that do not fit together."""
    parts = {split: (read(images), read(labels)) for split, (images, labels) in pairs(argument).items()}
    size = next(iter(parts.values()))[0].shape[1:]
    for split, (images, labels) in parts.items():
        if images.ndim != 3 or labels.shape != images.shape[:1] or images.shape[1:] != size:
            raise ValueError(
                f"mnist_idx:{argument}: expected images [N, H, W] of one size and labels [N], got {images.shape} and "
                f"{labels.shape} in {split}. Download the files again."
            )
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts.values(), strict=True))
    names, y = np.unique(labels, return_inverse=True)
    test_n = np.repeat([split == "test" for split in parts], [len(labels) for _, labels in parts.values()])
    return make_dataset(
        images[..., None], y, names, f"mnist_idx:{Path(argument).name}", test_n if len(parts) == 2 else None
    )
