"""Packs the official binary files of CIFAR-10 into the file that the data source cifar10_jpeg reads.

    python launch/pack_cifar10.py FOLDER [--out=cifar10_jpeg.npz] [--quality=95]

FOLDER is cifar-10-batches-bin as the authors publish it: data_batch_1.bin to data_batch_5.bin, test_batch.bin and
batches.meta.txt. Images are stored as JPEG, which loses something: the data are "CIFAR-10 (JPEG)". Another quality, or
another encoder, is another data set with another hash.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

FILES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
ROW = 1 + 3 * 32 * 32  # a label, then red, green and blue planes


def rows_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(labels uint8 [n], images uint8 [n, 32, 32, 3]) of one file. ValueError for a file of another format."""
    if not path.is_file():
        raise ValueError(f"{path} is missing. FOLDER must hold {', '.join(FILES)} and batches.meta.txt.")
    raw = np.fromfile(path, np.uint8)
    if not len(raw) or len(raw) % ROW:
        raise ValueError(f"{path} must hold rows of {ROW} bytes, got {len(raw)} bytes. Get the binary version again.")
    rows = raw.reshape(-1, ROW)
    if rows[:, 0].max() > 9:
        raise ValueError(f"{path}: labels must be in [0, 9], got {rows[:, 0].max()}. This is no CIFAR-10 file.")
    return rows[:, 0], rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def pack(folder: Path, out: Path, quality: int) -> None:
    """Writes the file: `jpeg`, `offsets`, `label`, `is_train`, `class_names`."""
    names = [line for line in (folder / "batches.meta.txt").read_text().split() if line]
    if len(names) != 10:
        raise ValueError(f"{folder / 'batches.meta.txt'} must name 10 classes, got {len(names)}.")
    read = [rows_of(folder / name) for name in FILES]
    files = []
    for _, images in read:
        for image in images:
            held = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(image)).save(held, "JPEG", quality=quality)
            files.append(np.frombuffer(held.getvalue(), np.uint8))
    sizes = [len(labels) for labels, _ in read]
    np.savez(
        out,
        jpeg=np.concatenate(files),
        offsets=np.cumsum([0, *map(len, files)]),
        label=np.concatenate([labels for labels, _ in read]),
        is_train=np.arange(sum(sizes)) < sum(sizes[:-1]),
        class_names=np.array(names),
    )


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("cifar10_jpeg.npz"))
    parser.add_argument("--quality", type=int, default=95, help="of JPEG, 1 to 95")
    given = parser.parse_args(argv)
    try:
        pack(given.folder, given.out, given.quality)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(given.out)


if __name__ == "__main__":
    main(sys.argv[1:])
