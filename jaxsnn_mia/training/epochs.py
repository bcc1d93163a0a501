"""The epochs of ONE model: what its batches are, what it learns, when it rests.

Its randomness comes from the seed and its global id alone, whatever trains beside it.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxsnn_mia.training.spec import State, TrainSpec, at_epoch
from jaxsnn_mia.training.step import Train

INIT, SHUFFLE, STEP, QUERY = range(4)  # purposes, folded into a shadow's key


class Shadows(NamedTuple):
    """What tells the models of a group apart, each with a leading axis G: global ids int32, hyper-parameters
    (a Hyper of float32), training rows (idx_gr int32, mask_gr float32)."""

    ids: Any
    hyper: Any
    rows: Any


class Group(NamedTuple):
    """A group in training, leading axis G: model states, history [G, epochs, 2] (loss and accuracy over an epoch's
    batches; a third, validation accuracy after it, where that decides on stopping), and epochs trained int32 [G]."""

    state: State
    history: Any
    epochs: Any


class Keys(NamedTuple):
    """Keys of one model, for the order of its rows and for its steps."""

    shuffle: jax.Array
    step: jax.Array


def model_key(seed: jax.Array, shadow_id: jax.Array, purpose: int) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), shadow_id), purpose)


def shuffled(key: jax.Array, rows: tuple, spec: TrainSpec) -> tuple[jax.Array, jax.Array]:
    """One epoch's batches (idx [steps, B], mask [steps, B]): valid rows in random order, then padding, which begins
    with them again: moments and ranges of a last batch are those of a whole one, not of one row many times."""
    idx_r, mask_r = rows
    order_r = jnp.argsort(jnp.where(mask_r > 0, jax.random.uniform(key, mask_r.shape), 2.0))
    at = jnp.arange(spec.steps_per_epoch * spec.batch_size)
    valid = (mask_r > 0).sum()
    batches = (spec.steps_per_epoch, spec.batch_size)
    return idx_r[order_r[at % valid]].reshape(batches), (at < valid).astype(mask_r.dtype).reshape(batches)


def sampled(key: jax.Array, rows: tuple, spec: TrainSpec) -> tuple[jax.Array, jax.Array]:
    """One epoch's batches (idx [steps, B], mask [steps, B]) of a private training: in every step each valid row with
    probability `spec.rate` of its own, padding last. Of more than B = `spec.capacity` rows the last are left out, which
    `accounting` counts in."""
    if not spec.capacity:
        raise ValueError("`capacity` must be set for private training, got 0. Take it from `accounting.plan`.")
    idx_r, mask_r = rows

    def batch(i):
        drawn_r = jax.random.uniform(jax.random.fold_in(key, i), mask_r.shape) < spec.rate
        (at_b,) = jnp.nonzero(drawn_r & (mask_r > 0), size=spec.capacity, fill_value=len(mask_r))
        return idx_r[jnp.minimum(at_b, len(mask_r) - 1)], (at_b < len(mask_r)).astype(mask_r.dtype)

    return lax.map(batch, jnp.arange(spec.steps_per_epoch))


def run_epochs(
    train: Train, spec: TrainSpec, group: Group, shadow: Shadows, data: tuple, seed: jax.Array, first: Any, last: Any
) -> Group:
    """Epochs first .. last - 1 of one model (traced bounds: a chunk of any length is the same program), then the
    calibration of post-training quantization where all are done. data is (x, y), or (x, y, x_validation,
    y_validation)."""
    keys = Keys(*(model_key(seed, shadow.ids, purpose) for purpose in (SHUFFLE, STEP)))
    train_on = partial(one_epoch, train, spec, shadow, data, keys)

    def train_or_rest(epoch, group):
        if spec.stop == "never":
            return train_on(epoch, group)
        stops = (group.epochs < epoch) | reached(spec, shadow.hyper.stop_at, epoch, group)
        return lax.cond(stops, rest, train_on, epoch, group)

    group = lax.fori_loop(first, last, train_or_rest, group)
    if not spec.post_training:
        return group

    def calibrated(group):
        batches = shuffled(keys.shuffle, shadow.rows, spec)
        return group._replace(state=train.calibrate(group.state, batches, data, shadow.hyper, keys.step))

    return lax.cond(last == spec.epochs, calibrated, lambda group: group, group)


def one_epoch(
    train: Train, spec: TrainSpec, shadow: Shadows, data: tuple, keys: Keys, epoch: jax.Array, group: Group
) -> Group:
    """The model after one more epoch, with the means of its loss and accuracy over the rows that it saw."""
    draw = sampled if spec.private else shuffled
    batches = draw(jax.random.fold_in(keys.shuffle, epoch), shadow.rows, spec)
    hyper = at_epoch(spec, shadow.hyper, epoch)

    def step(state, numbered):
        i, batch = numbered
        key = jax.random.fold_in(keys.step, epoch * spec.steps_per_epoch + i)
        return train.step(state, batch, data, hyper, key)

    state, sums = lax.scan(step, group.state, (jnp.arange(spec.steps_per_epoch), batches))
    count = jnp.maximum(sums["count"].sum(), 1)  # a private epoch may draw no row
    row = [sums["loss"].sum() / count, sums["correct"].sum() / count]
    if spec.stop == "gap":
        row.append(train.accuracy(state, *data[2:], hyper, keys.step))
    return Group(state, group.history.at[epoch].set(jnp.stack(row)), epoch + 1)


def rest(epoch: jax.Array, group: Group) -> Group:
    """A model that has stopped keeps its state and repeats its last row of the history."""
    return group._replace(history=group.history.at[epoch].set(group.history[epoch - 1]))


def reached(spec: TrainSpec, stop_at: jax.Array, epoch: jax.Array, group: Group) -> jax.Array:
    """Whether the epoch before this one reached the accuracy or gap at which training stops; never before an epoch
    with quantization."""
    row = group.history[jnp.maximum(epoch - 1, 0)]
    value = row[1] if spec.stop == "train_accuracy" else row[1] - row[2]
    settled = epoch > (0 if spec.post_training else spec.float_epochs)
    return settled & (value >= stop_at)
