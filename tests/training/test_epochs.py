"""The epochs of one model: its batches by its own key, and when it rests."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.models import Hyper
from jaxsnn_mia.training.epochs import Group, Shadows, reached, run_epochs
from jaxsnn_mia.training.spec import State, at_epoch
from jaxsnn_mia.training.step import Train
from tests.training.ensembles import EPOCHS, MASK, ROWS, spec

SPEC = spec()
BATCHES = (EPOCHS, SPEC.steps_per_epoch)
OWN = (jnp.asarray(ROWS[0][0]), jnp.asarray(MASK[0]))  # 30 valid rows of 31, in batches of 8
VALID = np.sort(ROWS[0][0][:30])


def write_down(state, batch, data, hyper, key):
    """A step that learns nothing: it keeps the rows, their mask and a number drawn from its key."""
    at, idx, mask, drawn = state.params
    (idx_b, mask_b), number = batch, jax.random.uniform(key)
    seen = (at + 1, idx.at[at].set(idx_b), mask.at[at].set(mask_b), drawn.at[at].set(number))
    return state._replace(params=seen), {"loss": 2 * mask_b.sum(), "correct": mask_b[0], "count": mask_b.sum()}


@jax.jit
def run(shadow_id, seed):
    steps = BATCHES[0] * BATCHES[1]
    blank = (0, jnp.zeros((steps, 8), jnp.int32), jnp.zeros((steps, 8)), jnp.zeros(steps))
    group = Group(State(blank, None, None), jnp.full((EPOCHS, 2), jnp.nan), jnp.int32(0))
    train = Train(None, write_down, None, None, None)
    return run_epochs(train, SPEC, group, Shadows(shadow_id, Hyper(), OWN), None, seed, 0, EPOCHS)


def shown(shadow_id, seed=0):
    """(rows [epochs, steps, B], their mask, the number of each step [epochs, steps]) of one training."""
    _, *arrays = run(jnp.int32(shadow_id), jnp.uint32(seed)).state.params
    return [np.asarray(a).reshape(*BATCHES, *a.shape[1:]) for a in arrays]


def test_every_epoch_shows_each_row_once_in_an_order_of_its_own():
    idx, mask, numbers = shown(3)
    for epoch in range(EPOCHS):
        np.testing.assert_array_equal(np.sort(idx[epoch][mask[epoch] > 0]), VALID)
    assert len({tuple(rows) for rows in idx[:, 0]}) == EPOCHS
    assert len(np.unique(numbers)) == numbers.size


def test_orders_and_draws_come_from_the_seed_and_the_shadow():
    (idx, _, numbers), same = shown(3), shown(3)
    np.testing.assert_array_equal(idx, same[0])
    np.testing.assert_array_equal(numbers, same[2])
    for other_idx, _, other_numbers in (shown(4), shown(3, seed=1)):
        assert (other_idx[:, 0] != idx[:, 0]).any(1).all()
        assert not np.intersect1d(numbers, other_numbers).size


def test_a_history_is_the_mean_over_rows():
    group = run(jnp.int32(3), jnp.uint32(0))
    np.testing.assert_allclose(group.history, np.tile([2.0, 4 / 30], (EPOCHS, 1)), rtol=1e-6)
    assert group.epochs == EPOCHS


def test_padding_begins_with_the_rows_again():
    """So that a last batch of one row is not that row many times, for those who take moments or ranges of a batch."""
    for idx, mask in zip(*shown(3)[:2], strict=True):
        assert mask.ravel().tolist() == [1.0] * 30 + [0.0] * 2
        np.testing.assert_array_equal(idx.ravel()[30:], idx.ravel()[:2])


@pytest.mark.parametrize(
    ("changes", "epoch", "wanted"),
    [
        ({"stop": "train_accuracy"}, 1, True),  # .8 >= .75
        ({"stop": "train_accuracy"}, 2, False),  # .7
        ({"stop": "train_accuracy"}, 0, False),  # nothing was trained yet
        ({"stop": "gap"}, 1, False),  # .8 - .1
        ({"stop": "gap"}, 3, True),  # .9 - .1
        ({"stop": "train_accuracy", "float_epochs": 2}, 1, False),  # no epoch with quantization yet
        ({"stop": "train_accuracy", "float_epochs": 2}, 3, True),
        ({"stop": "train_accuracy", "float_epochs": 4, "post_training": True}, 1, True),
    ],
)
def test_a_goal_is_reached_by_the_epoch_before(changes, epoch, wanted):
    history = np.array([[1.0, 0.8, 0.1], [1.0, 0.7, 0.1], [1.0, 0.9, 0.1], [9.0, 9.0, 9.0]])
    group = Group(None, history, epoch)
    assert bool(reached(dataclasses.replace(SPEC, **changes), 0.75, epoch, group)) is wanted


def test_the_first_epochs_are_in_float():
    hyper = Hyper(qmax_weight=7.0, qmax_activation=15.0, qmax_state=3.0, threshold=0.5)
    warm = dataclasses.replace(SPEC, float_epochs=2)
    for epoch, wanted in ((1, (0.0, 0.0, 0.0)), (2, (7.0, 15.0, 3.0))):
        now = at_epoch(warm, hyper, epoch)
        assert (now.qmax_weight, now.qmax_activation, now.qmax_state) == wanted
        assert now.threshold == 0.5
    assert at_epoch(SPEC, hyper, 0) == hyper
