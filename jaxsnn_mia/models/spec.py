"""What a model is: its static shape, its traced settings, and its two pure functions."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import nnx

READOUTS = ("membrane_last", "membrane_mean", "spike_count", "leaky_integrator")


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """The static part of a model: everything that changes the compiled program."""

    family: str
    in_shape: tuple[int, ...]
    n_classes: int
    hidden: tuple[int, ...] = (128,)
    time_steps: int = 10
    readout: str = "membrane_last"
    surrogate: str = "arctan"
    reset: str = "subtract"

    @property
    def n_features(self) -> int:
        return math.prod(self.in_shape)


class Hyper(NamedTuple):
    """Settings of one model that may differ inside an ensemble: float32 scalars, traced."""

    lr: Any = 1e-3
    weight_decay: Any = 0.0
    smoothing: Any = 0.0  # label smoothing in [0, 1)
    beta: Any = 0.95  # membrane decay per step
    threshold: Any = 1.0
    slope: Any = 2.0  # first parameter of the surrogate
    qmax_weight: Any = 0.0  # largest weight code; 0: float


class Output(NamedTuple):
    """logits_bc [B, C]; logits_tbc [T, B, C] or None where there is no time; aux: a dict of extras."""

    logits_bc: jax.Array
    logits_tbc: jax.Array | None
    aux: dict[str, jax.Array]


class Model(NamedTuple):
    """Pure functions: init(key) -> params, a nested dict; apply(params, x, hyper, key, *, train) -> Output."""

    init: Callable[[jax.Array], dict]
    apply: Callable[..., Output]


def pure(module: Callable[..., nnx.Module], spec: ModelSpec) -> Model:
    """The pure functions of a flax.nnx module class with `__init__(spec, rngs=)` and
    `__call__(x, hyper, key, train) -> Output`."""
    graph, abstract = nnx.split(nnx.eval_shape(lambda: module(spec, rngs=nnx.Rngs(params=jax.random.key(0)))))

    def init(key):
        return nnx.to_pure_dict(nnx.state(module(spec, rngs=nnx.Rngs(params=key))))

    def apply(params, x, hyper, key, *, train):
        state = jax.tree.map(lambda leaf: leaf, abstract)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graph, state)(x, hyper, key, train)

    return Model(init, apply)
