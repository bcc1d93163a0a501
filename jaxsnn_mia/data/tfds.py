"""Data sets that tensorflow-datasets has prepared as ArrayRecord files: read without TensorFlow."""

from pathlib import Path

import numpy as np

from jaxsnn_mia.data.dataset import Dataset, make_dataset


def builder(name: str, folder: str):
    """The prepared builder of a data set; ValueError says how to prepare one that is not there."""
    import tensorflow_datasets as tfds

    root = Path(folder or "~/tensorflow_datasets").expanduser()
    versions = sorted(path for path in (root / name).glob("*.*.*") if (path / "dataset_info.json").exists())
    if not versions:
        raise ValueError(
            f"tfds:{name}: no prepared data set in {root / name}. Prepare one where TensorFlow is installed by "
            f"`tfds build {name} --file_format=array_record --data_dir={root}`, and name its folder by "
            "--config.data.dir."
        )
    made = tfds.builder_from_directory(versions[-1])
    if made.info.file_format.value != "array_record":
        raise ValueError(
            f"tfds:{name}: {versions[-1]} holds {made.info.file_format.value} files, array_record is needed: "
            "prepare it again with --file_format=array_record."
        )
    return made


def fingerprint(name: str, folder: str) -> str:
    made = builder(name, folder)
    return f"{made.info.full_name} {made.info.dataset_size}"


def load(name: str, folder: str) -> Dataset:
    """All splits of a classification data set with features `image` (or one other input) and `label`; the rows of
    a split named "test" are its test split. Images are scaled to [0, 1]."""
    made = builder(name, folder)
    labels = made.info.features["label"]
    inputs = [key for key in made.info.features if key != "label" and made.info.features[key].shape is not None]
    key = "image" if "image" in inputs else inputs[0]
    parts = {split: made.as_data_source(split) for split in made.info.splits}
    rows = [(example[key], example["label"], split == "test") for split, part in parts.items() for example in part]
    x, y, test_n = (np.stack(column) for column in zip(*rows, strict=True))
    if x.dtype == np.uint8:
        x = x.astype(np.float32) / 255
    return make_dataset(x, y.astype(np.int32), labels.names, f"tfds:{name}", test_n if test_n.any() else None)
