"""An image folder: `DIR/CLASS/*.png`, or `DIR/train/CLASS/*.png` and `DIR/test/CLASS/*.png`."""

from collections import Counter
from pathlib import Path

import numpy as np

from jaxsnn_mia.data.dataset import Dataset, make_dataset
from jaxsnn_mia.store import untrusted
from jaxsnn_mia.store.files import digest

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")  # no others: some would start another program
BESIDE = (".txt", ".md", ".json", ".csv", ".xml", ".db", ".ini")  # notes, and what file managers leave


def subfolders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def images(path: Path) -> list[Path]:
    """The images of a class in order of their names; ValueError for anything else that would be left out silently."""
    held = sorted(
        file for file in path.iterdir() if not file.name.startswith(".") and file.suffix.lower() not in BESIDE
    )
    for file in held:
        if not file.is_file() or file.suffix.lower() not in SUFFIXES:
            what = "a folder within a class" if file.is_dir() else "no image that can be read"
            raise ValueError(
                f"folder: {file} is {what}; a class holds {', '.join(SUFFIXES)} files. Move it out or convert it."
            )
    return held


def files(place: str) -> list[tuple[Path, str, bool]]:
    """(file, class, whether of the test split) in order of their names. The folder is split where it has subfolders
    `train` and `test` that hold folders; ValueError for one without images, or splits of other classes."""
    root = Path(place).expanduser()
    layout = "Put images (png, jpg, bmp, webp, tif) into DIR/CLASS, or into DIR/train/CLASS and DIR/test/CLASS."
    if not root.is_dir():
        raise ValueError(f"folder:{place}: no such folder. {layout}")
    names = {path.name for path in subfolders(root)}
    split = {"train", "test"} <= names and all(subfolders(root / name) for name in ("train", "test"))
    if split and names != {"train", "test"}:
        raise ValueError(
            f"folder:{place}: train and test must stand alone, got also {sorted(names - {'train', 'test'})}."
        )
    roots = {False: root / "train", True: root / "test"} if split else {False: root}
    parts = {test: subfolders(path) for test, path in roots.items()}
    classes = [{path.name for path in folders} for folders in parts.values()]
    if any(names != classes[0] for names in classes):
        raise ValueError(
            f"folder:{place}: train and test must have the same classes, got {list(map(sorted, classes))}."
        )
    labelled = [(file, of.name, test) for test, folders in parts.items() for of in folders for file in images(of)]
    empty = classes[0] - {name for _, name, test in labelled if not test}
    if empty or not labelled:
        raise ValueError(f"folder:{place}: no images in {sorted(empty) or 'any subfolder'}. {layout}")
    return labelled


def fingerprint(place: str, folder: str = "") -> str:
    stats = [(file, file.stat()) for file, _, _ in files(place)]
    root = Path(place).expanduser()
    return digest([(str(file.relative_to(root)), stat.st_size, stat.st_mtime_ns) for file, stat in stats])


def pixels(file: Path) -> int:
    """Of an image, by its header; ValueError for what is none."""
    from PIL import Image

    try:
        with Image.open(file, formats=FORMATS) as image:
            return image.width * image.height
    except (*untrusted.UNREADABLE, Image.DecompressionBombError) as error:
        raise unreadable(file, error) from None


def unreadable(file: Path, error: BaseException) -> ValueError:
    return ValueError(
        f"folder: cannot read {file} ({untrusted.first_line(error)}). Save it again as an 8-bit png, or remove it."
    )


def read(file: Path) -> np.ndarray:
    """uint8 [H, W] of a grey image, [H, W, 3] of any other, turned as its EXIF orientation says; transparency is
    dropped."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.mode in ("I", "F") or image.mode.startswith("I;"):
                raise ValueError(f"expected 8 bits per channel, got mode {image.mode}")
            upright = ImageOps.exif_transpose(image)
            return np.asarray(upright.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    except (*untrusted.UNREADABLE, Image.DecompressionBombError) as error:
        raise unreadable(file, error) from None


def load(place: str, folder: str = "") -> Dataset:
    """uint8 [N, H, W, 1] where all images are grey, else [N, H, W, 3]; classes in order of their names; the test split
    of DIR/test. ValueError for images of different sizes."""
    labelled = files(place)
    untrusted.check_size(sum(map(pixels, (file for file, _, _ in labelled))) * 3, f"folder:{place}: its images")
    arrays = [read(file) for file, _, _ in labelled]
    ((usual, _),) = Counter(array.shape[:2] for array in arrays).most_common(1)
    for (file, _, _), array in zip(labelled, arrays, strict=True):
        if array.shape[:2] != usual:
            raise ValueError(
                f"folder:{place}: all images must have one size, expected {usual[0]}x{usual[1]} (height x width) as "
                f"most, got {array.shape[0]}x{array.shape[1]} in {file}. Resize or remove it, and others like it."
            )
    if any(array.ndim == 3 for array in arrays):
        arrays = [array if array.ndim == 3 else np.stack([array] * 3, -1) for array in arrays]
    x = np.stack(arrays)
    names, y = np.unique([name for _, name, _ in labelled], return_inverse=True)
    test_n = np.array([test for _, _, test in labelled])
    source = f"folder:{Path(place).name}"
    return make_dataset(x if x.ndim == 4 else x[..., None], y, names, source, test_n if test_n.any() else None)
