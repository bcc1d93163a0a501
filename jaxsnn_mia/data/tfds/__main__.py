"""Downloads and prepares a classification set of tensorflow-datasets, and caches it as arrays:

    python -m jaxsnn_mia.data.tfds mnist --dir FOLDER

It needs TensorFlow: `pip install -e '.[tfds]' -c launch/constraints.txt`. Runs with --config.data.name=tfds:mnist
--config.data.dir=FOLDER then need neither TensorFlow nor the records, only FOLDER/mnist/VERSION.npz.
"""

import argparse
import importlib
from collections.abc import Sequence

from jaxsnn_mia.data import tfds as source


def prepare(name: str, folder: str) -> str:
    """NAME[/CONFIG]:VERSION of what now lies in `folder`, as ArrayRecord files and as the cache; ValueError where it
    cannot be prepared."""
    try:
        importlib.import_module("tensorflow")
    except ImportError as error:
        raise ValueError(
            f"preparing {name} needs TensorFlow ({error}). Install it by {source.INSTALL}; a prepared folder "
            "is then read without it, here or elsewhere."
        ) from None
    import tensorflow_datasets as tfds

    try:
        made = tfds.builder(name, data_dir=source.root(folder))
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise ValueError(
            "`name` must be NAME or NAME/CONFIG of the catalogue of tensorflow-datasets, or of a builder in --imports, "
            f"got {name!r} ({str(error).partition(chr(10))[0]})"
        ) from None
    try:
        fresh = tfds.download.DownloadConfig(try_download_gcs=False)  # what is hosted there is no ArrayRecord
        made.download_and_prepare(download_config=fresh, file_format="array_record")
    except OSError as error:  # no network is one too
        raise ValueError(
            f"{name}: could not be downloaded and written ({error}). Run the same command again."
        ) from None
    whole_name, _, version = made.info.full_name.rpartition("/")
    source.load(f"{whole_name}:{version}", folder)
    return f"{whole_name}:{version}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m jaxsnn_mia.data.tfds", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="NAME or NAME/CONFIG of tensorflow-datasets: mnist, cifar10, cifar100, ...")
    parser.add_argument("--dir", default="", metavar="FOLDER", help=f"default: TFDS_DATA_DIR or {source.DEFAULT}")
    parser.add_argument("--imports", default="", metavar="MODULE", help="a module that defines a builder of your own")
    options = parser.parse_args(arguments)
    try:
        if options.imports:
            importlib.import_module(options.imports)
        name = prepare(options.name, options.dir)
    except ValueError as error:
        parser.exit(2, f"error: {error}\n")
    print(f"prepared: --config.data.name=tfds:{name.rpartition(':')[0]} --config.data.dir={source.root(options.dir)}")


if __name__ == "__main__":
    main()
