"""MNIST and its relatives, from files written here in the published format, and with each fault there is."""

import gzip

import numpy as np
import pytest

from jaxsnn_mia import data

RNG = np.random.default_rng(0)


def idx(array, compress=gzip.compress):
    head = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">i4").tobytes()
    return compress(head + array.tobytes())


def digits(n, size=(28, 28)):
    return RNG.integers(0, 256, (n, *size)).astype(np.uint8), (np.arange(n) % 10).astype(np.uint8)


def write_pair(folder, start, pair, end=".gz", dot="-"):
    folder.mkdir(exist_ok=True)
    for part, array in zip(("images{}idx3-ubyte", "labels{}idx1-ubyte"), pair, strict=True):
        (folder / f"{start}-{part.format(dot)}{end}").write_bytes(idx(array, gzip.compress if end else bytes))


def test_mnist10k_from_idx_files(tmp_path):
    images, labels = digits(7)
    write_pair(tmp_path, "t10k", (images, labels))
    found = data.load("mnist10k", str(tmp_path))
    np.testing.assert_array_equal(found.x[..., 0], images)
    np.testing.assert_array_equal(found.y, labels)
    assert found.x.dtype == np.uint8
    assert found.test_n is None
    for cut in (idx(images)[:-20], idx(images, bytes)[:-1], idx(images, bytes)[:3], b"", b"\0" * 20):
        (tmp_path / data.idx.FILES[0]).write_bytes(cut)
        with pytest.raises(ValueError, match=r"no whole IDX file of bytes \(.*Download it again"):
            data.load("mnist10k", str(tmp_path))
    with pytest.raises(ValueError, match=r"mnist10k: t10k-images.* not found in .*nowhere.*Get it from .*mnist"):
        data.load("mnist10k", str(tmp_path / "nowhere"))


@pytest.mark.parametrize(("end", "dot"), [(".gz", "-"), ("", "-"), ("", ".")])
def test_mnist_idx_has_both_files_and_the_official_split(tmp_path, end, dot):
    train, test = digits(12), digits(5)
    write_pair(tmp_path, "train", train, end, dot)
    write_pair(tmp_path, "t10k", test, end, dot)
    found = data.load(f"mnist_idx:{tmp_path}")
    np.testing.assert_array_equal(found.x[..., 0], np.concatenate([train[0], test[0]]))
    np.testing.assert_array_equal(found.y, np.concatenate([train[1], test[1]]))
    assert found.test_n.tolist() == [False] * 12 + [True] * 5
    assert found.class_names == tuple("0123456789")


def test_mnist_idx_of_one_split_has_no_test_rows(tmp_path):
    for start in ("train", "t10k"):
        write_pair(tmp_path / start, start, digits(10))
        found = data.load(f"mnist_idx:{tmp_path / start}")
        assert found.test_n is None
        assert len(found.x) == 10


def test_mnist_idx_of_emnist_is_one_set_with_labels_from_one(tmp_path):
    images, labels = digits(10)
    for start in ("emnist-letters-train", "emnist-letters-test", "emnist-mnist-train"):
        write_pair(tmp_path, start, (images, labels % 3 + 1))
    with pytest.raises(
        ValueError, match=r"one set expected, got \['emnist-letters-train-images-idx3-ubyte', 'emnist-mn"
    ):
        data.load(f"mnist_idx:{tmp_path}")
    found = data.load(f"mnist_idx:{tmp_path}/emnist-letters")
    assert found.test_n.sum() == 10
    np.testing.assert_array_equal(found.y, np.tile(labels % 3, 2))
    assert found.class_names == ("1", "2", "3")


def test_a_fingerprint_of_idx_files_is_that_of_their_content(tmp_path):
    pair = digits(10)
    write_pair(tmp_path, "t10k", pair)
    before = data.fingerprint(f"mnist_idx:{tmp_path}")
    write_pair(tmp_path, "t10k", pair)
    assert data.fingerprint(f"mnist_idx:{tmp_path}") == before
    write_pair(tmp_path, "t10k", (pair[0], pair[1][::-1]))
    assert data.fingerprint(f"mnist_idx:{tmp_path}") != before


def test_idx_files_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte .*not found in .*Get the"):
        data.load(f"mnist_idx:{tmp_path}")
    images, labels = digits(6)
    write_pair(tmp_path, "train", (images, labels[:5]))
    with pytest.raises(ValueError, match=r"got \(6, 28, 28\) and \(5,\) in train"):
        data.load(f"mnist_idx:{tmp_path}")
    write_pair(tmp_path, "train", (images, labels))
    write_pair(tmp_path, "t10k", digits(3, (20, 20)))
    with pytest.raises(ValueError, match=r"one size and labels \[N\], got \(3, 20, 20\)"):
        data.load(f"mnist_idx:{tmp_path}")
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match=r": train-labels-idx1-ubyte \(or \.gz\) not found in"):
        data.load(f"mnist_idx:{tmp_path}")
