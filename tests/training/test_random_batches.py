"""The random batches of private training: each row by its own chance."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxsnn_mia.models import ModelSpec
from jaxsnn_mia.training.epochs import sampled
from jaxsnn_mia.training.step import TrainSpec

R, RATE, CAPACITY, STEPS = 40, 0.2, 25, 5
OWN = np.random.default_rng(3).permutation(500)[:R].astype(np.int32)
MASK = (np.arange(R) < R - 3).astype(np.float32)
SAMPLED = TrainSpec(
    ModelSpec("ann", (3,), 2, hidden=()), optimizer="sgd", momentum=0.0, epochs=STEPS, batch_size=8, rows=R,
    private=True, rate=RATE, capacity=CAPACITY,
)  # fmt: skip


@functools.cache
def epochs_of(spec, n=4000):
    """Batches [n, steps, B] of n epochs."""
    keys, rows = jax.random.split(jax.random.key(5), n), (jnp.asarray(OWN), jnp.asarray(MASK))
    idx, mask = jax.jit(jax.vmap(lambda key: sampled(key, rows, spec)))(keys)
    return np.asarray(idx), np.asarray(mask)


def chosen(idx, mask):
    """bool [..., R]: which of the model's rows are in each batch."""
    return ((idx[..., None] == OWN) & (mask[..., None] > 0)).any(-2)


def test_each_row_is_in_each_step_with_the_rate_and_alone():
    idx, mask = epochs_of(SAMPLED)
    assert idx.shape == mask.shape == (4000, STEPS, CAPACITY)
    assert np.isin(idx, OWN).all()  # padding is of the own rows too
    there = chosen(idx, mask)
    assert (there.sum(-1) == mask.sum(-1)).all()  # no row twice
    assert (np.diff(mask) <= 0).all()
    assert not there[..., MASK == 0].any()
    valid = there[..., MASK > 0].reshape(-1, R - 3)
    deviation = (RATE * (1 - RATE) / len(valid)) ** 0.5
    assert np.abs(valid.mean(0) - RATE).max() < 4.5 * deviation
    sizes = np.bincount(valid.sum(1), minlength=R)
    expected = stats.binom.pmf(np.arange(R), R - 3, RATE) * len(valid)
    common = expected > 20
    assert sizes.sum() == len(valid)
    assert stats.chisquare(sizes[common], expected[common] / expected[common].sum() * sizes[common].sum()).pvalue > 1e-3
    across = there[..., MASK > 0].astype(float) - RATE  # rows and steps, each with each
    together = np.corrcoef(across.reshape(4000, -1).T) - np.eye(STEPS * (R - 3))
    assert np.abs(together).max() < 5.5 / 4000**0.5


def test_a_fuller_batch_loses_its_last_rows_alone():
    whole, cut = chosen(*epochs_of(SAMPLED)), chosen(*epochs_of(dataclasses.replace(SAMPLED, capacity=6)))
    assert whole.sum(-1).max() < CAPACITY  # nothing is cut there
    assert (whole.sum(-1) > 6).mean() > 0.3
    np.testing.assert_array_equal(cut, whole & (whole.cumsum(-1) <= 6))


@pytest.mark.long
def test_a_rate_of_one_takes_every_row():
    everyone = chosen(*epochs_of(dataclasses.replace(SAMPLED, rate=1.0, capacity=R + 1), n=20))
    np.testing.assert_array_equal(everyone, np.broadcast_to(MASK > 0, everyone.shape))


def test_room_must_be_known():
    with pytest.raises(ValueError, match="`capacity` must be set"):
        epochs_of(dataclasses.replace(SAMPLED, capacity=0), n=2)
