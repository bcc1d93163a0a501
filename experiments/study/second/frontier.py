"""Lower envelopes of leak over accuracy, and what lies between two of them, by the rules of PROTOCOL_2.md.

Axes: K seeds, R learning rates, E snapshots. A condition is a `Condition` of arrays.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from experiments.study import decide

STEPS = 101  # accuracies at which envelopes are compared
NEAR = 0.005  # of the best validation accuracy: rates that a search could have chosen
SHARES = (0.95, 0.98, 1.0)  # of the smaller of the best accuracies
ABOVE_CHANCE = 0.1


class Condition(NamedTuple):
    """Points of one condition, float64 [K, R, E]; NaN where a run diverged."""

    accuracy: np.ndarray  # on test rows
    validation: np.ndarray
    leak: np.ndarray


class Effect(NamedTuple):
    """How much less a condition leaks than its baseline; `error` is the standard error of seeds and rates together."""

    mean: float
    error: float
    seeds: int
    at: tuple[float, ...] = ()  # the means at `SHARES`

    def interval(self, level: float) -> tuple[float, float]:
        half = stats.t.ppf((1 + level) / 2, self.seeds - 1) * self.error
        return self.mean - half, self.mean + half


def corners(accuracy_re: np.ndarray, leak_re: np.ndarray) -> np.ndarray:
    """int [V]: the points, flat over [R, E], that no other point beats in accuracy and leak, by rising accuracy."""
    accuracy_p, leak_p = accuracy_re.ravel(), leak_re.ravel()
    order = np.lexsort((leak_p, -accuracy_p))  # from the best accuracy down; NaN comes last
    kept, least = [], np.inf
    for point in order:
        if leak_p[point] < least and not np.isnan(accuracy_p[point]):
            kept.append(point)
            least = leak_p[point]
    return np.array(kept[::-1], int)


def others(values_k: np.ndarray, k: int) -> np.ndarray:
    """The mean over all seeds but k."""
    return np.delete(values_k, k, 0).mean(0)


def envelope(condition: Condition, k: int, at_g: np.ndarray) -> np.ndarray:
    """float64 [G]: the leak of seed k at the corners that the other seeds choose, linear between them; NaN above the
    last."""
    accuracy_re, leak_re = others(condition.accuracy, k), others(condition.leak, k)
    chosen_v = corners(accuracy_re, leak_re)
    accuracy_v, leak_v = accuracy_re.ravel()[chosen_v], condition.leak[k].ravel()[chosen_v]
    return np.interp(at_g, accuracy_v, leak_v, right=np.nan)


def best(condition: Condition, k: int) -> float:
    """The best accuracy of the mean over all seeds but k."""
    return float(np.nanmax(others(condition.accuracy, k)))


def grid(a: Condition, b: Condition, k: int, least: float) -> np.ndarray | None:
    """The accuracies from `least` on that both reach; None where there are none."""
    most = min(best(a, k), best(b, k))
    return np.linspace(least, most, STEPS) if most > least else None


def differences(baseline: Condition, condition: Condition, least: float) -> np.ndarray | None:
    """float64 [K, 1 + shares]: of each seed the mean of baseline less condition over the accuracies that both reach,
    and the difference at `SHARES` of the smaller of the best. None where the comparison is void."""
    rows = []
    for k in range(len(baseline.leak)):
        at_g = grid(baseline, condition, k, least)
        if at_g is None:
            return None
        at_g = np.concatenate([at_g, [share * at_g[-1] for share in SHARES]])
        less_g = envelope(baseline, k, at_g) - envelope(condition, k, at_g)
        rows.append([less_g[:STEPS].mean(), *less_g[STEPS:]])
    return np.array(rows)


def near_best(condition: Condition) -> list[int]:
    """The rates whose best validation accuracy, a mean over seeds, is within `NEAR` of the best."""
    best_r = np.nanmax(condition.validation.mean(0), axis=1)
    return np.flatnonzero(best_r >= np.nanmax(best_r) - NEAR).tolist()


def without(condition: Condition, rate: int) -> Condition:
    return Condition(*(np.delete(values, rate, axis=1) for values in condition))


def jackknifed(baseline: Condition, condition: Condition, least: float) -> float:
    """The variance of the effect over the rates that a search could have chosen, of both conditions."""
    variance = 0.0
    for side in (0, 1):
        pair = [baseline, condition]
        rates, effects = near_best(pair[side]), []
        if len(rates) < 2:
            continue
        for rate in rates:
            pair[side] = without((baseline, condition)[side], rate)
            less = differences(*pair, least)
            if less is not None:
                effects.append(less[:, 0].mean())
        if len(effects) > 1:
            variance += (len(effects) - 1) * float(np.var(effects))
    return variance


def start(chance: float, majority: float) -> float:
    """The accuracy from which on envelopes are compared."""
    return max(chance + ABOVE_CHANCE, majority)


def compare(baseline: Condition, condition: Condition, least: float) -> Effect | None:
    """The effect of a condition over the accuracies from `least` on; None where it is void."""
    less = differences(baseline, condition, least)
    if less is None:
        return None
    seeds = len(less)
    over_seeds = less[:, 0].var(ddof=1) / seeds
    error = np.sqrt(over_seeds + jackknifed(baseline, condition, least))
    return Effect(float(less[:, 0].mean()), float(error), seeds, tuple(map(float, less[:, 1:].mean(0))))


def verdict(auc: Effect, tpr: Effect, level: float) -> str:
    """One of four, from the effects on the AUC and on log10 of the TPR."""
    both = [(e, m, *e.interval(level)) for e, m in ((auc, decide.MARGIN), (tpr, RATIO))]
    if all(low > 0 and e.mean >= m for e, m, low, _ in both):
        return LOWER
    if all(high < 0 and e.mean <= -m for e, m, _, high in both):
        return HIGHER
    if all(-m < low and high < m for _, m, low, high in both):
        return EQUIVALENT
    return OPEN


RATIO = float(np.log10(1.25))
LOWER, HIGHER, EQUIVALENT, OPEN = "lower", "higher", "equivalent", "cannot be told"
