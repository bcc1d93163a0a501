"""What a model is: its static shape, its traced settings, and its two pure functions."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsnn_mia import settings

STREAMS = 3000  # plus a number, folded into a key: apart from dropout, encoding and stochastic surrogates
NORMS = ("group", "tdbn")
READOUTS = ("membrane_last", "membrane_mean", "spike_count", "leaky_integrator", "population")
COUNTED = ("spike_count", "population")  # readouts whose logits are spikes, not membranes
NEURONS = ("lif", "if", "synaptic", "adaptive")
LEARNED = ("beta", "threshold")
QUANTIZED = {
    "weight": ("weight",),
    "activation": ("activation",),
    "both": ("weight", "activation"),
    "state": ("state",),
    "weight_state": ("weight", "state"),
    "all": ("weight", "activation", "state"),
}


@dataclasses.dataclass(frozen=True)
class QuantSpec:
    """Which tensors are quantized, and how. The bits are in `Hyper`, traced, so that one program holds them all."""

    parts: tuple[str, ...] = ("weight",)  # of "weight", "activation", "state"
    preset: str = (
        settings.Quantization.preset
    )  # of weights: a scale per output channel; "brevitas": one per tensor, differentiated
    edges: str = settings.Quantization.edges  # "keep8": the first and the last layer have at least 8 bits
    calibration: str = (
        settings.Quantization.calibration
    )  # of activations: running max |x|, a running percentile of it, or a learned step
    percentile: float = settings.Quantization.percentile
    decay: float = settings.Quantization.decay  # of the running average, per step
    levels: str = settings.Quantization.levels  # of membranes, see `kernels.levels`
    lower: float = settings.Quantization.lower  # membrane range: from -threshold (1 + lower)
    upper: float = settings.Quantization.upper  # to threshold (1 + upper)
    compute: str = "float32"  # operands of products; parameters and membranes are float32 anyway


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """The static part of a model: everything that changes the compiled program. `in_shape` is that of one example,
    [T, ...] of events."""

    family: str
    in_shape: tuple[int, ...]
    n_classes: int
    hidden: tuple[int, ...] = settings.Model.hidden
    time_steps: int = settings.Model.time_steps
    neuron: str = settings.Model.neuron
    learned: tuple[str, ...] = settings.Model.learned
    readout: str = settings.Model.readout
    population: int = settings.Model.population
    surrogate: str = settings.Model.surrogate
    reset: str = settings.Model.reset
    architecture: str = settings.Model.architecture
    quant: QuantSpec = QuantSpec()
    dropout: bool = False  # hyper.dropout acts in training
    encoding: str = (
        settings.Model.encoding
    )  # the same input at every step; "rate", "latency": spikes, see `coding.stream`
    timed: bool = False  # examples are events over time, [T, ...]
    norm: str = settings.Model.norm  # of deep convolutional networks; "tdbn": over the batch, see `conv.Norm`

    @property
    def frame(self) -> tuple[int, ...]:
        """The shape of an example at one step."""
        return self.in_shape[1:] if self.timed else self.in_shape

    @property
    def n_features(self) -> int:
        return math.prod(self.frame)

    @property
    def over_time(self) -> bool:
        """Whether the input differs from step to step."""
        return self.timed or self.encoding != "direct"


class Hyper(NamedTuple):
    """Settings of one model that may differ inside an ensemble: float32 scalars, traced."""

    lr: Any = settings.Train.lr
    weight_decay: Any = settings.Train.weight_decay
    smoothing: Any = settings.Train.smoothing  # of labels, in [0, 1)
    beta: Any = settings.Model.beta  # membrane decay per step
    threshold: Any = settings.Model.threshold
    alpha: Any = settings.Model.alpha  # decay of the synaptic current per step
    rho: Any = settings.Model.rho  # decay of the threshold's adaptation per step
    strength: Any = settings.Model.strength  # of the adaptation
    slope: Any = 2.0  # first parameter of the surrogate
    mixup: Any = settings.Train.mixup  # of Beta(mixup, mixup), by which two examples are mixed; 0: not at all
    dropout: Any = settings.Train.dropout  # share of hidden units that a step leaves out
    dp_clip: Any = 1.0  # largest norm of an example's gradient, where training is private
    dp_noise: Any = settings.Train.dp_noise  # deviation of the noise on the sum of gradients, in units of dp_clip
    stop_at: Any = 0.0  # accuracy or gap at which training ends, see `TrainSpec.stop`
    # the largest codes that the bits of the settings allow: other quantities, since they may be traced; 0: float
    qmax_weight: Any = 0.0
    qmax_activation: Any = 0.0
    qmax_state: Any = 0.0  # levels of the membrane less one


class Output(NamedTuple):
    """logits_bc [B, C]; logits_tbc [T, B, C], or None where there is no time, or in training where the last membrane
    alone is computed (`kernels.readout`); aux: a dict of extras."""

    logits_bc: jax.Array
    logits_tbc: jax.Array | None
    aux: dict[str, jax.Array]


class Statistic(nnx.Variable):
    """A number that training data set, not the gradient: the range of an activation."""


class Model(NamedTuple):
    """Pure functions: init(key) -> variables, {"params": nested dict, "statistics": nested dict};
    apply(variables, x, hyper, key, *, train) -> Output, with the new statistics in `aux["statistics"]` in training."""

    init: Callable[[jax.Array], dict]
    apply: Callable[..., Output]


def pure(module: Callable[..., nnx.Module], spec: ModelSpec) -> Model:
    """The pure functions of a flax.nnx module class with `__init__(spec, rngs=)` and
    `__call__(x, hyper, key, train) -> Output`.

    `rngs` has every stream. Those that layers keep (`nnx.Dropout(rngs=rngs)`) start anew from `key` at each call, and
    the layers are told whether it is training. Logits are given in float32.
    """
    abstract = nnx.eval_shape(lambda: module(spec, rngs=nnx.Rngs(jax.random.key(0))))
    graph, *empty = nnx.split(abstract, nnx.Param, nnx.RngState, ...)

    def variables(instance):
        _, params, _, statistics = nnx.split(instance, nnx.Param, nnx.RngState, ...)
        return {"params": nnx.to_pure_dict(params), "statistics": nnx.to_pure_dict(statistics)}

    def init(key):
        return variables(module(spec, rngs=nnx.Rngs(key)))

    def apply(given, x, hyper, key, *, train):
        params, streams, statistics = (jax.tree.map(lambda leaf: leaf, state) for state in empty)
        nnx.replace_by_pure_dict(params, given["params"])
        nnx.replace_by_pure_dict(statistics, given["statistics"])
        instance = nnx.merge(graph, params, restarted(streams, key), statistics)
        if jax.tree.leaves(streams) or own_modes(spec):
            instance.train() if train else instance.eval()
        output = instance(x, hyper, key, train)
        if not isinstance(output, Output):
            raise ValueError(
                f"{module.__name__} must return Output(logits [B, C], logits over time or None, {{}}), got "
                f"{type(output).__name__}."
            )
        output = output._replace(logits_bc=output.logits_bc.astype(jnp.float32))
        if train:
            output.aux["statistics"] = variables(instance)["statistics"]
        return output

    return Model(init, apply)


def own_modes(spec: ModelSpec) -> bool:
    """Whether a module is of the caller's own: its layers may behave differently in training."""
    return ":" in spec.architecture


def restarted(streams: nnx.State, key: jax.Array) -> nnx.State:
    """The streams of random numbers that layers keep, each with a key of its own and nothing drawn."""
    leaves, tree = jax.tree.flatten(streams)
    fresh = []
    for i, leaf in enumerate(leaves):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        fresh.append(jax.random.fold_in(key, STREAMS + i) if is_key else jnp.zeros(leaf.shape, leaf.dtype))
    return jax.tree.unflatten(tree, fresh)
