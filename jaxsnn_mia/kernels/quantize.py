"""Fake-quantization of weights, activations and membranes, with straight-through gradients.

A tensor is divided by its scale, rounded half to even, limited to the integers of its width and multiplied back, all in
float32. The largest integer may be traced: `qmax` = 0 stands for float and returns the input bitwise, so one compiled
program holds every bit width along a model axis. Wherever `bits` is taken, `qmax=` may be given instead.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxsnn_mia.kernels.grid import check_bits, check_scale, fake_quant, qmax_symmetric, qmax_unsigned, without_sign
from jaxsnn_mia.kernels.levels import state_exponential, state_uniform
from jaxsnn_mia.kernels.numerics import floating

__all__ = [
    "activation", "check_bits", "check_scale", "fake_quant", "largest", "qmax_symmetric", "qmax_unsigned", "running",
    "state_exponential", "state_uniform", "weight", "weight_scale", "without_sign",
]  # fmt: skip


def weight(
    w: jax.Array, bits: int | None = None, *, axis: int | None = None, qmax: Any = None, differentiate: bool = False
) -> jax.Array:
    """Narrow symmetric fake-quantized weights.

    Args:
      w: float32 weights of any shape.
      bits: width, an int in [2, 16]; None or 32 returns w bitwise.
      axis: the output-channel axis with a scale of its own each, or None for one scale per tensor.
      qmax: instead of `bits`, the largest code (`qmax_symmetric`), which may be traced; 0 returns w bitwise.
      differentiate: let the gradient pass through the scale to the largest weight, as Brevitas does.

    Returns:
      float32, shape of w; the scale is max|w| / qmax. Source: Nagel et al. 2021 (arXiv 2106.08295), section 2.2;
      Brevitas' default weight quantizer is axis=None, differentiate=True.

    Raises:
      ValueError: `bits` not in [2, 16]; `axis` out of range.
    """
    w = floating(w)
    qmax = jnp.asarray(qmax_symmetric(bits) if qmax is None else qmax, w.dtype)
    scale = weight_scale(w if differentiate else lax.stop_gradient(w), qmax, axis)
    if axis is None:  # XLA would multiply by a rounded 1 / scale, which takes other sides of ties than a division
        scale = lax.optimization_barrier(jnp.broadcast_to(scale, w.shape))
    return fake_quant(w, scale, -qmax, qmax, learned=differentiate)


def weight_scale(w: jax.Array, qmax: Any, axis: int | None) -> jax.Array:
    """max|w| / qmax, per tensor or along `axis`, broadcastable to w; 1 where the weights are all zero."""
    if axis is not None and not -w.ndim <= axis < w.ndim:
        raise ValueError(
            f"`axis` must be in [{-w.ndim}, {w.ndim - 1}] for weights of shape {w.shape}, got {axis}. "
            "Pass the axis of the output channels, or None for one scale per tensor."
        )
    others = None if axis is None else tuple(i for i in range(w.ndim) if i != axis % w.ndim)
    absmax = jnp.max(jnp.abs(w), axis=others, keepdims=True)
    # the barrier keeps XLA from multiplying with a rounded 1 / qmax
    top = lax.optimization_barrier(jnp.broadcast_to(jnp.where(qmax > 0, qmax, 1.0), absmax.shape))
    return jnp.where(absmax > 0, absmax / top, 1.0)


def activation(
    x: jax.Array, absmax: Any, bits: int | None = None, *, signed: bool, qmax: Any = None, learned: bool = False
) -> jax.Array:
    """Fake-quantized activations on a grid that ends at `absmax`.

    Args:
      x: float32 [...]; non-negative unless `signed`.
      absmax: the calibrated range, a positive scalar (see `largest`, `running`).
      bits: width; unsigned codes are 0 .. 2^bits - 1, signed ones -qmax .. qmax with qmax = 2^(bits-1) - 1.
      qmax: instead of `bits`, the largest code, which may be traced; 0 returns x bitwise.
      learned: differentiate by the scale too (LSQ).

    Returns:
      float32, shape of x. Values beyond the range are clipped and get no gradient.

    Raises:
      ValueError: `bits` not in [2, 16]; a range that is not positive and finite, where it is known (not under jit,
        where a range of 0 stands for 1).
    """
    x = floating(x)
    if qmax is None:
        qmax = qmax_symmetric(bits) if signed else qmax_unsigned(bits)
    if not isinstance(qmax, jax.core.Tracer) and np.any(np.asarray(qmax) > 0):
        check_scale(absmax, "absmax")
    qmax = jnp.asarray(qmax, x.dtype)
    absmax = jnp.asarray(absmax, x.dtype)
    scale = jnp.where(absmax > 0, absmax, 1.0) / jnp.where(qmax > 0, qmax, 1.0)
    return fake_quant(x, scale, -qmax if signed else jnp.zeros_like(qmax), qmax, learned=learned)


def largest(x: jax.Array, percentile: float | None = None) -> jax.Array:
    """The range to calibrate with: max |x|, or a percentile of |x| in (0, 100]; scalar, no gradient."""
    magnitude = jnp.abs(lax.stop_gradient(floating(x)))
    return magnitude.max() if percentile is None else jnp.percentile(magnitude, percentile)


def running(average: jax.Array, new: jax.Array, decay: Any) -> jax.Array:
    """The exponential moving average after one more value; the first value (average 0) is taken whole."""
    return jnp.where(average > 0, decay * average + (1 - decay) * new, new)
