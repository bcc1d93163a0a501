"""Which of two variants or attacks leaks more, p-values over many such questions, and the strongest attack.

Two variants with the same examples and splits are compared in pairs: every replicate of the crossed bootstrap draws
one set of example weights and one of pair weights for both, so what they share cancels. That speaks of these splits: a
claim about a way of training needs seeds of the splits as the outer unit. The bootstrap is cautious (`intervals`): of
1,000 simulated comparisons of equal attacks (S=16, N=300) none had p <= .05. Scores, membership, units, pairs and
levels that `intervals` refuses raise its ValueError.
"""

from collections.abc import Callable
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
    """As `Difference`, and the ratio a / b with its interval: inf where b alone is 0, NaN where both are."""

    difference: float
    low: float
    high: float
    p: float
    ratio: float
    ratio_low: float
    ratio_high: float


class Strongest(NamedTuple):
    """The value reached on the other half, and the attacks chosen on the first and on the second half of the pairs."""

    value: float
    chosen: tuple[str, ...]


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
      replicates: of the bootstrap; level: of the interval. The smallest p-value is 2 / (replicates + 1).
      valid_s: bool [S], the targets that are usable in both.
    """

    def of(scores_sn):
        drawn_r = bootstrap.auc_replicates(
            scores_sn, member_sn, unit_n, pair_s, replicates=replicates, seed=seed, valid_s=valid_s
        )
        return roc_curve.auc(scores_sn, member_sn, valid_s), drawn_r

    (auc_a, drawn_a), (auc_b, drawn_b) = of(a_sn), of(b_sn)
    return difference(auc_a - auc_b, drawn_a - drawn_b, level)


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
    """The pooled TPR of a minus that of b, and their ratio, each at its own threshold for `fpr` in [0, 1]; all NaN
    where the FPR is not resolved. Arguments as in `auc_difference`; the p-value is that of the difference."""

    def of(scores_sn):
        drawn_rf = bootstrap.tpr_replicates(
            scores_sn, member_sn, unit_n, pair_s, (fpr,), replicates=replicates, seed=seed, valid_s=valid_s
        )
        return roc_curve.tpr_at_fpr(scores_sn, member_sn, fpr, valid_s)[0], drawn_rf[:, 0]

    (tpr_a, drawn_a), (tpr_b, drawn_b) = of(a_sn), of(b_sn)
    return TprDifference(
        *difference(tpr_a - tpr_b, drawn_a - drawn_b, level),
        float(ratio(tpr_a, tpr_b)),
        *outer(ratio(drawn_a, drawn_b), level),
    )


def difference(value: float, drawn_r: np.ndarray, level: float) -> Difference:
    return Difference(value, *bootstrap.percentiles(drawn_r, level), two_sided(drawn_r))


def two_sided(drawn_r: np.ndarray) -> float:
    """The p-value of a difference of 0, in [2 / (R + 1), 1]: twice the rarer side's share of the replicates, with the
    value itself as one more on each side. Replicates of exactly 0 count on both; NaN where all are NaN."""
    drawn_r = drawn_r[~np.isnan(drawn_r)]
    if not len(drawn_r):
        return np.nan
    return float(min(1.0, 2 * (1 + min(np.sum(drawn_r <= 0), np.sum(drawn_r >= 0))) / (len(drawn_r) + 1)))


def by_deviation(value: float, drawn_r: np.ndarray, units: int) -> float:
    """The two-sided p-value of no difference by the deviation of the replicates, t with `units` - 1 degrees of freedom:
    not bounded by the number of replicates, so that it stands a correction for many tests. Replicates that are all
    equal but not to 0: that all units have one sign; NaN where there is no difference at all, or no replicate."""
    if np.isnan(drawn_r).all():
        return np.nan
    spread = np.nanstd(drawn_r, ddof=1)
    if spread > TINY:
        return float(2 * stats.t.sf(abs(value) / spread, max(units - 1, 1)))
    return 2 * 0.5**units if abs(value) > TINY else np.nan


def ratio(a, b) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(a, b)


def outer(drawn_r: np.ndarray, level: float) -> tuple[float, float]:
    """`bootstrap.percentiles`, taken outwards to a replicate: between two, an infinite one has no place."""
    bootstrap.check_level(level)
    ordered = np.sort(drawn_r[~np.isnan(drawn_r)])
    if not len(ordered):
        return np.nan, np.nan
    outside = int((len(ordered) - 1) * (1 - level) / 2 + 1e-9)
    return float(ordered[outside]), float(ordered[-1 - outside])


def none(p_m) -> np.ndarray:
    """The p-values as they are."""
    return checked(p_m)


def bonferroni(p_m) -> np.ndarray:
    """Holds the chance of any false claim, whatever the dependence: p times the number of tests."""
    p_m = checked(p_m)
    return np.minimum(p_m * np.sum(~np.isnan(p_m)), 1)


def holm(p_m) -> np.ndarray:
    """As `bonferroni`, never larger: the smallest p times M, the next times M - 1, ..., none below the one before.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    p_m = checked(p_m)
    order = np.argsort(p_m)  # nan last
    left = np.sum(~np.isnan(p_m)) - np.arange(len(p_m))
    return placed(np.maximum.accumulate(left * p_m[order]), order)


def benjamini_hochberg(p_m) -> np.ndarray:
    """Holds the expected share of false claims among all claims, for independent or positively dependent tests: the
    k-th smallest p times M / k, none above the one after.

    Source: Benjamini and Hochberg 1995, Journal of the Royal Statistical Society B 57, 289-300.
    """
    adjusted_m = checked(p_m).copy()
    tested_m = ~np.isnan(adjusted_m)
    adjusted_m[tested_m] = stats.false_discovery_control(adjusted_m[tested_m])
    return adjusted_m


# p-values [M] in [0, 1] -> adjusted ones, float64 [M]. NaN (not resolved, so not tested) stays and counts as no test.
CORRECTIONS: dict[str, Callable[..., np.ndarray]] = {
    "none": none,
    "bonferroni": bonferroni,
    "holm": holm,
    "benjamini_hochberg": benjamini_hochberg,
}


def checked(p_m) -> np.ndarray:
    p_m = np.asarray(p_m, np.float64)
    if p_m.ndim != 1 or ((p_m < 0) | (p_m > 1)).any():
        raise ValueError(
            f"`p_m` must be [M] in [0, 1], NaN where not tested, got {p_m}. Pass the p-values as one list."
        )
    return p_m


def placed(adjusted: np.ndarray, order: np.ndarray) -> np.ndarray:
    out = np.empty(len(order))
    out[order] = np.minimum(adjusted, 1)
    return out


def strongest(scores: dict, member_sn, pair_s, fprs, valid_s=None) -> dict[str | float, Strongest]:
    """What the best attack reaches, without the luck of having been chosen: chosen on one half of the pairs, its value
    taken on the other, both ways, and the mean of the two weighted by their targets.

    The largest of many values is too large even where no attack works; here every target is attacked by one that was
    chosen without it and its partner. The halves are every other pair. They share the examples, so the value is that of
    these candidates. Of equal attacks the first is chosen.

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
    halves = [valid_s & np.isin(pair_s, pairs[half::2]) for half in (0, 1)]

    def best(measure) -> Strongest:
        value_ha = np.array([[measure(scores_sn, half_s) for scores_sn in scores.values()] for half_s in halves])
        if np.isnan(value_ha).any():
            return Strongest(np.nan, ())
        chosen = value_ha.argmax(1)
        value = np.average(value_ha[[1, 0], chosen], weights=[halves[1].sum(), halves[0].sum()])
        return Strongest(float(value), tuple(list(scores)[a] for a in chosen))

    def tpr_at(fpr):
        return best(lambda scores_sn, half_s: roc_curve.tpr_at_fpr(scores_sn, member_sn, fpr, half_s)[0])

    by_auc = best(lambda scores_sn, half_s: roc_curve.auc(scores_sn, member_sn, half_s))
    return {"auc": by_auc, **{fpr: tpr_at(fpr) for fpr in fprs}}
