"""What a step does to its images."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.training.augment import augmented


def test_cutout_fills_a_square():
    images = jnp.full((64, 32, 32, 3), 200, jnp.uint8)
    cut = jax.jit(lambda key, images: augmented("crop_flip_cutout", key, images, (7.0, 8.0, 9.0)))
    out = np.asarray(cut(jax.random.key(0), images))
    assert out.dtype == np.uint8
    filled = (out == np.array([7, 8, 9])).all(-1)
    area = filled.sum((1, 2))
    assert area.max() == 64
    assert (area >= 16).all()  # a corner of the square at least
    assert len(np.unique(filled.argmax(2).max(1))) > 10
    left = out[~filled]
    assert set(np.unique(left)) <= {0, 200}  # 0: the border of a crop
