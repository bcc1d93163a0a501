"""Classification sets of tensorflow-datasets: a cached array file, or the ArrayRecord files, without TensorFlow.

`python -m jaxsnn_mia.data.tfds NAME --dir FOLDER` prepares them, the one thing that needs TensorFlow (extra [tfds]):

    FOLDER/NAME[/CONFIG]/1.0.0/       dataset_info.json, features.json, *.array_record-*   tensorflow-datasets' own
    FOLDER/NAME[/CONFIG]/1.0.0.npz    x, y, class_names, test, about, sha256               the cache, enough by itself
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from jaxsnn_mia.data.dataset import Dataset, make_dataset
from jaxsnn_mia.data.tfds import cache
from jaxsnn_mia.store.files import digest, file_sha256

INFO = "dataset_info.json"
INSTALL = "`pip install -e '.[tfds]' -c launch/constraints.txt`"
DEFAULT = "~/tensorflow_datasets"  # tensorflow-datasets' own, where neither data.dir nor TFDS_DATA_DIR names a folder
ONLY = (
    "only classification sets with one dense input (`image`, or one array of numbers of a fixed shape) and a class "
    "`label` are read; of others, make an .npz of x and y and name it by npz:PATH"
)


def root(folder: str) -> Path:
    return Path(folder or os.environ.get("TFDS_DATA_DIR") or DEFAULT).expanduser()


def command(name: str, folder: str) -> str:
    """What to type to prepare the data set."""
    name = name.partition(":")[0]
    return f"{INSTALL} and `python -m jaxsnn_mia.data.tfds {name} --dir {root(folder)}`"


def cache_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.npz")


def version_path(name: str, folder: str) -> Path:
    """The folder, prepared or cached, of the newest version of NAME, NAME/CONFIG or NAME:VERSION. ValueError says how
    to prepare one that is not there."""
    name, _, wanted = name.partition(":")
    place = root(folder) / name
    names = {path.parent.name for path in place.glob(f"*.*.*/{INFO}")} | {path.stem for path in place.glob("*.*.*.npz")}
    versions = [version for version in names if all(part.isdigit() for part in version.split("."))]
    if wanted:
        versions = [version for version in versions if version == wanted]
    if not versions:
        there = (*place.glob(f"*/*.*.*/{INFO}"), *place.glob("*/*.*.*.npz"))
        configs = sorted({path.relative_to(place).parts[0] for path in there})
        known = f" It has the configs {configs}: name one, as in tfds:{name}/{configs[0]}." if configs else ""
        raise ValueError(
            f"tfds:{name}: no prepared data set {f'of version {wanted} ' if wanted else ''}in {place}.{known} Prepare "
            f"one by {command(name, folder)}, and name the folder by --config.data.dir."
        )
    return place / max(versions, key=lambda version: [int(part) for part in version.split(".")])


def state(path: Path) -> dict[str, str]:
    """What the prepared files are: name, config, version; a hash of them all (.1 s for the 130 MB of CIFAR-10; records
    written anew may have the size of the old ones)."""
    info = json.loads((path / INFO).read_text())
    name = "/".join(filter(None, (info["name"], info.get("configName"), info["version"])))
    files = {file.name: file_sha256(file) for file in path.iterdir() if file.is_file() and file.name[0] != "."}
    return {"name": name, "state": digest(files)}


def fingerprint(name: str, folder: str) -> str:
    """Full name and `state`, from the prepared folder or, where that is gone, from the cache."""
    path = version_path(name, folder)
    try:
        about = state(path) if (path / INFO).exists() else cache.read_about(cache_path(path))
    except cache.Damaged as error:
        raise lost(error, name, folder) from None
    return f"{about['name']} {about['state']}"


def load(name: str, folder: str) -> Dataset:
    """All splits of a classification set with one dense input and `label`: images uint8 [N, H, W, C], other inputs
    float32 [N, ...]. Rows of the split named "test" are its test split; rows without a label (-1) are left out.

    The cache is read where it is whole and made from what is prepared; otherwise it is made from the records.
    Raises ValueError for what is not prepared, not such a set, or a damaged cache without the records.
    """
    path = version_path(name, folder)
    cached, about = cache_path(path), state(path) if (path / INFO).exists() else None
    if cached.exists():
        try:
            return cache.read(cached, f"tfds:{name}", about)
        except cache.Damaged as error:
            if about is None:
                raise lost(error, name, folder) from None
            logging.warning("%s: it is made again from the records", error)
    dataset = from_records(path, name, folder)
    cache.write(cached, dataset, about or {})
    return dataset


def lost(error: cache.Damaged, name: str, folder: str) -> ValueError:
    return ValueError(f"tfds:{name}: {error}. Remove it and prepare the data set again by {command(name, folder)}.")


def input_key(name: str, features: Any) -> str:
    """The one feature that is a dense array of numbers, or `image` where there are several; ValueError otherwise."""
    import tensorflow_datasets as tfds

    def dense(feature) -> bool:
        if isinstance(feature, tfds.features.Image):
            return True
        numeric = isinstance(feature, tfds.features.Tensor) and np.issubdtype(feature.np_dtype, np.number)
        return numeric and len(feature.shape) > 0 and None not in feature.shape

    described = dict(features) if isinstance(features, tfds.features.FeaturesDict) else {}
    kinds = {key: type(feature).__name__ for key, feature in described.items()}
    inputs = [key for key, feature in described.items() if dense(feature)]
    if "image" in inputs:
        inputs = ["image"]
    if len(inputs) != 1 or not isinstance(described.get("label"), tfds.features.ClassLabel):
        raise ValueError(f"tfds:{name}: {ONLY}, got {kinds}.")
    return inputs[0]


def from_records(path: Path, name: str, folder: str) -> Dataset:
    """Reads every ArrayRecord of a prepared version, by tensorflow-datasets and without TensorFlow."""
    import tensorflow_datasets as tfds

    try:
        made = tfds.builder_from_directory(path)
    except ImportError as error:  # audio and video need more than images do
        raise ValueError(f"tfds:{name}: {ONLY}; this one needs {error.name}.") from None
    if (file_format := made.info.file_format.value) != "array_record":
        raise ValueError(
            f"tfds:{name}: {path} holds {file_format} files, array_record is needed. Remove that folder and prepare it "
            f"again by {command(name, folder)}."
        )
    key = input_key(name, made.info.features)
    x, y, test = [], [], []
    for split in made.info.splits:
        for example in made.as_data_source(split):
            if example["label"] < 0:
                continue
            if x and example[key].shape != x[0].shape:
                raise ValueError(
                    f"tfds:{name}: all inputs must have one shape, got {x[0].shape} and {example[key].shape} in "
                    f"{split}. Resize them into an .npz of x and y and name that by npz:PATH."
                )
            x.append(example[key])
            y.append(example["label"])
            test.append(split == "test")
    test_n = np.array(test) if any(test) else None
    return make_dataset(np.stack(x), np.array(y, np.int32), made.info.features["label"].names, f"tfds:{name}", test_n)
