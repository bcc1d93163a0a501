"""Membranes on a few levels: the state quantizers of snnTorch, and one that keeps zero."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxsnn_mia.kernels.grid import qmax_unsigned
from jaxsnn_mia.kernels.numerics import align, floating


@jax.custom_jvp
def snapped(v: jax.Array, level: jax.Array) -> jax.Array:
    """`level`, with the gradient of v everywhere (no clipping), as snnTorch's state quantizers have it."""
    return level


@snapped.defjvp
def _snapped_tangent(primals, tangents):
    return snapped(*primals), tangents[0]


def levels_top(bits: int | None, qmax: Any, dtype: Any) -> jax.Array:
    """The index of the highest of 2^bits levels; 0 stands for float."""
    return jnp.asarray(qmax_unsigned(bits) if qmax is None else qmax, dtype)


def state_uniform(
    v: jax.Array,
    bits: int | None = None,
    *,
    threshold: Any,
    lower: float = 0.0,
    upper: float = 0.2,
    keep_zero: bool = False,
    qmax: Any = None,
) -> jax.Array:
    """A membrane on the nearest of 2^bits levels, evenly spread from -threshold (1 + lower) to threshold (1 + upper).

    Args:
      v: membrane [...].
      bits: an int in [2, 16]; None or 32 returns v bitwise.
      threshold: firing threshold, scalar or broadcastable, may be traced.
      keep_zero: shift the levels by less than a step so that 0 is one of them: a neuron at rest stays at rest. Without
        it, as in snnTorch, neither 0 nor the threshold is a level.
      qmax: instead of `bits`, 2^bits - 1, which may be traced; 0 returns v bitwise.

    Returns [...], the gradient 1 everywhere. Source: snnTorch 1.0 `state_quant`, uniform.
    """
    v = floating(v)
    top = levels_top(bits, qmax, v.dtype)
    threshold = align(threshold, v)
    low, high = -threshold * (1 + lower), threshold * (1 + upper)
    step = (high - low) / jnp.where(top > 0, top, 1.0)
    if keep_zero:
        first = jnp.ceil(low / step)  # so that the highest level is not below `high`: a neuron can still fire
        level = jnp.clip(jnp.round(v / step), first, first + top) * step
    else:
        level = low + jnp.clip(jnp.round((v - low) / step), 0.0, top) * step
    return jnp.where(top > 0, snapped(v, level), v)


def ratio_of(bits: int) -> float:
    """The ratio between neighbouring steps that snnTorch chooses for a width."""
    return {1: 0.05, 2: 0.1, 3: 0.3, 4: 0.5, 5: 0.7, 6: 0.9, 7: 0.925}.get(bits, 0.95)


def state_exponential(
    v: jax.Array,
    bits: int | None = None,
    *,
    threshold: Any,
    lower: float = 0.0,
    upper: float = 0.2,
    threshold_centred: bool = True,
    qmax: Any = None,
) -> jax.Array:
    """A membrane on the nearest of 2^bits levels that crowd geometrically around the threshold, or around 0.

    The levels of each side, by the share of the range that it has, are partial sums of a geometric series with the
    ratio of `ratio_of(bits)`. Arguments and result are those of `state_uniform`.
    Source: snnTorch 1.0 `state_quant`, exponential.
    """
    if not upper > 0:
        raise ValueError(f"`upper` must be above 0, got {upper}: levels that end at the threshold never fire.")
    v = floating(v)
    top = levels_top(bits, qmax, v.dtype)
    threshold = align(threshold, v)
    below, above = (2 + lower, upper) if threshold_centred else (1 + lower, 1 + upper)  # in thresholds
    counts = [math.floor(2**b * below / (below + above)) for b in range(17)]
    width = jnp.round(jnp.log2(top + 1)).astype(jnp.int32)
    ratio = jnp.asarray([ratio_of(b) for b in range(17)], v.dtype)[width]
    n_below = jnp.asarray(counts, v.dtype)[width]
    centre = threshold if threshold_centred else jnp.zeros_like(threshold)

    def nearest(distance, span, count):
        """Of the distances span (1 - ratio^k) / (1 - ratio^count), k = 0 .. count - 1, the nearest to `distance`."""
        rest = 1 - ratio**count
        k = jnp.floor(jnp.log(1 - jnp.clip(distance / span, 0.0, 1.0) * rest) / jnp.log(ratio))
        neighbours = [span * (1 - ratio ** jnp.clip(k + i, 0.0, count - 1)) / rest for i in (0, 1)]
        return jnp.where(jnp.abs(neighbours[0] - distance) <= jnp.abs(neighbours[1] - distance), *neighbours)

    low, high = centre - below * threshold, centre + above * threshold
    under = low + nearest(v - low, below * threshold, n_below)
    over = high - nearest(high - v, above * threshold, top + 1 - n_below)
    level = jnp.where(jnp.abs(under - v) <= jnp.abs(over - v), under, over)
    return jnp.where(top > 0, snapped(v, level), v)
