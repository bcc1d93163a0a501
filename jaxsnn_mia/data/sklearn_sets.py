"""The small real data sets that come inside scikit-learn."""

from importlib.metadata import version

from jaxsnn_mia.data.dataset import Dataset, make_dataset

NAMES = ("iris", "breast_cancer", "wine", "digits")


def load(name: str, argument: str = "", folder: str = "") -> Dataset:
    """One of `NAMES`; digits are 8x8 images, kept as 64 features."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    y = bunch.target.astype("int32")
    return make_dataset(bunch.data, y, bunch.target_names, name, features=bunch.feature_names)


def fingerprint(argument: str = "", folder: str = "") -> str:
    return f"scikit-learn {version('scikit-learn')}"
