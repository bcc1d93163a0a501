"""Total variation has one meaning and one unit, whoever asks for it."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.reconstruction import gradients, inversion
from jaxsnn_mia.reconstruction.images import smoothed, total_variation
from tests.reconstruction.loops import mean_filter_by_loops, tv_by_loops

IMAGE = (2, 3, 2)
X = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)


@pytest.mark.parametrize(
    "image", [IMAGE, *[pytest.param(i, marks=pytest.mark.long) for i in ((1, 12, 1), (2, 2, 3), (12, 1, 1))]]
)
def test_total_variation_and_the_mean_filter_are_those_of_slow_loops(image):
    np.testing.assert_allclose(total_variation(X.reshape(-1, *image)), [tv_by_loops(x, image) for x in X], rtol=1e-6)
    expected = [mean_filter_by_loops(x, image) for x in X]
    np.testing.assert_allclose(smoothed(X, image), expected, atol=1e-6)
    np.testing.assert_allclose(smoothed(np.stack([X, 2 * X]), image)[1], 2 * np.array(expected), atol=1e-6)


def test_a_larger_image_of_the_same_texture_varies_as_much():
    board = (np.indices((28, 28)).sum(0)[..., None] % 2).astype(np.float32)
    np.testing.assert_allclose([total_variation(board), total_variation(board[:8, :8])], 2.0, rtol=1e-6)


def test_a_weight_means_the_same_in_an_inversion_and_in_a_gradient_match():
    """What a weight of 1 takes off the objective of the one, and adds to the cost of the other, on the same image."""
    off = inversion.prior(jnp.asarray(X[:1]), inversion.Ascent(steps=1, tv=1.0), IMAGE)[0]
    np.testing.assert_allclose(off, tv_by_loops(X[0], IMAGE), rtol=1e-6)
    assert gradients.total_variation is inversion.total_variation is total_variation
