import numpy as np
import pytest

from jaxsnn_mia import data


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("iris", (150, 4), 3),
        ("wine", (178, 13), 3),
        ("breast_cancer", (569, 30), 2),
        ("digits", (1797, 64), 10),
    ],
)
def test_embedded_tables(name, shape, classes):
    dataset = data.load(name)
    assert dataset.x.shape == shape
    assert dataset.x.dtype == np.float64  # as in scikit-learn
    assert len(dataset.class_names) == classes == len(np.unique(dataset.y))
    assert dataset.sha256 == data.load(name).sha256
    assert "scikit-learn" in data.fingerprint(name)


def test_iris_has_a_duplicate():
    unit = data.units(data.load("iris").x)
    assert len(unit) - len(np.unique(unit)) == 1


def test_numbers_of_units_depend_on_values_and_not_on_their_type():
    """Splits are drawn by them: the same table in float32 and float64 has the same splits."""
    x = np.random.default_rng(0).integers(0, 3, (50, 2)) / 4  # exact in float32, with duplicates
    np.testing.assert_array_equal(data.units(x), data.units(x.astype(np.float32)))
    assert len(np.unique(data.units(x))) == len(np.unique(x, axis=0))
    close = np.array([[1.7e9], [1.7e9 + 1], [1.7e9]])
    assert data.units(close).tolist() == [0, 1, 0]
    assert len(np.unique(data.units(close.astype(np.float32)))) == 1


def test_an_npz_of_ones_own(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(20, 6)), np.arange(20) % 2
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    dataset = data.load(f"npz:{tmp_path / 'mine.npz'}")
    assert dataset.shape == (6,)
    before = data.fingerprint(f"npz:{tmp_path / 'mine.npz'}")
    np.savez(tmp_path / "mine.npz", x=x + 1, y=y)
    assert data.fingerprint(f"npz:{tmp_path / 'mine.npz'}") != before


def bad(**arrays):
    return {"x": np.zeros((6, 2)), "y": np.arange(6) % 2, **arrays}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (bad(x=np.full((6, 2), np.nan)), "NaN or infinity in 6 rows"),
        (bad(x=np.array([[0, np.inf]] * 6)), "NaN or infinity"),
        (bad(y=np.zeros(6, int)), "at least 2 classes, got 1"),
        (bad(y=np.arange(6) % 2 - 1), r"without gaps, got \[-1, 0\]"),
        (bad(y=np.arange(6) / 2), "must be integers, got float64"),
        (bad(y=np.arange(5) % 2), r"shape \(6,\)"),
        (bad(x=np.zeros(6)), r"\[N, ...\]"),
        (bad(y=np.arange(6) % 2 * 7), r"without gaps, got \[0, 7\]"),
        (bad(test=np.arange(2)), r"test must be boolean \(6,\), got int64 \(2,\)"),
        (bad(x=np.array([[{}]] * 6)), "Pickled objects are refused"),
        ({"x": np.zeros((6, 2))}, "lacks \\['y'\\]"),
        (bad(class_names=np.array(["a"])), r"must lie in \[0, 0\]"),
    ],
)
def test_a_bad_npz_is_refused_with_the_reason(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        data.load(f"npz:{tmp_path / 'bad.npz'}")


def test_what_is_no_npz_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("x,y\n1,0\n")
    for name in ("text.npz", "missing.npz"):
        with pytest.raises(ValueError, match=r"not an \.npz|no such file"):
            data.load(f"npz:{tmp_path / name}")


@pytest.mark.parametrize("name", ["digit", "npz", "iris:3"])
def test_an_unknown_source_names_the_known_ones(name):
    with pytest.raises(ValueError, match=rf"breast_cancer, .*digits, .* got '{name}'"):
        data.load(name)
