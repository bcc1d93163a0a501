"""Which models a target is compared with: all valid ones but the target and its partner.

A target s that trained on example n is an IN model of n. Leaving out s alone would leave one IN model fewer exactly
when n is a member, and the counts would give the answer away. So its partner is left out too: the other shadow of its
complementary pair. Where shadows come without pairs, the partner is one random model of the other side, for each
target and example.
"""

import logging
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

FEW_BLOCKS = 4  # so many blocks or fewer are taken as one
BLOCK_BYTES = 2**19  # of one float64 array [S, block, A]: what a core's cache holds
LARGEST_SHARE = 0.2  # of one example in what is learned from all, or that of `FEW` equal ones where they are few
FEW = 20
ROUNDING = 1e-12  # of squares of float64, where they cancel
SAMPLE = 2**18  # values, of all models, by which a median is estimated

log = logging.getLogger(__name__)


class Against(NamedTuple):
    """Targets and the models that they are compared with, checked (`prepare`)."""

    values_sna: Any
    keep_sn: np.ndarray
    partner_sn: np.ndarray | None  # int [S, N] or [S, 1]; None where the targets are no shadows: nothing is left out
    usable_s: np.ndarray
    targets: Any  # [S or K, N, A]

    @property
    def separate(self) -> bool:
        """Whether the targets are no shadows."""
        return self.partner_sn is None

    def block(self, part: slice | np.ndarray) -> tuple:
        """The arguments of `moments` for a block of examples."""
        partner_sn = self.partner_sn
        if partner_sn is not None:
            partner_sn = np.broadcast_to(partner_sn, self.keep_sn.shape)[:, part]
        return np.asarray(self.values_sna[:, part], np.float64), self.keep_sn[:, part], partner_sn, self.usable_s

    def slices(self, blocks: int = 1) -> list[slice]:
        """Slices that cover the examples: blocks of one length (`blocks` times what a core's cache holds) and a shorter
        last one. Few blocks are taken as one, since each length is compiled."""
        s, n, queries = self.values_sna.shape
        size = max(blocks * BLOCK_BYTES // (8 * s * queries), 1)
        size = n if n <= FEW_BLOCKS * size else size
        return [slice(start, min(start + size, n)) for start in range(0, n, size)]

    def scores(self, of: Callable, blocks: int = 1) -> np.ndarray:
        """float32 [S or K, N]: of(block, targets of the block, slice) over all examples; NaN where a target is not
        usable."""

        def of_part(part):
            x = np.asarray(self.targets[:, part], np.float64)
            # wait before reading: reading holds Python's lock, which the computation itself may need
            return np.asarray(jax.block_until_ready(of(self.block(part), x, part)))

        out = np.empty((len(self.targets), self.keep_sn.shape[1]), np.float32)
        slices = self.slices(blocks)
        most = np.finfo(np.float32).max
        for part, scores in zip(slices, over_blocks(of_part, slices), strict=True):
            out[:, part] = np.clip(scores, -most, most)
        if not self.separate:
            out[~self.usable_s] = np.nan
        return out


def prepare(values_sna, keep_sn, name: str, *, partner_s, valid_s, targets_kna=None, inside: bool = True) -> Against:
    """The arrays of an attack, after their shapes and values are checked.

    Args:
      values_sna: what models say of examples [S, N, A]; may be a memory map. `name` is its name in errors.
      keep_sn, partner_s, valid_s, targets_kna: as in `lira.score`.
      inside: whether the attack needs IN models of every example; offline attacks do not.

    Raises:
      ValueError: what `lira.score` refuses.
    """
    check(values_sna, keep_sn, name)
    usable_s = usable(len(keep_sn), partner_s, valid_s)
    check_finite((values_sna[s] for s in np.flatnonzero(usable_s)), name)
    if targets_kna is not None:
        check_targets(targets_kna, values_sna, f"target_{name[:-3]}kna")
    separate = targets_kna is not None
    check_counts(keep_sn, usable_s, *fewest(inside, separate))
    partner_sn = None if separate else partners(keep_sn, partner_s, usable_s)
    targets = values_sna if targets_kna is None else targets_kna
    return Against(values_sna, np.asarray(keep_sn), partner_sn, usable_s, targets)


def weights(against: Against, about: str) -> np.ndarray:
    """float64 [N], in (0, 1]: how much each example counts in a variance that is learned from all examples, about its
    "own" mean of each side or about one common middle ("all"). None makes up more than `LARGEST_SHARE` of the squares:
    whoever is audited could else hide all others behind one with extreme confidences. The example that counts least is
    named in a warning."""
    rows = np.flatnonzero(against.usable_s)
    step = max(against.values_sna[0].size * len(rows) // SAMPLE, 1)
    sample = [np.ravel(against.values_sna[s])[i % step :: step] for i, s in enumerate(rows)]
    middle = float(np.median(np.concatenate(sample).astype(np.float64)))
    shape = against.values_sna[0].shape
    square_na, total_2na, count_2n1 = np.zeros(shape), np.zeros((2, *shape)), np.zeros((2, shape[0], 1))
    for s in rows:
        x_na = np.asarray(against.values_sna[s], np.float64) - middle
        square_na += x_na**2
        for side, inside_n in enumerate((against.keep_sn[s], ~against.keep_sn[s])):
            total_2na[side] += np.where(inside_n[:, None], x_na, 0.0)
            count_2n1[side] += inside_n[:, None]
    if about == "own":
        of_means_na = (total_2na**2 / np.maximum(count_2n1, 1)).sum(0)
        square_na = np.maximum(square_na - of_means_na, ROUNDING * square_na)
    square_n = square_na.sum(1)
    weight_n = np.minimum(cap(square_n) / np.maximum(square_n, 1e-300), 1.0)
    least = int(weight_n.argmin())
    if weight_n[least] < 0.5:
        log.warning(
            "the confidences of example %d are extreme: it would make up %.3g %% of the variance that is learned from "
            "all %d examples, and counts for %.3g of an example there. Look at it.",
            least, 100 * square_n[least] / square_n.sum(), len(square_n), weight_n[least],
        )  # fmt: skip
    return weight_n


def weighted_sums(against: Against, of: Callable, about: str) -> Any:
    """of(block, weights of its examples) summed over all blocks, with the `weights` about the same."""
    weight_n = weights(against, about)
    sums = over_blocks(lambda part: jax.device_get(of(against.block(part), weight_n[part])), against.slices())
    return jax.tree.map(lambda *parts: np.sum(parts, 0), *sums)


def cap(square_n: np.ndarray) -> float:
    """The largest value c for which no min(square, c) is more than the largest share of their sum; infinity where none
    is anyway, or examples are too few to tell."""
    share = max(LARGEST_SHARE, FEW / len(square_n))
    rising_n = np.sort(square_n)
    falling_n, rest_n = rising_n[::-1], np.cumsum(rising_n)[::-1]  # rest_n[k]: without the k largest
    if share >= 1 or falling_n[0] <= share * rest_n[0]:
        return np.inf
    for capped in range(1, math.ceil(1 / share)):
        largest = share * rest_n[capped] / (1 - capped * share)
        if falling_n[capped] <= largest > 0:
            return float(largest)
    return np.inf


def check_finite(values: Any, name: str) -> None:
    """ValueError for NaN or infinity in values [S, ...]."""
    if not all(np.isfinite(row).all() for row in values):  # row by row: values may be a memory map
        raise ValueError(f"`{name}` must be finite for valid shadows. Mark diverged ones in `valid_s`.")


def check_targets(values_kna, values_sna, name: str) -> None:
    """ValueError for separate targets that do not fit the shadows' examples and queries, or are not finite."""
    if np.ndim(values_kna) != 3 or values_kna.shape[1:] != values_sna.shape[1:]:
        n, queries = values_sna.shape[1:]
        raise ValueError(f"`{name}` must be [K, {n}, {queries}], got {values_kna.shape}.")
    check_finite(values_kna, name)


def check(values_snx: jax.Array, keep_sn: jax.Array, name: str) -> None:
    """ValueError for a keep that is not boolean or does not fit the [S, N, A] values."""
    if values_snx.ndim != 3:
        raise ValueError(f"`{name}` must be [S, N, A], got shape {values_snx.shape}.")
    if np.asarray(keep_sn).dtype != bool:
        raise ValueError(f"`keep_sn` must be boolean, got {np.asarray(keep_sn).dtype}.")
    if keep_sn.shape != values_snx.shape[:2]:
        raise ValueError(f"`keep_sn` must be [S, N] like `{name}` {values_snx.shape}, got {keep_sn.shape}.")


def usable(n_shadows: int, partner_s: np.ndarray | None, valid_s: np.ndarray | None) -> np.ndarray:
    """bool [S]: valid shadows whose partner, if they have one, is valid too."""
    valid_s = np.ones(n_shadows, bool) if valid_s is None else np.asarray(valid_s, bool)
    if valid_s.shape != (n_shadows,):
        raise ValueError(f"`valid_s` must have shape ({n_shadows},), got {valid_s.shape}.")
    return valid_s if partner_s is None else valid_s & valid_s[np.asarray(partner_s)]


def fewest(inside: bool, separate: bool) -> tuple[int, int]:
    """(IN, OUT) models of an example that an attack needs: two are left of a side that it looks at. A target that is a
    shadow, and its partner, are left out, one of each side."""
    left_out = 0 if separate else 1
    return left_out + (2 if inside else 0), left_out + 2


def counts(keep_sn: np.ndarray, usable_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Usable (IN, OUT) models [N] of each example."""
    keep_sn = np.asarray(keep_sn)[usable_s]
    return keep_sn.sum(0), (~keep_sn).sum(0)


def check_counts(keep_sn: np.ndarray, usable_s: np.ndarray, least_in: int, least_out: int) -> None:
    """ValueError unless every example has so many IN and OUT models."""
    inside_n, outside_n = counts(keep_sn, usable_s)
    too_few_n = (inside_n < least_in) | (outside_n < least_out)
    if too_few_n.any():
        n = int(np.argmax(too_few_n))
        raise ValueError(
            f"every example needs at least {least_in} IN and {least_out} OUT models, got {inside_n[n]} IN and "
            f"{outside_n[n]} OUT for example {n}. Train more shadow models, or leave this example out."
        )


def partners(keep_sn: np.ndarray, partner_s: np.ndarray | None, usable_s: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """int [S, N] (or [S, 1] from `partner_s`): the second model that is left out, for target s and example n.

    Without `partner_s` it is a random usable model of the other side. Raises ValueError for partners that are not
    complementary.
    """
    keep_sn = np.asarray(keep_sn)
    if partner_s is not None:
        partner_s = np.asarray(partner_s)
        if (keep_sn[partner_s] == keep_sn)[usable_s].any():
            raise ValueError("`partner_s` must name complementary shadows: keep[partner] == ~keep. Pass None.")
        return partner_s[:, None]
    random_sn = np.random.default_rng(seed).random(keep_sn.shape)
    random_sn[~usable_s] = -1.0
    return np.where(keep_sn, _one_of(~keep_sn, random_sn, usable_s), _one_of(keep_sn, random_sn, usable_s))


def _one_of(side_sn: np.ndarray, random_sn: np.ndarray, usable_s: np.ndarray) -> np.ndarray:
    """int [S, N]: a random usable model of a side for target s and example n. The models of the side are shuffled once
    for each example; target s takes number s of them, modulo their count."""
    order_sn = np.argsort(np.where(side_sn, random_sn, -1.0), axis=0)  # the usable models of the side come last
    place_sn = np.arange(len(side_sn))[:, None] % side_sn[usable_s].sum(0)
    return np.take_along_axis(order_sn, len(order_sn) - 1 - place_sn, axis=0)


def moments(values_snx: jax.Array, keep_sn: jax.Array, partner_sn: jax.Array | None, usable_s: jax.Array) -> tuple:
    """Sums over the reference models of every target and example.

    Args:
      values_snx: [S, N, X], any last axis.
      keep_sn: bool [S, N].
      partner_sn: int [S, N] or [S, 1], left out with each target; None: the targets are no shadows, and nothing is
        left out.
      usable_s: bool [S].

    Returns:
      ((count, mean, squares) of the IN models, the same of the OUT models): count [S or 1, N, 1], mean and
      squares (sum of squared deviations from the mean) [S or 1, N, X].
    """
    weight_sn1 = usable_s[:, None, None].astype(values_snx.dtype)
    known = jnp.where(weight_sn1 > 0, values_snx, 0.0)  # rows of diverged shadows may hold NaN
    centre = known.sum(0, keepdims=True) / jnp.maximum(weight_sn1.sum(0, keepdims=True), 1.0)
    v = jnp.where(weight_sn1 > 0, known - centre, 0.0)
    if partner_sn is not None:
        v_partner = of_partners(v, partner_sn)
    sides = []
    for side_sn in (keep_sn, ~keep_sn):
        w = side_sn[..., None].astype(weight_sn1.dtype) * weight_sn1
        count, total, squares = (sum_over_shadows(x) for x in (w, w * v, w * v * v))
        if partner_sn is not None:
            left_out = jnp.where(side_sn[..., None], v, v_partner)
            count, total, squares = count - 1, total - left_out, squares - left_out**2
        mean = total / count
        sides.append((count, mean + centre, jnp.maximum(squares - total * mean, 0.0)))
    return tuple(sides)


def of_partners(values_snx: jax.Array, partner_sn: jax.Array) -> jax.Array:
    """[S, N, X]: the values of each target's partner."""
    partner_sn = jnp.broadcast_to(partner_sn, values_snx.shape[:2])
    return jnp.take_along_axis(values_snx, partner_sn[..., None], axis=0)


def sum_over_shadows(x: jax.Array) -> jax.Array:
    """x.sum(0, keepdims=True) as a matrix product. On CPUs a sum along the first axis takes five times as long."""
    return jnp.tensordot(jnp.ones((1, len(x)), x.dtype), x, 1)


def over_blocks(fn: Callable, slices: list[slice]) -> Iterator[Any]:
    """fn(slice) of each block, in order; a few blocks are computed at a time, so memory is that of a few blocks.

    In float64: the sum of squares without the left-out models is a small difference, which float32 would lose.
    """

    def in_float64(part):
        with jax.enable_x64(True):  # holds for this thread alone
            return jax.block_until_ready(fn(part))

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        yield from pool.map(in_float64, slices)
