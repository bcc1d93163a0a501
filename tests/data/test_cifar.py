"""CIFAR-10 of a mirror that stores JPEGs, from a file written here in its format."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxsnn_mia import data
from launch import pack_cifar10


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


def test_the_official_files_are_packed_into_that_file(tmp_path, capsys):
    rng, names = np.random.default_rng(0), [f"class{i}" for i in range(10)]
    (tmp_path / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
    planes = []
    for i, name in enumerate(pack_cifar10.FILES):
        images = np.repeat(np.repeat(rng.integers(0, 256, (2, 3, 2, 2), np.uint8), 16, 2), 16, 3)  # survive JPEG
        planes.append(images)
        labels = np.array([[i], [9 - i]], np.uint8)
        np.concatenate([labels, images.reshape(2, -1)], 1).tofile(tmp_path / name)
    pack_cifar10.main([str(tmp_path), f"--out={tmp_path / data.cifar.FILE}"])
    found = data.load("cifar10_jpeg", str(tmp_path))
    expected = np.concatenate(planes).transpose(0, 2, 3, 1).astype(int)
    assert found.x.shape == expected.shape == (12, 32, 32, 3)
    blurred = np.abs(found.x.astype(int) - expected)
    assert np.median(blurred) <= 2
    assert found.y.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5, 5, 4]
    assert found.test_n.tolist() == [False] * 10 + [True] * 2
    assert list(found.class_names) == names
    (tmp_path / "test_batch.bin").write_bytes(b"cut")
    with pytest.raises(SystemExit):
        pack_cifar10.main([str(tmp_path)])
    assert "test_batch.bin must hold rows of 3073 bytes, got 3 bytes" in capsys.readouterr().err
