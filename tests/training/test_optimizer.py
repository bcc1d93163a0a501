"""Steps of the optimizer, by hand."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from jaxsnn_mia.training.optimizer import optimizer
from tests.training.one_model import hypers, spec

W = np.array([1.0, -2.0], np.float32)
GRADIENT = np.array([0.5, 0.25], np.float32)


def steps(count, of, params=W, **hyper):
    """The parameters after each of `count` steps along the same gradient."""
    chain = optimizer(of, hypers(**hyper))
    state, seen = chain.init(params), []
    for _ in range(count):
        updates, state = chain.update(jax.tree.map(lambda _: GRADIENT, params), state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return seen


def test_sgd_with_momentum_and_decoupled_weight_decay():
    """v = momentum v + gradient; w -= lr (v + weight_decay w)."""
    first, second = steps(2, dataclasses.replace(spec(), momentum=0.5), lr=0.1, weight_decay=0.2)
    wanted = W - 0.1 * (GRADIENT + 0.2 * W)
    np.testing.assert_allclose(first, wanted, rtol=1e-6)
    np.testing.assert_allclose(second, wanted - 0.1 * (1.5 * GRADIENT + 0.2 * wanted), rtol=1e-6)


def test_the_first_step_of_adam_is_the_learning_rate():
    (first,) = steps(1, dataclasses.replace(spec(), optimizer="adam"), lr=0.1)
    np.testing.assert_allclose(first, W - 0.1 * np.sign(GRADIENT), rtol=1e-4)


def test_a_cosine_schedule_ends_at_zero():
    """Two epochs of three steps: 1, 0.933, 0.75, 0.5, 0.25, 0.067 of the learning rate."""
    cosine = dataclasses.replace(spec(), schedule="cosine", epochs=2)
    assert cosine.steps_per_epoch == 3
    seen = np.array([W, *steps(6, cosine, lr=1.0)])
    rates = (seen[:-1] - seen[1:]) / GRADIENT
    np.testing.assert_allclose(rates[:, 0], (1 + np.cos(np.pi * np.arange(6) / 6)) / 2, atol=1e-5)


def test_learned_step_sizes_do_not_decay():
    params = {"kernel": W, "activation": {"log_step": W}}
    (first,) = steps(1, spec(), params, lr=1.0, weight_decay=0.5)
    np.testing.assert_allclose(first["kernel"], W - GRADIENT - 0.5 * W, rtol=1e-6)
    np.testing.assert_allclose(first["activation"]["log_step"], W - GRADIENT, rtol=1e-6)


def test_another_optimizer_or_schedule_is_refused():
    for change in ({"optimizer": "lion"}, {"schedule": "linear"}):
        with pytest.raises(KeyError):
            optimizer(dataclasses.replace(spec(), **change), hypers())
