"""Integer grids, and rounding to them with a straight-through gradient: what every quantizer here is made of."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.kernels.numerics import floating


def check_bits(bits: Any, name: str = "bits") -> int | None:
    """`bits` as an int in [2, 16], or None for float (None or 32); ValueError otherwise."""
    is_int = isinstance(bits, (int, np.integer)) and not isinstance(bits, bool)
    if bits is None or (is_int and bits == 32):
        return None
    if is_int and 2 <= bits <= 16:
        return int(bits)
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
    x = floating(x)
    scale, lo, hi = (jnp.asarray(a, x.dtype) for a in (scale, lo, hi))
    return (_learned_quant if learned else _fake_quant)(x, scale, lo, hi)


@jax.custom_jvp
def _fake_quant(x, scale, lo, hi):
    return jnp.where(hi > 0, jnp.clip(jnp.round(x / scale), lo, hi) * scale, x)


@_fake_quant.defjvp
def _fake_quant_tangent(primals, tangents):
    x, scale, lo, hi = primals
    code = jnp.round(x / scale)
    inside = ((code >= lo) & (code <= hi)) | (hi <= 0)
    return _fake_quant(*primals), jnp.where(inside, tangents[0], 0.0)


@jax.custom_jvp
def _learned_quant(x, scale, lo, hi):
    return _fake_quant(x, scale, lo, hi)


@_learned_quant.defjvp
def _learned_tangent(primals, tangents):
    x, scale, lo, hi = primals
    ratio = x / scale
    code = jnp.round(ratio)
    inside = (code >= lo) & (code <= hi)
    by_scale = jnp.where(hi > 0, jnp.where(inside, code - ratio, jnp.clip(code, lo, hi)), 0.0)
    tangent = jnp.where(inside | (hi <= 0), tangents[0], 0.0) + by_scale * tangents[1]
    return _learned_quant(*primals), tangent.astype(x.dtype)
