"""LiRA with medians: the middle and the median absolute deviation of the models that are left, from a few sorts.

Leaving a model out of m sorted values moves the median by its rank alone: below the middle, in it, or above. So each
side of an example has three possible medians, and the deviations from each are sorted once; no loop over targets.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

TO_SIGMA = 1.4826  # of a Gaussian: deviation over median absolute deviation


class Ranked(NamedTuple):
    """Values in order along the models [S, B, A], +inf last; and each model's rank [S, B, A]."""

    values: jax.Array
    rank: jax.Array


def scores(block: tuple, targets: np.ndarray, part: slice, *, floors: tuple, mode: str) -> jax.Array:
    """[S, B] (or [K, B]) of a block of examples of `references.Against`; `floors` are the smallest deviations of IN and
    of OUT models, broadcastable to [S, B, A]."""
    return _scores(*block, targets, floors, mode=mode)


@partial(jax.jit, static_argnames="mode")
def _scores(phi_sba, keep_sb, opposite, usable_s, targets, floors, *, mode):
    sides = [
        middle_and_deviation(phi_sba, side & usable_s[:, None], opposite, floor)
        for side, floor in zip((keep_sb, ~keep_sb), floors, strict=True)
    ]
    (mu_in, s_in), (mu_out, s_out) = sides
    if mode == "offline":
        return ((targets - mu_out) / s_out).mean(-1)
    log_in = -0.5 * ((targets - mu_in) / s_in) ** 2 - jnp.log(s_in)  # but for a constant, which cancels
    log_out = -0.5 * ((targets - mu_out) / s_out) ** 2 - jnp.log(s_out)
    return (log_in - log_out).mean(-1)


def middle_and_deviation(values, side_sb, opposite, floor) -> tuple[jax.Array, jax.Array]:
    """(median, 1.4826 x median absolute deviation) of one side without the models left out: [S or 1, B, A]."""
    there = jnp.broadcast_to(side_sb[..., None], values.shape)
    ranked = in_order(jnp.where(there, values, jnp.inf))
    left = there.sum(0, keepdims=True) - (0 if opposite is None else 1)
    low, high = (left - 1) // 2, left // 2
    left_out = None if opposite is None else jnp.where(side_sb, jnp.arange(len(side_sb))[:, None], opposite)
    rank = rank_of(ranked, left_out)
    # the left-out model lies above the middle, in it (of an even number), or below: each gives one median
    shifts = ((0, 0), (0, 1), (1, 1))
    middles = [(at(ranked.values, low + a) + at(ranked.values, high + b)) / 2 for a, b in shifts]
    below = (rank <= low).astype(jnp.int32) + (rank <= high).astype(jnp.int32)
    median, deviation = jnp.zeros_like(middles[0]), jnp.zeros_like(middles[0])
    for case, middle in enumerate(middles):
        away = in_order(jnp.where(there, jnp.abs(values - middle), jnp.inf))
        mad = leave_out_median(away, low, high, rank_of(away, left_out))
        median = jnp.where(below == case, middle, median)
        deviation = jnp.where(below == case, mad, deviation)
    return median, jnp.maximum(TO_SIGMA * deviation, floor)


def in_order(values: jax.Array) -> Ranked:
    order = jnp.argsort(values, axis=0)
    return Ranked(jnp.take_along_axis(values, order, axis=0), jnp.argsort(order, axis=0))


def rank_of(ranked: Ranked, left_out_sb: jax.Array | None) -> jax.Array:
    """The rank [S, B, A] of the model that each target leaves out; [1, B, A] beyond all where there is none."""
    if left_out_sb is None:
        return jnp.full_like(ranked.rank[:1], len(ranked.rank))
    return jnp.take_along_axis(ranked.rank, jnp.broadcast_to(left_out_sb[..., None], ranked.rank.shape), axis=0)


def leave_out_median(ranked: Ranked, low: jax.Array, high: jax.Array, rank: jax.Array) -> jax.Array:
    """The median of what is left, `low` and `high` its middle places."""
    return (at(ranked.values, low, rank) + at(ranked.values, high, rank)) / 2


def at(values: jax.Array, place: jax.Array, rank: jax.Array | None = None) -> jax.Array:
    """values[place] [1, B, A] along the models; with `rank`, of the values without the one of that rank [S, B, A]."""
    here = jnp.take_along_axis(values, jnp.minimum(place, len(values) - 1), axis=0)
    if rank is None:
        return here
    after = jnp.take_along_axis(values, jnp.minimum(place + 1, len(values) - 1), axis=0)
    return jnp.where(place < rank, here, after)
