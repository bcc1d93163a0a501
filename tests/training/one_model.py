"""One small model and one step of its training, for every test that looks at a single step."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia import models
from jaxsnn_mia.models import Hyper, Model, ModelSpec, Output
from jaxsnn_mia.training import step as train
from jaxsnn_mia.training.optimizer import optimizer
from jaxsnn_mia.training.spec import State, TrainSpec

N, D, C, B = 24, 6, 3, 8
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
Y = np.arange(N) % C
DATA = (X, Y)
BATCH = (np.arange(B), np.ones(B, np.float32))
SNN = ModelSpec("snn", (D,), C, hidden=(16,), time_steps=4)
ANN = dataclasses.replace(SNN, family="ann")


def answer(given, x, hyper, key, *, train):
    """Softmax regression on inputs with dropout; its statistic is the largest input."""
    kept = jax.random.bernoulli(key, 1 - hyper.dropout, x.shape) if train else 1
    return Output((x * kept) @ given["params"], None, {"statistics": {"seen": x.max()}})


LINEAR = Model(lambda key: {"params": jnp.zeros((D, 20)), "statistics": {"seen": jnp.zeros(())}}, answer)


def spec(model=SNN, **changes):
    return TrainSpec(model, optimizer="sgd", momentum=0.0, batch_size=B, rows=N, **changes)


def hypers(**changes):
    return Hyper(**{name: jnp.float32(value) for name, value in {**Hyper()._asdict(), "lr": 1.0, **changes}.items()})


@functools.cache
def compiled_step(spec, model):
    return jax.jit(functools.partial(train.step, model or models.build(spec.model), spec))


def started(spec, model=None):
    """The state of one model before its first step: of the spec's network, or of `model`. Its parameters are drawn by
    numpy, which compiles nothing."""
    shapes = jax.eval_shape((model or models.build(spec.model)).init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(a.dtype) / len(a) ** 0.5, shapes["params"])
    statistics = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes["statistics"])
    return State({"params": params, "statistics": statistics}, optimizer(spec, hypers()).init(params), None)


def stepped(spec, hyper, batch=BATCH, data=DATA, key=1, model=None):
    """Parameters before and after one step."""
    state = started(spec, model)
    after, _ = compiled_step(spec, model)(state, batch, data, hyper, jax.random.key(key))
    return state.params["params"], after.params["params"]


def update(*args, **options):
    """What one step of SGD at rate 1 takes off the parameters: the gradient."""
    return jax.tree.map(lambda before, after: before - after, *stepped(*args, **options))


def norm(tree):
    """The Euclidean norm of all leaves together."""
    return float(np.sqrt(sum((np.asarray(leaf, np.float64) ** 2).sum() for leaf in jax.tree.leaves(tree))))


def difference(a, b):
    """The norm of the difference of two trees."""
    return norm(jax.tree.map(jnp.subtract, a, b))
