"""The small real data sets that come inside scikit-learn."""

from importlib.metadata import version

from jaxsnn_mia.data.dataset import Dataset, make_dataset

NAMES = ("iris", "breast_cancer", "wine", "digits")


def load(name: str, argument: str = "", folder: str = "") -> Dataset:
    """One of `NAMES`; digits are 8x8 images, kept as 64 features."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    return make_dataset(bunch.data, bunch.target.astype("int32"), bunch.target_names, name)


def fingerprint(argument: str = "", folder: str = "") -> str:
    return f"scikit-learn {version('scikit-learn')}"
