"""What the axes of a user's array mean: one reading is taken, several are asked about."""

import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from jaxsnn_mia import data
from jaxsnn_mia.data.layout import laid_out

RNG = np.random.default_rng(0)
Y = np.arange(12) % 2
PICTURES = RNG.integers(0, 256, (12, 6, 5, 3)).astype(np.uint8)


def loaded(x, layout="auto", **arrays):
    return data.from_arrays(x, Y, layout=layout, **arrays)


@pytest.mark.parametrize(
    ("x", "shape", "timed"),
    [
        (RNG.normal(size=(12, 7)), (7,), False),
        (RNG.integers(0, 256, (12, 8, 8)).astype(np.uint8), (8, 8, 1), False),
        (PICTURES, (6, 5, 3), False),
        (PICTURES / 255, (6, 5, 3), False),
        (RNG.integers(0, 3, (12, 4, 6, 5, 2)).astype(np.uint8), (4, 6, 5, 2), True),
    ],
)
def test_what_has_one_reading_is_taken(x, shape, timed):
    found = loaded(x)
    assert (found.shape, found.timed) == (shape, timed)
    np.testing.assert_array_equal(found.x.reshape(x.shape), x)


@pytest.mark.parametrize(
    ("x", "asked"),
    [
        (RNG.normal(size=(12, 4, 6)), "series, image_hwc, table"),
        (RNG.integers(0, 2, (12, 4, 6)).astype(np.uint8), "series, image_hwc, table"),
        (np.moveaxis(PICTURES, -1, 1), "image_chw, events, series"),
        (RNG.normal(size=(12, 3, 6, 3)), "image_hwc, image_chw, series"),
        (RNG.normal(size=(12, 4, 6, 5, 2)), "series, events, table"),
    ],
)
def test_what_has_several_is_asked_about(x, asked):
    with pytest.raises(ValueError, match=f"can be read in several ways.*--config.data.layout: {asked}"):
        loaded(x)


def test_each_layout_is_read_as_it_is_named():
    chw = np.moveaxis(PICTURES, -1, 1)
    np.testing.assert_array_equal(loaded(chw, "image_chw").x, PICTURES)
    np.testing.assert_array_equal(loaded(PICTURES[..., 0], "image_hwc").x, PICTURES[..., :1])
    series = RNG.normal(size=(12, 4, 6))
    found = loaded(series, "series")
    assert found.timed
    np.testing.assert_array_equal(found.x, series)
    assert loaded(series[:, :, 0], "series").shape == (4, 1)
    assert loaded(series, "table").shape == (24,)
    counts = RNG.integers(0, 9, (12, 4, 6))
    found = loaded(counts, "events")
    assert found.x.dtype == np.uint8
    np.testing.assert_array_equal(found.x, counts)
    bytes_over_time = loaded(counts.astype(np.uint8), "series")
    assert bytes_over_time.x.dtype == np.float32  # values, not counts


@pytest.mark.parametrize(
    ("x", "layout", "says"),
    [
        (RNG.normal(size=(12, 4, 6)), "events", "whole numbers from 0 to 255"),
        (np.full((12, 4, 6), 256), "events", "from 0 to 255"),
        (RNG.normal(size=(12, 4)), "image_hwc", r"shape \(12, 4\) is no image_hwc; expected 3 or 4 axes"),
        (RNG.normal(size=(12, 4, 6)), "image_chw", "expected 4 axes"),
        (RNG.normal(size=(12, 4)), "rows", "layout must be one of auto, table"),
        (np.full((12, 2), "a"), "auto", "must be a numeric array"),
        (np.full((12, 2), 1j), "auto", "must be a numeric array"),
        ([np.zeros(3)] * 11 + [np.zeros(2)], "auto", "all examples must have one shape"),
    ],
)
def test_what_does_not_fit_is_refused(x, layout, says):
    with pytest.raises(ValueError, match=says):
        loaded(x, layout)


@pytest.mark.parametrize("dtype", [">f4", "<f8", ">i2", np.float16, ml_dtypes.bfloat16, bool, np.uint32])
def test_every_type_of_number_keeps_its_values(dtype):
    x = RNG.integers(0, 2, (12, 3)).astype(dtype)
    np.testing.assert_array_equal(loaded(x).x, x.astype(np.float64))


def test_pictures_one_by_one_and_a_file_that_knows_its_layout(tmp_path):
    found = loaded([Image.fromarray(picture) for picture in PICTURES], class_names=("cat", "dog"))
    np.testing.assert_array_equal(found.x, PICTURES)
    for dataset in (found, loaded(RNG.normal(size=(12, 4, 6)), "series", test=Y == 1)):
        data.save(tmp_path / "own.npz", dataset)
        again = data.load(f"npz:{tmp_path / 'own.npz'}")
        assert (again.timed, again.class_names, again.shape) == (dataset.timed, dataset.class_names, dataset.shape)
        np.testing.assert_array_equal(again.x, dataset.x)
    with pytest.raises(ValueError, match=r"says that its layout is 'series', data\.layout says 'table'"):
        data.load(f"npz:{tmp_path / 'own.npz'}", layout="table")
    with pytest.raises(ValueError, match=r"`data\.layout` must be 'auto' for iris"):
        data.load("iris", layout="table")


@pytest.mark.parametrize("time", [np.int32, np.uint32, np.int64, np.float32])
def test_recordings_in_memory_of_any_type_of_time(time):
    """Times in microseconds times T pass 2^31: 3e8 x 50."""
    events = np.zeros(4, [("x", np.int16), ("t", time), ("p", np.int8)])
    events["t"], events["x"] = [0, 1e8, 2e8, 3e8], [0, 1, 2, 3]
    found = data.from_recordings([(events, label) for label in Y], (4,), 50)
    assert found.timed
    expected = np.zeros((50, 4), np.uint8)
    expected[[0, 16, 33, 49], range(4)] = 1
    np.testing.assert_array_equal(found.x[0], expected)
    with pytest.raises(ValueError, match="recording 0: events need the fields t, y, x, p"):
        data.from_recordings([(events, 0)], (4, 4, 2), 5)


def test_laid_out_says_whether_the_second_axis_is_time():
    assert laid_out(np.zeros((3, 4, 5)), "series", "x")[1]
    assert not laid_out(np.zeros((3, 4, 5)), "table", "x")[1]
