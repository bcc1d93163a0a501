"""LiRA with medians: the median and the median absolute deviation of the models that are left, from a few sorts.

Where one of m sorted values is left out, the new median depends on its rank alone: below the middle, in it, or above.
So each side of an example has three possible medians, and the deviations from each are sorted once. No loop over
targets is needed.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

TO_SIGMA = 1.4826  # standard deviation over median absolute deviation of a Gaussian


class Ranked(NamedTuple):
    """Values sorted along the models [S, B, A], +inf last; and each model's rank [S, B, A]."""

    values: jax.Array
    rank: jax.Array


def scores(block: tuple, targets: np.ndarray, part: slice, *, floors: tuple, mode: str) -> jax.Array:
    """[S, B] (or [K, B]) of a block of examples of `references.Against`; `floors` are the smallest deviations of IN and
    of OUT models, broadcastable to [S, B, A]."""
    return _scores(*block, targets, floors, mode=mode)


@partial(jax.jit, static_argnames="mode")
def _scores(phi_sba, keep_sb, partner_sb, usable_s, targets, floors, *, mode):
    inside_sb, outside_sb = keep_sb & usable_s[:, None], ~keep_sb & usable_s[:, None]
    mu_in, s_in = median_and_deviation(phi_sba, inside_sb, partner_sb, floors[0])
    mu_out, s_out = median_and_deviation(phi_sba, outside_sb, partner_sb, floors[1])
    if mode == "offline":
        return ((targets - mu_out) / s_out).mean(-1)
    log_in = -0.5 * ((targets - mu_in) / s_in) ** 2 - jnp.log(s_in)  # without a constant, which cancels
    log_out = -0.5 * ((targets - mu_out) / s_out) ** 2 - jnp.log(s_out)
    return (log_in - log_out).mean(-1)


def median_and_deviation(values, side_sb, partner_sb, floor) -> tuple[jax.Array, jax.Array]:
    """(median, 1.4826 x median absolute deviation) of one side without the models left out: [S or 1, B, A]."""
    there = jnp.broadcast_to(side_sb[..., None], values.shape)
    ranked = in_order(jnp.where(there, values, jnp.inf))
    count, left_out_sb = there.sum(0, keepdims=True), None
    if partner_sb is not None:
        # on its own side a target leaves itself out, on the other side its partner
        count, left_out_sb = count - 1, jnp.where(side_sb, jnp.arange(len(side_sb))[:, None], partner_sb)
    low, high = (count - 1) // 2, count // 2
    rank = rank_of(ranked, left_out_sb)
    # the left-out model lies above the middle, in it (of an even number), or below: each case gives one median
    shifts = ((0, 0), (0, 1), (1, 1))
    medians = [(at(ranked.values, low + a) + at(ranked.values, high + b)) / 2 for a, b in shifts]
    case = (rank <= low).astype(jnp.int32) + (rank <= high).astype(jnp.int32)
    median, deviation = jnp.zeros_like(medians[0]), jnp.zeros_like(medians[0])
    for this, candidate in enumerate(medians):
        away = in_order(jnp.where(there, jnp.abs(values - candidate), jnp.inf))
        mad = leave_out_median(away, low, high, rank_of(away, left_out_sb))
        median = jnp.where(case == this, candidate, median)
        deviation = jnp.where(case == this, mad, deviation)
    return median, jnp.maximum(TO_SIGMA * deviation, floor)


def in_order(values: jax.Array) -> Ranked:
    """Values [S, B, A] sorted along the models, with ranks."""
    order = jnp.argsort(values, axis=0)
    return Ranked(jnp.take_along_axis(values, order, axis=0), jnp.argsort(order, axis=0))


def rank_of(ranked: Ranked, left_out_sb: jax.Array | None) -> jax.Array:
    """The rank [S, B, A] of the model that each target leaves out; [1, B, A], above all ranks, where there is none."""
    if left_out_sb is None:
        return jnp.full_like(ranked.rank[:1], len(ranked.rank))
    return jnp.take_along_axis(ranked.rank, jnp.broadcast_to(left_out_sb[..., None], ranked.rank.shape), axis=0)


def leave_out_median(ranked: Ranked, low: jax.Array, high: jax.Array, rank: jax.Array) -> jax.Array:
    """The median of what is left, `low` and `high` its middle places."""
    return (at(ranked.values, low, rank) + at(ranked.values, high, rank)) / 2


def at(values: jax.Array, place: jax.Array, rank: jax.Array | None = None) -> jax.Array:
    """The value at a place along the models [1, B, A]; with `rank`, as if the value of that rank were not there
    [S, B, A]."""
    here = jnp.take_along_axis(values, jnp.minimum(place, len(values) - 1), axis=0)
    if rank is None:
        return here
    after = jnp.take_along_axis(values, jnp.minimum(place + 1, len(values) - 1), axis=0)
    return jnp.where(place < rank, here, after)
