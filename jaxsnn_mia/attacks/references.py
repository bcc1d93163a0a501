"""Which models a target is compared with: all valid ones but itself and its opposite.

A target s that trained on example n is an IN model of n. Leaving out s alone would leave one IN model fewer
exactly when n is a member, and the counts would betray the answer. So its opposite goes too: the complementary
shadow where shadows come in pairs, otherwise one random model of the other side for each target and example.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

FEW_BLOCKS = 4
BLOCK_BYTES = 2**19  # float64 of one [S, block, A] array: what a core's cache holds


class Against(NamedTuple):
    """Targets and the models that they are compared with, checked. `opposite` is None where the targets are no shadows,
    so that nothing is left out."""

    values_sna: Any
    keep_sn: np.ndarray
    opposite: np.ndarray | None
    usable_s: np.ndarray
    targets: Any  # [S or K, N, A]

    @property
    def separate(self) -> bool:
        return self.opposite is None

    def block(self, part: slice | np.ndarray) -> tuple:
        """The arguments of `moments` for a block of examples."""
        opposite = None if self.opposite is None else np.broadcast_to(self.opposite, self.keep_sn.shape)[:, part]
        return np.asarray(self.values_sna[:, part], np.float64), self.keep_sn[:, part], opposite, self.usable_s

    def slices(self, blocks: int = 1) -> list[slice]:
        """Slices that cover the examples: whole blocks of one length (`blocks` times what a core's cache holds), and
        what is left; a few blocks are one, since each length is compiled."""
        s, n, queries = self.values_sna.shape
        size = max(blocks * BLOCK_BYTES // (8 * s * queries), 1)
        size = n if n <= FEW_BLOCKS * size else size
        return [slice(start, min(start + size, n)) for start in range(0, n, size)]

    def scores(self, of: Callable, blocks: int = 1) -> np.ndarray:
        """of(block, targets of the block, slice) over all examples: float32 [S or K, N], NaN where a target is not
        usable."""

        def of_part(part):
            x = np.asarray(self.targets[:, part], np.float64)
            # waited for before it is read: reading holds Python's lock, which the computation itself may need
            return np.asarray(jax.block_until_ready(of(self.block(part), x, part)))

        out = np.empty((len(self.targets), self.keep_sn.shape[1]), np.float32)
        slices = self.slices(blocks)
        for part, scores in zip(slices, over_blocks(of_part, slices), strict=True):
            out[:, part] = scores
        if not self.separate:
            out[~self.usable_s] = np.nan
        return out


def prepare(values_sna, keep_sn, name: str, *, partner_s, valid_s, targets_kna=None) -> Against:
    """The arrays of an attack after checking their shapes and values; names in errors are those of `lira.score`."""
    check(values_sna, keep_sn, name)
    usable_s = usable(keep_sn, partner_s, valid_s)
    check_finite((values_sna[s] for s in np.flatnonzero(usable_s)), name)
    if targets_kna is not None:
        check_targets(targets_kna, values_sna, f"target_{name[:-3]}kna")
    opposite = opposites(keep_sn, partner_s, usable_s, separate=targets_kna is not None)
    targets = values_sna if targets_kna is None else targets_kna
    return Against(values_sna, np.asarray(keep_sn), opposite, usable_s, targets)


def check_finite(values: Any, name: str) -> None:
    """ValueError for NaN; infinity is refused too, since no moment survives it."""
    if not all(np.isfinite(row).all() for row in values):  # row by row: values may be a memory map
        raise ValueError(f"`{name}` must be finite for valid shadows. Mark diverged ones in `valid_s`.")


def check_targets(values_kna, values_sna, name: str) -> None:
    """ValueError for separate targets that do not fit the shadows' examples and queries, or are not finite."""
    if np.ndim(values_kna) != 3 or values_kna.shape[1:] != values_sna.shape[1:]:
        raise ValueError(f"`{name}` must be [K, {', '.join(map(str, values_sna.shape[1:]))}], got {values_kna.shape}.")
    check_finite(values_kna, name)


def check(values_snx: jax.Array, keep_sn: jax.Array, name: str) -> None:
    """ValueError for a keep that is not boolean or does not fit the [S, N, A] values, or for NaN."""
    if values_snx.ndim != 3:
        raise ValueError(f"`{name}` must be [S, N, A], got shape {values_snx.shape}.")
    if np.asarray(keep_sn).dtype != bool:
        raise ValueError(f"`keep_sn` must be boolean, got {np.asarray(keep_sn).dtype}.")
    if keep_sn.shape != values_snx.shape[:2]:
        raise ValueError(f"`keep_sn` must be [S, N] like `{name}` {values_snx.shape}, got {keep_sn.shape}.")


def usable(keep_sn: np.ndarray, partner_s: np.ndarray | None, valid_s: np.ndarray | None) -> np.ndarray:
    """bool [S]: valid shadows whose partner, if they have one, is valid too."""
    valid_s = np.ones(len(keep_sn), bool) if valid_s is None else np.asarray(valid_s, bool)
    if valid_s.shape != keep_sn.shape[:1]:
        raise ValueError(f"`valid_s` must have shape {keep_sn.shape[:1]}, got {valid_s.shape}.")
    return valid_s if partner_s is None else valid_s & valid_s[np.asarray(partner_s)]


def opposites(
    keep_sn: np.ndarray,
    partner_s: np.ndarray | None,
    usable_s: np.ndarray,
    *,
    separate: bool = False,
    seed: int = 0,
) -> np.ndarray | None:
    """opposite int [S, N] (or [S, 1] for partners): the second model left out for target s and example n.

    None for `separate` targets, which are no shadows. Raises ValueError where partners are not complementary, or
    where an example has too few models on a side (2 must be left).
    """
    keep_sn = np.asarray(keep_sn)
    inside_n, outside_n = keep_sn[usable_s].sum(0), (~keep_sn[usable_s]).sum(0)
    fewest = int(min(inside_n.min(), outside_n.min()))
    needed = 2 if separate else 3
    if fewest < needed:
        n = int(np.argmin(np.minimum(inside_n, outside_n)))
        raise ValueError(
            f"every example needs at least {needed} IN and {needed} OUT models, got {inside_n[n]} IN and "
            f"{outside_n[n]} OUT for example {n}. Train more shadow models, or leave this example out."
        )
    if separate:
        return None
    if partner_s is not None:
        partner_s = np.asarray(partner_s)
        if (keep_sn[partner_s] == keep_sn)[usable_s].any():
            raise ValueError("`partner_s` must name complementary shadows: keep[partner] == ~keep. Pass None.")
        return partner_s[:, None]
    random_sn = np.random.default_rng(seed).random(keep_sn.shape)
    random_sn[~usable_s] = -1.0
    choice_of = {side: np.argsort(np.where(keep_sn == side, random_sn, -1.0), axis=0) for side in (0, 1)}
    # the t-th target takes the (t mod count)-th of the shuffled models of the other side
    turn_s = np.arange(len(keep_sn))[:, None]
    picks = {
        side: np.take_along_axis(order, len(order) - 1 - turn_s % (inside_n if side else outside_n), axis=0)
        for side, order in choice_of.items()
    }
    return np.where(keep_sn, picks[0], picks[1])


def moments(values_snx: jax.Array, keep_sn: jax.Array, opposite: jax.Array | None, usable_s: jax.Array) -> tuple:
    """Sums over the reference models of every target and example.

    Args:
      values_snx: [S, N, X], any last axis.
      keep_sn: bool [S, N].
      opposite: int [S, N] or [S, 1], left out with each target; None where the targets are no shadows, so that
        nothing is left out.
      usable_s: bool [S].

    Returns:
      ((count, mean, squares) of the IN models, the same of the OUT models): count [S or 1, N, 1], mean and
      squares (sum of squared deviations from the mean) [S or 1, N, X].
    """
    weight_sn1 = usable_s[:, None, None].astype(values_snx.dtype)
    known = jnp.where(weight_sn1 > 0, values_snx, 0.0)  # diverged rows may hold NaN
    centre = known.sum(0, keepdims=True) / jnp.maximum(weight_sn1.sum(0, keepdims=True), 1.0)
    v = jnp.where(weight_sn1 > 0, known - centre, 0.0)
    if opposite is not None:
        v_opposite = jnp.take_along_axis(v, jnp.broadcast_to(opposite, keep_sn.shape)[..., None], axis=0)
    sides = []
    for side_sn in (keep_sn, ~keep_sn):
        w = side_sn[..., None].astype(weight_sn1.dtype) * weight_sn1
        count, total, squares = (sum_over_shadows(x) for x in (w, w * v, w * v * v))
        if opposite is not None:
            left_out = jnp.where(side_sn[..., None], v, v_opposite)
            count, total, squares = count - 1, total - left_out, squares - left_out**2
        mean = total / count
        sides.append((count, mean + centre, jnp.maximum(squares - total * mean, 0.0)))
    return tuple(sides)


def sum_over_shadows(x: jax.Array) -> jax.Array:
    """x.sum(0, keepdims=True) as a matrix product: on CPUs, sums along the first axis take five times as long."""
    return jnp.tensordot(jnp.ones((1, len(x)), x.dtype), x, 1)


def over_blocks(fn: Callable, slices: list[slice]) -> Iterator[Any]:
    """fn(slice) of each block in float64 (what two left-out models leave of a sum of squares is lost in float32), in
    order, some at a time: memory is that of a few blocks."""

    def in_float64(part):
        with jax.enable_x64(True):  # holds for this thread alone
            return jax.block_until_ready(fn(part))

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        yield from pool.map(in_float64, slices)
