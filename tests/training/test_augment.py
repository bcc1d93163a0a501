"""What a step does to its images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.models import Hyper, ModelSpec
from jaxsnn_mia.training.augment import augmented
from jaxsnn_mia.training.step import TrainSpec, make_train

RNG = np.random.default_rng(0)


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


def test_augmentation_mirrors_and_moves_each_image_of_its_own():
    x = jnp.asarray(RNG.integers(1, 255, (64, 6, 6, 1)), jnp.uint8)
    assert augmented("none", jax.random.key(0), x) is x
    flipped = augmented("flip", jax.random.key(0), x)
    kept = (flipped == x).all((1, 2, 3))
    np.testing.assert_array_equal(flipped[~kept], x[~kept][:, :, ::-1])
    assert 16 < kept.sum() < 48
    cut = augmented("crop_flip", jax.random.key(0), x)
    assert cut.shape == x.shape
    assert cut.dtype == jnp.uint8
    padded = np.pad(np.asarray(x), ((0, 0), (4, 4), (4, 4), (0, 0)))
    places = set()
    for image, whole in zip(np.asarray(cut), padded, strict=True):
        found = [
            (i, j, mirror)
            for i in range(9) for j in range(9) for mirror in (1, -1)
            if np.array_equal(image, whole[:, ::mirror][i : i + 6, j : j + 6])
        ]  # fmt: skip
        assert found
        places.add(found[0])
    assert len(places) > 30


@pytest.mark.long
def test_a_step_trains_on_augmented_images_of_its_own_key():
    x, y = RNG.integers(0, 256, (16, 8, 8, 3)).astype(np.uint8), np.arange(16) % 2
    data_, batch = (jnp.asarray(x), jnp.asarray(y)), (jnp.arange(16), jnp.ones(16))

    def stepped(augment, key):
        model = ModelSpec("ann", (8, 8, 3), 2, hidden=(4,))
        functions = make_train(TrainSpec(model, rows=16, pixels=((90.0,) * 3, (60.0,) * 3), augment=augment))
        state = functions.init(jax.random.key(0), Hyper(), batch, data_)
        return functions.step(state, batch, data_, Hyper(), jax.random.key(key))[1]["loss"]

    assert stepped("none", 1) == stepped("none", 2)
    assert stepped("crop_flip", 1) == stepped("crop_flip", 1)
    assert len({float(stepped(how, key)) for how in ("flip", "crop_flip") for key in (1, 2)}) == 4
