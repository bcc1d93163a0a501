"""The quantizers of a model: a dense layer, an activation with its calibration, a membrane."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsnn_mia.kernels import quantize
from jaxsnn_mia.kernels.linear import product
from jaxsnn_mia.kernels.numerics import align
from jaxsnn_mia.models.spec import Hyper, QuantSpec, Statistic


def width(qmax: jax.Array, quant: QuantSpec, edge: bool) -> jax.Array:
    """The largest code of weights: `qmax`, or at least that of 8 bits in a first or last layer that keeps them."""
    least = quantize.qmax_symmetric(8)
    return jnp.where(qmax > 0, jnp.maximum(qmax, least), 0.0) if edge and quant.edges == "keep8" else qmax


def weights(kernel: jax.Array, hyper: Hyper, quant: QuantSpec, edge: bool) -> jax.Array:
    """A kernel [in, out] as the network uses it."""
    if "weight" not in quant.parts:
        return kernel
    qmax = width(hyper.qmax_weight, quant, edge)
    if quant.preset == "brevitas":
        return quantize.weight(kernel, qmax=qmax, differentiate=True)
    return quantize.weight(kernel, qmax=qmax, axis=-1)


def as_computed(quant: QuantSpec, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The operands of a product in the dtype in which it is computed."""
    return tuple(a.astype(quant.compute) for a in arrays)


def dropped(x: jax.Array, rate: jax.Array, key: jax.Array) -> jax.Array:
    """x [..., B, D] without a share `rate` of its units, the rest scaled up; the same units at every time step, as in
    Lee et al. 2020 (arXiv 1903.06379), section III-C."""
    kept = jax.random.bernoulli(key, 1 - rate, x.shape[-2:]).astype(x.dtype)
    return x * align(kept / (1 - rate), x)


class Dense(nnx.Linear):
    """x [..., in] -> x W + b [..., out] with quantized weights; the bias stays in float."""

    def __init__(self, n_in: int, n_out: int, quant: QuantSpec, *, edge: bool, rngs: nnx.Rngs):
        super().__init__(n_in, n_out, rngs=rngs)
        self.quant, self.edge = quant, edge

    def __call__(self, x: jax.Array, hyper: Hyper) -> jax.Array:
        kernel = weights(self.kernel[...], hyper, self.quant, self.edge)
        current = product(*as_computed(self.quant, x, kernel)).astype(kernel.dtype)
        return current + align(self.bias[...], current)


class Activation(nnx.Module):
    """x -> x on the grid of its width (`keep8` speaks of weights alone). The range is followed in training and frozen
    at query time, so that what an example gives never depends on its batch-mates.

    The learned step size (Esser et al. 2020, arXiv 1902.08153) starts at 2 mean|x| / sqrt(qmax) of one batch,
    section 2.1, and is learned as its logarithm, which keeps it positive; its gradient is scaled by
    1 / sqrt(features x qmax), section 2.2.
    """

    def __init__(self, quant: QuantSpec, *, signed: bool):
        self.quant, self.signed = quant, signed
        if "activation" in quant.parts:
            self.range = Statistic(jnp.zeros(()))
            if quant.calibration == "lsq":
                self.log_step = nnx.Param(jnp.zeros(()))

    def __call__(self, x: jax.Array, hyper: Hyper, train: bool) -> jax.Array:
        quant = self.quant
        if "activation" not in quant.parts:
            return x
        qmax = hyper.qmax_activation
        if quant.calibration == "lsq":
            if train:
                first = jax.lax.stop_gradient(jnp.abs(x).mean())
                # followed while the model is in float, kept from its first quantized step on
                self.range[...] = quantize.running(self.range[...], first, jnp.where(qmax > 0, 1.0, 0.0))
            top = jnp.where(qmax > 0, qmax, 1.0)
            shrink = jax.lax.rsqrt(x.shape[-1] * top)
            log_step = self.log_step[...] * shrink + jax.lax.stop_gradient(self.log_step[...] * (1 - shrink))
            absmax = 2 * self.range[...] * jnp.sqrt(top) * jnp.exp(log_step)
            return quantize.activation(x, absmax, qmax=qmax, signed=self.signed, learned=True)
        if train:
            seen = quantize.largest(x, quant.percentile if quant.calibration == "percentile" else None)
            self.range[...] = quantize.running(self.range[...], seen, quant.decay)
        return quantize.activation(x, self.range[...], qmax=qmax, signed=self.signed)


def state_fn(quant: QuantSpec, hyper: Hyper) -> Callable[[jax.Array], jax.Array] | None:
    """What acts on a membrane between integration and firing."""
    if "state" not in quant.parts:
        return None
    options = {"threshold": hyper.threshold, "lower": quant.lower, "upper": quant.upper, "qmax": hyper.qmax_state}
    if quant.levels.startswith("exponential"):
        centred = quant.levels == "exponential"
        return lambda v: quantize.state_exponential(v, threshold_centred=centred, **options)
    return lambda v: quantize.state_uniform(v, keep_zero=quant.levels == "keep_zero", **options)
