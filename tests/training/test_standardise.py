"""Inputs as a model sees them."""

import dataclasses

import jax
import numpy as np

from jaxsnn_mia.training.standardise import own_rows_norm, standardised
from tests.training.one_model import spec


def test_a_norm_is_that_of_the_own_rows():
    x = np.array([[1, 5], [3, 5], [100, 7]], np.float32)
    rows = (np.array([0, 1, 2]), np.array([1, 1, 0], np.float32))

    @jax.jit
    def seen(x):
        norm = own_rows_norm(x, rows)
        return norm, standardised(spec(), norm, x)

    norm, out = seen(x)
    np.testing.assert_allclose(norm.mean, [2.0, 5.0])
    np.testing.assert_allclose(norm.std, [1.0, 1.0])  # of the second feature, which does not vary
    np.testing.assert_allclose(out, [[-1, 0], [1, 0], [98, 2]])
    assert standardised(spec(), None, x) is x


def test_pixels_are_standardised_by_channel():
    images = np.full((2, 1, 1, 2), 10, np.uint8)
    of_channels = dataclasses.replace(spec(), pixels=((4.0, 6.0), (2.0, 8.0)))
    out = jax.jit(lambda images: standardised(of_channels, None, images))(images)
    np.testing.assert_allclose(out, np.broadcast_to([3.0, 0.5], images.shape))
