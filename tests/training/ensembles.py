"""A small ensemble on a small table, for every test that trains several models at once."""

import functools

import jax
import numpy as np

from jaxsnn_mia.models import Hyper, ModelSpec
from jaxsnn_mia.training.ensemble import Shadows, make_ensemble
from jaxsnn_mia.training.spec import TrainSpec

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 12)).astype(np.float32)
Y = (X[:, 0] + 0.3 * RNG.normal(size=60) > 0).astype(np.int32) + (X[:, 1] > 1)
S, R, EPOCHS = 6, 31, 4
MASK = np.ones((S, R), np.float32)
MASK[::2, -1] = 0  # unequal rows, padded
ROWS = (np.stack([RNG.permutation(60)[:R] for _ in range(S)]).astype(np.int32), MASK)


def spec(family="snn", **changes):
    return TrainSpec(
        ModelSpec(family, (12,), 3, hidden=(16,), time_steps=4), epochs=EPOCHS, batch_size=8, rows=R, **changes
    )


def shadows(ids=range(S), **hyper):
    ids = np.asarray(ids, np.int32)
    columns = {name: np.broadcast_to(np.float32(value), S)[ids] for name, value in Hyper()._asdict().items()}
    columns |= {name: np.asarray(value, np.float32)[ids] for name, value in hyper.items()}
    return Shadows(ids, Hyper(**columns), tuple(rows[ids] for rows in ROWS))


@functools.cache
def make_engine(spec, width, devices):
    return make_ensemble(spec, seed=3, width=width, devices=jax.devices()[:devices])


def train(shadows, spec, *, data=(X, Y), devices=2, width=1, chunks=(EPOCHS,)):
    """The group after the epochs of `chunks`, as numpy arrays."""
    engine = make_engine(spec, width, devices)
    group, done = engine.init(shadows, data), 0
    for last in chunks:
        group, done = engine.run(group, shadows, data, done, last), last
    return jax.tree.map(np.asarray, group)


def take(group, ids):
    """The models `ids` of a group."""
    return jax.tree.map(lambda leaf: leaf[np.asarray(ids)], group)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)
