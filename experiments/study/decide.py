"""The rules of PROTOCOL.md: intervals over seeds, decisions, comparisons at a matched value along training."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

MARGIN = 0.02  # of AUC and of accuracy
HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"


class Effect(NamedTuple):
    """The mean of an effect over seeds with its interval."""

    mean: float
    low: float
    high: float
    seeds: int


def effect(values_k: Sequence[float], level: float = 0.95) -> Effect:
    """The mean and the t interval of one value per seed [K], K at least 2; equal ones have an interval of no width."""
    values_k = np.asarray(values_k, np.float64)
    if values_k.ndim != 1 or len(values_k) < 2 or not np.isfinite(values_k).all():
        raise ValueError(f"`values_k` must be finite, [K] with K at least 2, got {values_k.tolist()}.")
    half = stats.t.ppf((1 + level) / 2, len(values_k) - 1) * values_k.std(ddof=1) / len(values_k) ** 0.5
    return Effect(float(values_k.mean()), float(values_k.mean() - half), float(values_k.mean() + half), len(values_k))


def detectable(deviation: float, seeds: int, level: float = 0.95, power: float = 0.8) -> float:
    """The effect whose t interval over `seeds` differences of that standard deviation lies above 0 in `power` of all
    studies."""
    critical, root = stats.t.ppf((1 + level) / 2, seeds - 1), seeds**0.5

    def missing(by: float) -> float:
        return power - stats.nct.sf(critical, seeds - 1, by * root)

    return deviation * float(optimize.brentq(missing, 0.0, 10 * critical / root))


def verdict(e: Effect, margin: float = MARGIN) -> str:
    """What an effect, positive where the claim is right, says of it on one data set."""
    if e.low > 0 and e.mean >= margin:
        return HOLDS
    return FAILS if e.high < margin else OPEN


def overall(verdicts: Sequence[str]) -> str:
    """What a general claim comes to: it must hold on every data set, and one on which it does not refutes it."""
    if FAILS in verdicts:
        return FAILS
    return HOLDS if all(v == HOLDS for v in verdicts) else OPEN


def at_first(x_e: Sequence[float], y_e: Sequence[float], x: float) -> float:
    """y where the curve (x_e, y_e) of training first reaches x, linear between snapshots; the first y where it begins
    above x, NaN where it never gets there."""
    x_e, y_e = np.asarray(x_e, np.float64), np.asarray(y_e, np.float64)
    reached = np.flatnonzero(x_e >= x)
    if not len(reached):
        return float("nan")
    i = reached[0]
    if i == 0 or x_e[i] == x_e[i - 1]:
        return float(y_e[i])
    share = (x - x_e[i - 1]) / (x_e[i] - x_e[i - 1])
    return float(y_e[i - 1] + share * (y_e[i] - y_e[i - 1]))


def matched(a_e: dict[str, Sequence[float]], b_e: dict[str, Sequence[float]], by: str, share: float = 0.98) -> float:
    """AUC of a less that of b where both first reach `share` of the smaller of their best values of `by`; a_e, b_e hold
    the snapshots' "auc" and `by`."""
    x = shared(a_e[by], b_e[by], share)
    return at_first(a_e[by], a_e["auc"], x) - at_first(b_e[by], b_e["auc"], x)


def shared(a_e: Sequence[float], b_e: Sequence[float], share: float = 0.98) -> float:
    """The value that is matched; a gap that never opens is matched as it is, so that both reach it."""
    least = min(max(a_e), max(b_e))
    return share * least if least > 0 else least


def begins_above(a_e: dict[str, Sequence[float]], b_e: dict[str, Sequence[float]], by: str) -> bool:
    """Whether a curve is above the matched value from its first snapshot on, so that nothing is matched there."""
    return max(a_e[by][0], b_e[by][0]) > shared(a_e[by], b_e[by])


def dominated_volume(accuracy: float, auc: float, chance: float) -> float:
    """The share of the area between (chance, AUC 1) and (accuracy 1, AUC .5) that a point dominates, in [0, 1]."""
    return max(accuracy - chance, 0.0) * (1 - max(auc, 0.5)) / ((1 - chance) * 0.5)
