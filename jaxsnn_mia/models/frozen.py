"""A trained dense network on integers: int8 codes (two to a byte at 4 bits or fewer), int32 sums, frozen ranges.

The first layer takes the analogue input, so its product stays in float, on the quantized weights. Every other product
is one of integers where both sides have 8 bits or fewer: spikes are 0 or 1, ReLU outputs uint8 codes. Wider weights
stay in float32.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.kernels import integer, quantize
from jaxsnn_mia.kernels.numerics import align
from jaxsnn_mia.models.heads import read_out
from jaxsnn_mia.models.neurons import KINDS, arguments
from jaxsnn_mia.models.quantized import weights, width
from jaxsnn_mia.models.spec import Hyper, ModelSpec, Output


@partial(jax.tree_util.register_dataclass, data_fields=["values", "scale", "bias"], meta_fields=["shape"])
@dataclasses.dataclass(frozen=True)
class Layer:
    """One dense layer. `values` are float32 [I, O] with scale None, int8 codes [I, O], or uint8 [I O / 2], packed."""

    values: jax.Array
    scale: jax.Array | None  # [1, O], or [1, 1] per tensor
    bias: jax.Array
    shape: tuple[int, int]

    @property
    def codes(self) -> jax.Array:
        if self.values.dtype != jnp.uint8:
            return self.values
        return integer.unpack(self.values)[: self.shape[0] * self.shape[1]].reshape(self.shape)

    @property
    def kernel(self) -> jax.Array:
        return self.codes if self.scale is None else self.codes.astype(jnp.float32) * self.scale


@partial(jax.tree_util.register_dataclass, data_fields=["layers", "ranges"], meta_fields=["hyper", "spec"])
@dataclasses.dataclass(frozen=True)
class Frozen:
    """A frozen network: its layers, the calibrated range after each, its settings."""

    layers: list[Layer]
    ranges: list[jax.Array | None]
    hyper: Hyper
    spec: ModelSpec

    @property
    def nbytes(self) -> int:
        """Bytes of weights, scales, biases and ranges."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves((self.layers, self.ranges)))


def freeze(spec: ModelSpec, params: dict, hyper: Hyper) -> Frozen:
    """One trained dense network (its variables {"params", "statistics"}) on integers.

    Raises ValueError for another architecture, for input over time, for learned constants or a learned step size,
    which have no frozen form here, and for quantized activations of a model that was never calibrated.
    """
    if spec.architecture != "dense":
        raise ValueError(f"only dense networks are frozen on integers, got architecture {spec.architecture!r}.")
    if spec.over_time:
        raise ValueError(
            f"only networks on direct input are frozen on integers, got encoding {spec.encoding!r}, timed={spec.timed}."
        )
    if spec.learned:
        raise ValueError(f"`model.learned` has no integer form here, got {spec.learned}. Train with model.learned=().")
    quant, given = spec.quant, [layer for _, layer in sorted(params["params"]["layers"].items())]
    last = len(given) - 1
    hyper = Hyper(*[float(np.asarray(value)) for value in hyper])
    if quant.calibration == "lsq" and "activation" in quant.parts:
        raise ValueError("`quantization.calibration='lsq'` has no integer form here. Use absmax or percentile.")
    layers = [
        freeze_layer(jnp.asarray(w["kernel"]), w["bias"], hyper, spec, i in (0, last)) for i, w in enumerate(given)
    ]
    kept = params["statistics"].get("activations" if spec.family == "ann" else "currents", {})
    ranges = [jnp.asarray(kept[i]["range"]) if i in kept and "range" in kept[i] else None for i in range(last + 1)]
    if hyper.qmax_activation > 0 and any(r is not None and not r > 0 for r in ranges):
        raise ValueError(
            "the activations were never calibrated: a range is 0, got "
            f"{[float(r) for r in ranges if r is not None]}. Train the model, or calibrate it on its training rows."
        )
    return Frozen(layers, ranges, hyper, spec)


def freeze_layer(kernel: jax.Array, bias: Any, hyper: Hyper, spec: ModelSpec, edge: bool) -> Layer:
    qmax = float(width(jnp.float32(hyper.qmax_weight), spec.quant, edge))
    if "weight" not in spec.quant.parts or qmax == 0 or qmax > 127:
        return Layer(weights(kernel, hyper, spec.quant, edge), None, jnp.asarray(bias), kernel.shape)
    scale = quantize.weight_scale(kernel, qmax, None if spec.quant.preset == "brevitas" else -1)
    values = integer.codes(kernel, scale, -int(qmax), int(qmax))
    if qmax <= 7:
        flat = values.reshape(-1)
        values = integer.pack(jnp.pad(flat, (0, flat.size % 2)))
    return Layer(values, scale, jnp.asarray(bias), kernel.shape)


def apply(frozen: Frozen, x_bd: jax.Array) -> Output:
    """The Output of the network for inputs [B, D], as `models.Model.apply` gives it at query time."""
    return (ann if frozen.spec.family == "ann" else snn)(frozen, x_bd.reshape(x_bd.shape[0], -1))


def times(layer: Layer, x: jax.Array, scale_x: Any = 1.0) -> jax.Array:
    """scale_x x W + b: integer codes x with an int32 sum where the weights are codes too, float otherwise."""
    if layer.scale is None or jnp.issubdtype(x.dtype, jnp.floating):
        product = x.astype(jnp.float32) * scale_x @ layer.kernel
    else:
        product = integer.dot(x, layer.codes).astype(jnp.float32)
        product = product * align(scale_x * layer.scale.reshape(-1), product)
    return product + align(layer.bias, product)


def ann(frozen: Frozen, x: jax.Array) -> Output:
    hyper, step = frozen.hyper, 1.0
    for layer, top in zip(frozen.layers[:-1], frozen.ranges, strict=False):
        x = jax.nn.relu(times(layer, x, step))
        if top is None or hyper.qmax_activation == 0:
            step = 1.0
        elif hyper.qmax_activation <= 255:
            step = top / hyper.qmax_activation
            x = integer.codes(x, step, 0, int(hyper.qmax_activation))
        else:
            x, step = quantize.activation(x, top, qmax=hyper.qmax_activation, signed=False), 1.0
    return Output(times(frozen.layers[-1], x, step), None, {})


def snn(frozen: Frozen, x_bd: jax.Array) -> Output:
    hyper, spec = frozen.hyper, frozen.spec
    key = jax.random.key(0)  # nothing draws at query time
    last = len(frozen.layers) - 1

    def current(i, x):
        out, top = times(frozen.layers[i], x), frozen.ranges[i]
        if top is None:
            return out
        return quantize.activation(out, top, qmax=hyper.qmax_activation, signed=True)

    current_bd = current(0, x_bd)
    current_tbd = jnp.broadcast_to(current_bd, (spec.time_steps, *current_bd.shape))
    for i in range(1, last + 1):
        spikes_tbd, _ = KINDS[spec.neuron](current_tbd, **arguments(spec, hyper, key, i - 1))
        current_tbd = current(i, spikes_tbd.astype(jnp.int8))
    return read_out(spec, current_tbd, arguments(spec, hyper, key))
