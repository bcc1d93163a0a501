"""Fake-quantization with straight-through gradients.

A tensor is divided by its scale, rounded half to even, limited to the integers of its width and multiplied
back, all in float32. The number of levels may be traced: `qmax` = 0 stands for float and returns the input
bitwise, so one compiled program holds every bit width.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


@jax.custom_vjp
def fake_quant(x: jax.Array, scale: jax.Array, lo: jax.Array, hi: jax.Array) -> jax.Array:
    """clip(round(x / scale), lo, hi) * scale, with a straight-through gradient.

    Args:
      x: float32 [...].
      scale: positive step size, broadcastable to x; its cotangent is zero.
      lo, hi: integer bounds as floats, traced or not, broadcastable to x.

    Returns:
      float32 [...], integer multiples of `scale`. The gradient is 1 where lo <= round(x / scale) <= hi
      and 0 beyond. Source: Bengio et al. 2013 (arXiv 1308.3432), section 4; Jacob et al. 2018, eq. 12.
    """
    return jnp.clip(jnp.round(x / scale), lo, hi) * scale


def _fake_quant_forward(x, scale, lo, hi):
    code = jnp.round(x / scale)
    return jnp.clip(code, lo, hi) * scale, (code >= lo) & (code <= hi)


def _fake_quant_backward(inside, cotangent):
    return jnp.where(inside, cotangent, 0.0), None, None, None


fake_quant.defvjp(_fake_quant_forward, _fake_quant_backward)


def check_bits(bits: Any, name: str = "bits") -> int | None:
    """`bits` as an int in [2, 16], or None for float (None or 32); ValueError otherwise."""
    if bits is None or (type(bits) is int and bits == 32):
        return None
    if type(bits) is int and 2 <= bits <= 16:
        return bits
    raise ValueError(
        f"`{name}` must be an int in [2, 16] or None, got {bits!r}. Pass None (32 on the command line) for float."
    )


def qmax_symmetric(bits: int | None) -> float:
    """The largest code of a narrow symmetric grid, 2^(bits-1) - 1; 0.0 stands for float."""
    bits = check_bits(bits)
    return 0.0 if bits is None else float(2 ** (bits - 1) - 1)


def weight(w: jax.Array, qmax: Any, *, axis: int | None = None) -> jax.Array:
    """Narrow symmetric fake-quantized weights.

    Args:
      w: float32 weights of any shape.
      qmax: largest code, `qmax_symmetric(bits)`; may be traced; 0 returns w bitwise.
      axis: the output-channel axis with a scale of its own each, or None for one scale per tensor.

    Returns:
      float32, shape of w; scale max|w| / qmax under stop-gradient. Source: Nagel et al. 2021
      (arXiv 2106.08295), section 2.2; equal to Brevitas' default weight quantizer but for the scale's gradient.

    Raises:
      ValueError: `axis` out of range.
    """
    if axis is not None and not -w.ndim <= axis < w.ndim:
        raise ValueError(f"`axis` must be in [{-w.ndim}, {w.ndim - 1}] for weights of shape {w.shape}, got {axis}.")
    others = None if axis is None else tuple(i for i in range(w.ndim) if i != axis % w.ndim)
    qmax = jnp.asarray(qmax, w.dtype)
    absmax = lax.stop_gradient(jnp.max(jnp.abs(w), axis=others, keepdims=True))
    levels = jnp.where(qmax > 0, qmax, 1.0)
    scale = jnp.where(absmax > 0, absmax / levels, 1.0)
    return jnp.where(qmax > 0, fake_quant(w, scale, -levels, levels), w)
