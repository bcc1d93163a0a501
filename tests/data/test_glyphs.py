"""Moving glyphs before a simulated event camera."""

import numpy as np
import pytest

from jaxsnn_mia import data
from jaxsnn_mia.data import glyphs


def test_the_camera_fires_on_steps_of_log_intensity():
    """A ramp of .1 a step fires every third step at a threshold of .25, upwards and downwards; a still pixel never."""
    ramp = 0.1 * np.arange(31)[:, None] * np.array([1.0, -1.0, 0.0])
    rng = np.random.default_rng(0)
    place, t, p = glyphs.camera(ramp, np.full(3, 0.25), np.full(3, 0.35), 0.0, rng)
    for pixel, period in ((0, 3), (1, 4)):
        steps = t[place == pixel] // glyphs.STEP_US
        np.testing.assert_array_equal(steps, np.arange(period, 31, period))
        assert set(p[place == pixel]) == {1 - pixel}
    assert set(place) == {0, 1}
    rest = 5 * glyphs.STEP_US
    place, t, _ = glyphs.camera(ramp, np.full(3, 0.25), np.full(3, 0.25), rest, rng)
    for pixel in (0, 1):
        gaps = np.diff(t[place == pixel])
        assert len(gaps) >= 3
        assert rest < gaps.min() <= gaps.max() < rest + 2 * glyphs.STEP_US
    assert glyphs.camera(ramp[:1], np.ones(3), np.ones(3), 0.0, rng).shape == (3, 0)


def test_glyphs_are_recorded_as_described():
    quiet, y = glyphs.recorded(40, noise_hz=0.0, refractory_us=4000.0)
    assert y.tolist() == list(range(8)) * 5
    for recording in quiet:
        assert len(recording) > 50
        assert (np.diff(recording["t"]) >= 0).all()
        pixel = recording["y"] * 16 + recording["x"]
        gaps = [np.diff(recording["t"][pixel == one]) for one in np.unique(pixel)]
        assert np.concatenate(gaps).min() >= 4000
    # the glyph comes from its side: early events lie to the left of late ones where it goes to the right
    for recording, label in zip(quiet, y, strict=True):
        early, late = np.array_split(recording["x"], 2)
        assert (early.mean() < late.mean()) == (label % 2 == 0)
    # an event of background noise a pixel and second: 96 ms of 40 x 256 pixels, nothing else under a high threshold
    noise = sum(map(len, glyphs.recorded(40, threshold=100.0, noise_hz=10.0)[0]))
    expected = 10.0 * 0.096 * 40 * 256
    assert abs(noise - expected) < 4 * np.sqrt(expected)
    fewer = sum(map(len, glyphs.recorded(40, noise_hz=0.0, threshold=0.5)[0]))
    assert fewer < sum(map(len, quiet))


@pytest.mark.long
def test_moving_glyphs_are_deterministic_and_hard_to_the_eye_that_sums():
    from sklearn.linear_model import LogisticRegression

    loaded = data.load("moving_glyphs:4")
    assert loaded.x.shape == (2000, 4, 16, 16, 2)
    assert loaded.x.dtype == np.uint8
    assert loaded.timed
    assert loaded.test_n is None
    assert np.bincount(loaded.y).tolist() == [250] * 8
    assert len(np.unique(data.units(loaded.x))) == 2000
    few, y = glyphs.moving_glyphs(16, 4)
    np.testing.assert_array_equal(few, glyphs.moving_glyphs(16, 4)[0])
    np.testing.assert_array_equal(few.sum(1, dtype=int), glyphs.moving_glyphs(16, 1)[0].sum(1))
    assert (few != glyphs.moving_glyphs(16, 4, seed=1)[0]).any()
    assert data.fingerprint("moving_glyphs:4") == f"moving_glyphs {glyphs.VERSION} numpy {np.__version__}"

    def accuracy(x, label):
        x = x.reshape(len(x), -1).astype(np.float32)
        model = LogisticRegression(C=0.01, max_iter=500, tol=1e-2).fit(x[::2], label[::2])
        return model.score(x[1::2], label[1::2])

    rows = np.random.default_rng(0).permutation(2000)
    x, y = loaded.x[rows], loaded.y[rows]
    summed, framed = accuracy(x.sum(1, dtype=int), y), accuracy(x, y)
    assert 0.5 < summed < 0.75
    assert summed + 0.15 < framed < 0.97
    assert accuracy(x.sum(1, dtype=int), y % 2) < 0.85
    assert accuracy(x, y % 2) > 0.95
