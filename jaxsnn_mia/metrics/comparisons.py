"""Which of two variants or attacks leaks more, p-values of many such questions, and the strongest attack.

Public: `auc_difference`, `tpr_difference`, `by_deviation`, `holm`, `strongest`.

Two variants with the same examples and splits are compared in pairs. Every replicate of the crossed bootstrap draws one
set of example weights and one of pair weights for both, so what they share cancels. This holds for these splits alone:
a claim about a way of training needs several seeds of the splits. Intervals are those of `bootstrap.interval`, and the
p-values fit them. Scores, membership, units, pairs and levels that `bootstrap` refuses raise its ValueError.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from jaxsnn_mia.metrics import bootstrap, roc_curve

TINY = 1e-12  # of rounding


class Difference(NamedTuple):
    """The value of a minus that of b, its interval, and the two-sided p-value of no difference."""

    difference: float
    low: float
    high: float
    p: float


class TprDifference(NamedTuple):
    """A `Difference`, then the ratio a / b and its interval: inf where b alone is 0, NaN where both are 0."""

    difference: float
    low: float
    high: float
    p: float
    ratio: float
    ratio_low: float
    ratio_high: float


class Strongest(NamedTuple):
    """The value reached on the other half; the attacks chosen on the first and on the second half of the pairs; and the
    scores [S, N] behind the value, from 0 to 1: each target has those of the attack that the other half chose, as ranks
    within its own half. None where nothing was chosen."""

    value: float
    chosen: tuple[str, ...]
    scores_sn: np.ndarray | None = None


def auc_difference(
    a_sn,
    b_sn,
    member_sn,
    unit_n,
    pair_s,
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    valid_s=None,
) -> Difference:
    """The mean AUC of a minus that of b.

    Args:
      a_sn, b_sn: scores [S, N] of two variants or attacks, higher = more likely a member.
      member_sn: bool [S, N], the same for both.
      unit_n: duplicate groups [N]; pair_s: which shadows are one pair [S].
      replicates: of the bootstrap; level: of the interval.
      seed: of the bootstrap; valid_s: bool [S], the targets that are usable in both.

    Returns:
      `Difference`, of AUCs in [0, 1].
    """

    def auc_and_replicates(scores_sn):
        drawn_r = bootstrap.auc_replicates(
            scores_sn, member_sn, unit_n, pair_s, replicates=replicates, seed=seed, valid_s=valid_s
        )
        return roc_curve.auc(scores_sn, member_sn, valid_s), drawn_r

    (auc_a, drawn_a), (auc_b, drawn_b) = auc_and_replicates(a_sn), auc_and_replicates(b_sn)
    return _difference(auc_a - auc_b, drawn_a - drawn_b, bootstrap.count_pairs(pair_s, valid_s), level)


def tpr_difference(
    a_sn,
    b_sn,
    member_sn,
    unit_n,
    pair_s,
    fpr: float,
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    valid_s=None,
) -> TprDifference:
    """The pooled TPR of a minus that of b, and their ratio.

    Args:
      a_sn, b_sn, member_sn, unit_n, pair_s, replicates, level, seed, valid_s: as in `auc_difference`.
      fpr: in [0, 1]; each of a and b has a threshold of its own for it.

    Returns:
      `TprDifference`; its p-value is that of the difference. All NaN where the FPR is not resolved.

    Raises:
      ValueError: fpr outside [0, 1].
    """

    def tpr_and_replicates(scores_sn):
        drawn_rf = bootstrap.tpr_replicates(
            scores_sn, member_sn, unit_n, pair_s, (fpr,), replicates=replicates, seed=seed, valid_s=valid_s
        )
        return roc_curve.tpr_at_fpr(scores_sn, member_sn, fpr, valid_s)[0], drawn_rf[:, 0]

    (tpr_a, drawn_a), (tpr_b, drawn_b) = tpr_and_replicates(a_sn), tpr_and_replicates(b_sn)
    return TprDifference(
        *_difference(tpr_a - tpr_b, drawn_a - drawn_b, bootstrap.count_pairs(pair_s, valid_s), level),
        float(_ratio(tpr_a, tpr_b)),
        *_outer_percentiles(_ratio(drawn_a, drawn_b), level),
    )


def _difference(value: float, drawn_r: np.ndarray, pairs: int, level: float) -> Difference:
    p = by_deviation(value, drawn_r, pairs)
    is_nothing = value == 0 and not np.isnan(drawn_r).all()
    interval = bootstrap.interval(value, drawn_r, pairs, level, least=-1.0)
    return Difference(value, *interval, 1.0 if is_nothing else p)


def by_deviation(value: float, drawn_r: np.ndarray, units: int) -> float:
    """The two-sided p-value of a difference of 0, by the standard deviation of its replicates.

    It is not bounded by the number of replicates, so it can be corrected for many tests (`holm`).

    Args:
      value: the difference; drawn_r: its replicates [R].
      units: P, how many pairs were resampled, see `bootstrap.standard_error`.

    Returns:
      A p-value in [0, 1]; of one pair that of a normal law, about examples alone. Where all replicates are equal and
      not 0, it is that of a sign test: all units have one sign. NaN where there is no difference at all, or no
      replicate.
    """
    if np.isnan(drawn_r).all():
        return np.nan
    error, freedom = bootstrap.standard_error(drawn_r, units)
    if error > TINY:
        return float(2 * stats.t.sf(abs(value) / error, freedom))
    return 2 * 0.5**units if abs(value) > TINY else np.nan


def _ratio(a, b) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(a, b)


def _outer_percentiles(drawn_r: np.ndarray, level: float) -> tuple[float, float]:
    """As `bootstrap.percentiles`, but always a replicate, the next one outwards: nothing lies between a number and
    infinity."""
    bootstrap.check_level(level)
    ordered = np.sort(drawn_r[~np.isnan(drawn_r)])
    if not len(ordered):
        return np.nan, np.nan
    outside = int((len(ordered) - 1) * (1 - level) / 2 + 1e-9)
    return float(ordered[outside]), float(ordered[-1 - outside])


def holm(p_m) -> np.ndarray:
    """P-values that hold the chance of any false claim, whatever the dependence of the tests.

    The smallest p times M, the next times M - 1, ..., none below the one before. For the share of false claims instead
    see `scipy.stats.false_discovery_control`.

    Args:
      p_m: [M] in [0, 1]. NaN (not resolved, so not tested) stays NaN and counts as no test.

    Returns:
      float64 [M] in [0, 1].

    Raises:
      ValueError: p-values that are not [M], or outside [0, 1].

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    p_m = np.asarray(p_m, np.float64)
    if p_m.ndim != 1 or ((p_m < 0) | (p_m > 1)).any():
        raise ValueError(
            f"`p_m` must be [M] in [0, 1], NaN where not tested, got {p_m}. Pass the p-values as one list."
        )
    order = np.argsort(p_m)  # nan last
    left = np.sum(~np.isnan(p_m)) - np.arange(len(p_m))
    adjusted = np.empty(len(p_m))
    adjusted[order] = np.minimum(np.maximum.accumulate(left * p_m[order]), 1)
    return adjusted


def strongest(scores: dict, member_sn, pair_s, fprs, valid_s=None) -> dict[str | float, Strongest]:
    """What the best attack reaches, without the luck of having been chosen.

    The best of many values is too large even where no attack works. So the attack is chosen on one half of the pairs
    and its value is taken on the other half, both ways; the result is the mean of the two, weighted by their targets.
    The halves are every other pair. They share the examples, so the value is that of these candidates. Of equal attacks
    the first is chosen.

    Args:
      scores: attack -> [S, N], higher = more likely a member.
      member_sn: bool [S, N]; pair_s: which shadows are one pair [S].
      fprs: each in [0, 1]; its threshold pools the targets of one half.
      valid_s: bool [S], the targets that are usable in every attack.

    Returns:
      {"auc": Strongest, fpr: Strongest for each of `fprs`}; (nan, ()) where a half does not resolve the FPR.

    Raises:
      ValueError: no attack, or fewer than 2 valid pairs.
    """
    member_sn, pair_s = np.asarray(member_sn), np.asarray(pair_s)
    valid_s = np.ones(len(member_sn), bool) if valid_s is None else np.asarray(valid_s, bool)
    pairs = np.unique(pair_s[valid_s])
    if not scores or len(pairs) < 2:
        raise ValueError(
            f"choosing on one half of the pairs needs an attack and at least 2 valid pairs, got {len(scores)} attacks "
            f"and {len(pairs)} pairs. Train more shadows."
        )
    names = list(scores)
    first_s, second_s = (valid_s & np.isin(pair_s, pairs[half::2]) for half in (0, 1))

    def best(measure) -> Strongest:
        first_a = np.array([measure(scores[name], first_s) for name in names])
        second_a = np.array([measure(scores[name], second_s) for name in names])
        if np.isnan(first_a).any() or np.isnan(second_a).any():
            return Strongest(np.nan, ())
        on_first, on_second = first_a.argmax(), second_a.argmax()
        reached = second_a[on_first], first_a[on_second]
        value = np.average(reached, weights=[second_s.sum(), first_s.sum()])
        behind = np.full(member_sn.shape, np.nan)
        for name, half_s in ((names[on_first], second_s), (names[on_second], first_s)):
            own = np.asarray(scores[name])[half_s]
            behind[half_s] = stats.rankdata(own).reshape(own.shape) / own.size
        return Strongest(float(value), (names[on_first], names[on_second]), behind)

    def tpr_at(fpr):
        return best(lambda scores_sn, half_s: roc_curve.tpr_at_fpr(scores_sn, member_sn, fpr, half_s)[0])

    by_auc = best(lambda scores_sn, half_s: roc_curve.auc(scores_sn, member_sn, half_s))
    return {"auc": by_auc, **{fpr: tpr_at(fpr) for fpr in fprs}}
