"""Views of an image: which they are, and that they are those that were asked for."""

import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.signals import views

RNG = np.random.default_rng(0)


def test_views_are_the_image_its_mirror_image_and_both_at_nine_shifts():
    x = jnp.asarray(RNG.integers(1, 255, (3, 6, 6, 1)), jnp.uint8)
    assert views.views(x, 1) == [x]
    image, mirrored = views.views(x, 2)
    np.testing.assert_array_equal(image, x)
    np.testing.assert_array_equal(mirrored, x[:, :, ::-1])
    many = views.views(x, 18)
    assert len({np.asarray(view).tobytes() for view in many}) == 18
    np.testing.assert_array_equal(many[0], x)
    np.testing.assert_array_equal(many[2][:, :, 2:], x[:, :, :-2])
    assert (many[2][:, :, :2] == 0).all()
