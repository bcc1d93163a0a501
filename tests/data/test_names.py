"""Names of sources and their arguments."""

import pytest

from jaxsnn_mia import config, data


@pytest.mark.parametrize("name", ["tfds", "folder", "mnist_idx", "npz", "mnist10k:x", "iris:3", "tfds:"])
def test_an_argument_that_is_missing_or_too_much(name):
    with pytest.raises(
        ValueError, match=r"cifar10_jpeg\[:FILE\], .*folder:DIR, .*texas100\[:FILE\], tfds:NAME, wine, got"
    ):
        data.check_name(name)
    with pytest.raises(ValueError, match=r"data\.name"):
        config.from_dict({"data": {"name": name}})


@pytest.mark.parametrize("name", ["location30", "location30:a", "texas100:b:c", "cifar10_jpeg:/a/b", "tfds:a/b:1.0.0"])
def test_an_argument_may_be_optional(name):
    assert data.check_name(name) == name
