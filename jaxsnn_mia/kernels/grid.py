"""Integer grids, and rounding to them with a straight-through gradient: what every quantizer here is made of."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


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


def without_sign(qmax: Any) -> Any:
    """The largest code without a sign of the width whose largest code with one is `qmax`; 0, float, stays 0."""
    return jnp.where(qmax > 0, 2 * qmax + 1, 0.0)


def qmax_unsigned(bits: int | None) -> float:
    """The largest code of an unsigned grid, 2^bits - 1; 0.0 stands for float."""
    bits = check_bits(bits)
    return 0.0 if bits is None else float(2**bits - 1)


def check_scale(scale: Any, name: str = "scale") -> None:
    """ValueError for a scale whose value is known here (not under jit) and not positive and finite."""
    if isinstance(scale, jax.core.Tracer):
        return
    values = np.asarray(scale)
    if not (np.isfinite(values).all() and (values > 0).all()):
        bad = values[~(np.isfinite(values) & (values > 0))].ravel()[0]
        raise ValueError(f"`{name}` must be positive and finite, got {bad}. Calibrate on data that is not all zero.")


def fake_quant(x: jax.Array, scale: Any, lo: Any, hi: Any, *, learned: bool = False) -> jax.Array:
    """clip(round(x / scale), lo, hi) * scale, with a straight-through gradient; x itself where hi is 0.

    Args:
      x: float32 [...].
      scale: positive step size, broadcastable to x.
      lo, hi: whole numbers as floats, traced or not, broadcastable to x; hi = 0 selects float.
      learned: also differentiate by the scale: round(r) - r inside the range with r = x / scale, lo or hi beyond.
        Otherwise its cotangent is zero.

    Returns:
      float32 [...], integer multiples of `scale`. The gradient is 1 where lo <= round(x / scale) <= hi and 0 beyond,
      a second time too.

    Raises:
      ValueError: a scale that is not positive and finite, where its value is known (not under jit).

    Source: Bengio et al. 2013 (arXiv 1308.3432), section 4; Jacob et al. 2018 (arXiv 1712.05877), eq. 12; `learned` is
    Esser et al. 2020 (arXiv 1902.08153), eq. 3.
    """
    check_scale(scale)
    scale, lo, hi = (jnp.asarray(a, x.dtype) for a in (scale, lo, hi))
    return (_learned_quant if learned else _fake_quant)(x, scale, lo, hi)


@jax.custom_vjp
def _fake_quant(x, scale, lo, hi):
    return jnp.where(hi > 0, jnp.clip(jnp.round(x / scale), lo, hi) * scale, x)


def _fake_quant_forward(x, scale, lo, hi):
    code = jnp.round(x / scale)
    inside = ((code >= lo) & (code <= hi)) | (hi <= 0)
    return _fake_quant(x, scale, lo, hi), inside  # straight-through again where a gradient is differentiated


def _fake_quant_backward(inside, cotangent):
    return jnp.where(inside, cotangent, 0.0), None, None, None


_fake_quant.defvjp(_fake_quant_forward, _fake_quant_backward)


@jax.custom_vjp
def _learned_quant(x, scale, lo, hi):
    return _fake_quant(x, scale, lo, hi)


def _learned_forward(x, scale, lo, hi):
    return _fake_quant(x, scale, lo, hi), (x, scale, lo, hi)


def _learned_backward(saved, cotangent):
    x, scale, lo, hi = saved
    ratio = x / scale
    code = jnp.round(ratio)
    inside = (code >= lo) & (code <= hi)
    by_scale = jnp.where(hi > 0, jnp.where(inside, code - ratio, jnp.clip(code, lo, hi)), 0.0) * cotangent
    return jnp.where(inside | (hi <= 0), cotangent, 0.0), summed_to(by_scale, scale.shape), None, None


_learned_quant.defvjp(_learned_forward, _learned_backward)


def summed_to(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """x summed to the shape of what was broadcast to it."""
    x = x.sum(tuple(range(x.ndim - len(shape))))
    return x.sum(tuple(i for i, n in enumerate(shape) if n == 1 != x.shape[i]), keepdims=True)
