"""CIFAR-10 of a mirror that stores JPEGs, from a file written here in its format."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxsnn_mia import data


def test_cifar_from_jpegs(tmp_path):
    plain = np.stack([np.full((32, 32, 3), 20 * i, np.uint8) for i in range(6)])
    files = []
    for image in plain:
        out = io.BytesIO()
        Image.fromarray(image).save(out, "JPEG", quality=95)
        files.append(np.frombuffer(out.getvalue(), np.uint8))
    arrays = {
        "jpeg": np.concatenate(files), "offsets": np.cumsum([0, *map(len, files)]),
        "label": np.arange(6) % 3, "is_train": np.arange(6) < 4, "class_names": np.array(["a", "b", "c"]),
    }  # fmt: skip
    np.savez(tmp_path / data.cifar.FILE, **arrays)
    found = data.load("cifar10_jpeg", str(tmp_path))
    np.testing.assert_allclose(found.x.astype(int), plain.astype(int), atol=2)
    assert found.test_n.tolist() == [False] * 4 + [True] * 2
    (tmp_path / data.cifar.FILE).rename(tmp_path / "mine.npz")
    by_path = f"cifar10_jpeg:{tmp_path / 'mine.npz'}"
    assert data.load(by_path, "elsewhere").sha256 == found.sha256
    np.savez(tmp_path / "mine.npz", **{**arrays, "jpeg": arrays["jpeg"][:100]})
    with pytest.raises(ValueError, match="is not the published file"):
        data.load(by_path)
    with pytest.raises(ValueError, match=r"cifar10_jpeg\.npz not found in .*tfds:cifar10"):
        data.load("cifar10_jpeg", str(tmp_path))
    with pytest.raises(ValueError, match=r"cifar10_jpeg:nothing\.npz: no such file\. .*tfds:cifar10"):
        data.load("cifar10_jpeg:nothing.npz")
