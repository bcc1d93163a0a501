"""One small model and one step of its training, for every test that looks at a single step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.models import Hyper, ModelSpec
from jaxsnn_mia.training.spec import TrainSpec
from jaxsnn_mia.training.step import make_train

N, D, C, B = 24, 6, 3, 8
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
Y = np.arange(N) % C
DATA = (X, Y)
BATCH = (np.arange(B), np.ones(B, np.float32))
SNN = ModelSpec("snn", (D,), C, hidden=(16,), time_steps=4)


def spec(model=SNN, **changes):
    return TrainSpec(model, optimizer="sgd", momentum=0.0, batch_size=B, rows=N, **changes)


def hypers(**changes):
    return Hyper(**{name: jnp.float32(value) for name, value in {**Hyper()._asdict(), "lr": 1.0, **changes}.items()})


@functools.cache
def made(spec):
    """(the functions of one model, its compiled step)."""
    one = make_train(spec)
    return one, jax.jit(one.step)


def stepped(spec, hyper, batch=BATCH, data=DATA, key=1):
    """Parameters before and after one step."""
    one, step = made(spec)
    state = one.init(jax.random.key(0), hyper, (np.arange(N), np.ones(N, np.float32)), data)
    after, _ = step(state, batch, data, hyper, jax.random.key(key))
    return state.params["params"], after.params["params"]


def update(*args, **options):
    """What one step of SGD at rate 1 takes off the parameters: the gradient."""
    return jax.tree.map(lambda before, after: before - after, *stepped(*args, **options))


def norm(tree):
    """The Euclidean norm of all leaves together."""
    return float(np.sqrt(sum((np.asarray(leaf, np.float64) ** 2).sum() for leaf in jax.tree.leaves(tree))))
