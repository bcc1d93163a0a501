"""The variances of LiRA: how much the confidences of the IN and of the OUT models of an example vary.

With S shadows each side of an example has S/2 - 1 models, so its own variance is noisy. One pooled variance is not, but
some examples vary more than others. The shrunk variance lies between: it is drawn from the example's own variance
towards the pooled one. An example has one spread, shared by both sides, and each side may deviate from it. How strongly
it is drawn is estimated from the data (empirical Bayes): it becomes the pooled variance where examples are alike, and
the example's own where there are many shadows.
"""

from typing import NamedTuple

import jax
import numpy as np
from scipy.special import polygamma

VARIANCES = ("shrinkage", "pooled", "fixed", "per_example")
MOST_FREEDOM = 1e6  # prior degrees of freedom that mean "all examples are alike"
NEWTON_STEPS = 12
MOST_SPREAD = 100.0  # times the pooled variance: one example that varies more does not say how much others differ
NO_SPREAD = 1e-6  # of the pooled variance: below it models agree exactly, as with logits in steps


class Pool(NamedTuple):
    """The pooled variances of one side over all examples, each [S or 1, 1, A]: about each example's mean, and about one
    common mean."""

    residual: jax.Array
    total: jax.Array


class Prior(NamedTuple):
    """Degrees of freedom [S or 1, 1, A]: of the spread that both sides of an example share, and of a side's own."""

    shared: jax.Array
    own: jax.Array


def pool_sums(side: tuple, weight_b: jax.Array) -> tuple:
    """Sums over a block of examples that `pool` needs, each example with its weight (`references.weights`)."""
    count, mean, squares = side
    sums = (count, count - 1, squares, count * mean, squares + count * mean**2)
    return tuple(((x + 0 * mean) * weight_b[None, :, None]).sum(1) for x in sums)


def pool(sums: tuple) -> Pool:
    """The pooled variances from the sums of all blocks."""
    count, freedom, squares, first, second = (x[:, None] for x in sums)
    return Pool(squares / freedom, second / count - (first / count) ** 2)


def prior(sides: tuple, pools: tuple) -> Prior:
    """How much examples differ in spread, estimated on a sample of them.

    Where examples are alike, log variances with d degrees of freedom have variance psi'(d / 2) (Smyth 2004, "Linear
    models and empirical Bayes methods for assessing differential expression"); the excess is due to the prior. In the
    same way, the ratio of an example's two sides gives the prior of a side's own deviation. Models that agree exactly,
    as with logits in steps, have no log variance and do not count. This is numpy code: jax would need seconds to
    compile the special functions.

    Args:
      sides: moments (count, mean, squares) of IN and OUT models, or of OUT models alone (`references.moments`).
      pools: the `Pool` of each side.
    """
    freedoms, scaled = relative(sides, pools)
    shared = log_excess(sum(scaled), sum(freedoms))
    if len(sides) == 1:
        return Prior(shared, np.full_like(shared, MOST_FREEDOM))
    ratio = np.subtract(*map(log_variance, scaled, freedoms))
    noise = sum(trigamma(d / 2).mean(1, keepdims=True) for d in freedoms)
    return Prior(shared, 2 * trigamma_inverse((variation(ratio) - noise) / 2))


def relative(sides: tuple, pools: tuple) -> tuple[list, list]:
    """(degrees of freedom, sums of squares in units of the pooled variance) of each side."""
    freedoms = [count - 1 for count, _, _ in sides]
    return freedoms, [squares / (p.residual + 1e-30) for (_, _, squares), p in zip(sides, pools, strict=True)]


def log_variance(scaled: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """log(scaled / freedom), NaN where there is no spread, and at most log `MOST_SPREAD`."""
    variance = np.minimum(scaled / freedom, MOST_SPREAD)
    return np.log(np.where(variance > NO_SPREAD, variance, np.nan))


def variation(log: np.ndarray) -> np.ndarray:
    """Variance over examples [S or 1, 1, A] of the values that are not NaN; 0 where all are NaN."""
    there = ~np.isnan(log)
    count = np.maximum(there.sum(1, keepdims=True), 1)
    mean = np.where(there, log, 0.0).sum(1, keepdims=True) / count
    return np.where(there, (log - mean) ** 2, 0.0).sum(1, keepdims=True) / count


def log_excess(scaled: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Prior degrees of freedom that explain how much log variances vary beyond chance."""
    noise = trigamma(freedom / 2).mean(1, keepdims=True)
    return 2 * trigamma_inverse(variation(log_variance(scaled, freedom)) - noise)


def shrunk(sides: tuple, pools: tuple, priors: Prior) -> tuple:
    """The variance of each side [S or 1, N, A]."""
    freedoms, scaled = relative(sides, pools)
    shared = (priors.shared + sum(scaled)) / (priors.shared + sum(freedoms))
    return tuple(
        p.residual * (priors.own * shared + x) / (priors.own + d)
        for p, x, d in zip(pools, scaled, freedoms, strict=True)
    )


def of_sides(variance: str, sides: tuple, pools: tuple | None, priors: Prior | None) -> tuple:
    """The variance of each side by name; the moments are those of `references.moments`."""
    if variance == "per_example":
        return tuple(squares / count for count, _, squares in sides)
    if variance == "shrinkage":
        return shrunk(sides, pools, priors)  # type: ignore[arg-type]
    return tuple(p.total if variance == "fixed" else p.residual for p in pools)  # type: ignore[union-attr]


def trigamma(x: np.ndarray) -> np.ndarray:
    """psi'(x)."""
    return polygamma(1, x)


def trigamma_inverse(y: np.ndarray) -> np.ndarray:
    """x with psi'(x) = y, by Newton's method on 1 / psi' (Smyth 2004); MOST_FREEDOM where y <= 0."""
    positive = np.maximum(y, 1 / MOST_FREEDOM)
    x = 0.5 + 1 / positive
    for _ in range(NEWTON_STEPS):
        x = x + trigamma(x) * (1 - trigamma(x) / positive) / polygamma(2, x)
    return np.minimum(x, MOST_FREEDOM)
