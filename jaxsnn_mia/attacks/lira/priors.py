"""What the reference models of a target know together about its examples: the priors of `hierarchical`.

For each target they are fitted on the moments of its own reference models, over a sample of examples. The abscissa u is
the middle of an example's two means (online), or its OUT mean (offline).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, psi

from jaxsnn_mia.attacks.lira import curve
from jaxsnn_mia.attacks.lira.variance import trigamma_inverse

POWER = 0.25  # of variances: their logarithms do not exist at zero spread, and their squares are heavy-tailed
LARGEST = 4.0  # times what is expected: more of s^(2 POWER) does not count
FREEDOM = 1.0, 200.0  # of the prior of a variance
STIFF = {"power": 10.0, "gap": 1.0, "square": 5.0}  # of the curves
LEAST = 1e-3  # of the sampling variance: the smallest variance of a gap


class Side(NamedTuple):
    """Of IN or OUT models: the variance over examples of the log variance beyond the curve, and its covariance with
    the other side's, each [S, 1]."""

    spread: np.ndarray
    shared: np.ndarray


class Prior(NamedTuple):
    """knots [S, B]; hinges [S, B] of the curves of log E s^(2 POWER) (OUT, IN), of the mean gap and of its variance."""

    knots: np.ndarray
    log_power: tuple
    gap: np.ndarray
    gap_variance: np.ndarray
    sides: tuple


def power_mean(freedom: np.ndarray, power: float) -> np.ndarray:
    """E (chi-square_d / d)^power."""
    return np.exp(gammaln(freedom / 2 + power) - gammaln(freedom / 2) - power * np.log(freedom / 2))


def mean(x_sn: np.ndarray) -> np.ndarray:
    return x_sn.mean(1, keepdims=True)


def winsorised(x_sn: np.ndarray) -> np.ndarray:
    """x drawn into what lies between its percentiles 1 and 99, widened to both sides by half of their distance."""
    low, high = np.quantile(x_sn, (0.01, 0.99), axis=1)[..., None]
    return np.clip(x_sn, low - (high - low) / 2, high + (high - low) / 2)


def fit(inside: tuple, outside: tuple, mode: str) -> Prior:
    """The prior from (count, mean, sum of squares) of IN and of OUT models, each [S or 1, M], on a sample of examples.

    Power means of variances: E s^(2p) = c_p E sigma^(2p), with c_p of `power_mean`. With log sigma^2 normal about a
    curve, with variance L, E sigma^(4p) / (E sigma^(2p))^2 = exp(p^2 L), and the same of both sides gives their
    covariance: this is Smyth's (2004) empirical Bayes with moments that stand zero and heavy tails.
    """
    (n_in, m_in, ss_in), (n_out, m_out, ss_out) = inside, outside
    u = (m_in + m_out) / 2 if mode == "online" else m_out
    knots = curve.knots(u)
    size, place = knots.shape[1], curve.weights(u, knots)

    def smooth(values, stiffness):
        heights = curve.fit(place, values, size, stiffness)
        return heights, curve.at(place, heights)

    relative, noise, log_power = [], [], []
    for count, squares in ((n_out, ss_out), (n_in, ss_in)):
        freedom = count - 1
        expected = power_mean(freedom, POWER)
        powers = winsorised((squares / freedom) ** POWER / expected)
        least = np.maximum(0.05 * mean(powers), 1e-12)
        heights, trend = smooth(powers, STIFF["power"])
        relative.append(np.minimum(powers / np.maximum(trend, least), LARGEST))
        noise.append(mean(power_mean(freedom, 2 * POWER) / expected**2))
        log_power.append(curve.hinges(knots, np.log(np.maximum(heights, least))))
    spreads = [log_excess(mean(k * k) / (q * mean(k) ** 2 + 1e-12)) for k, q in zip(relative, noise, strict=True)]
    both = mean(relative[0] * relative[1]) / (mean(relative[0]) * mean(relative[1]) + 1e-12)
    shared = np.minimum(log_excess(both), 0.95 * np.sqrt(spreads[0] * spreads[1]))
    gap = winsorised(m_in - m_out)
    gap_heights, gap_mean = smooth(gap, STIFF["gap"])
    sampling = ss_in / (n_in - 1) / n_in + (ss_out / (n_out - 1) / n_out if mode == "online" else 0.0)
    least = np.maximum(LEAST * mean(sampling), 1e-12)
    beyond, _ = smooth(winsorised((gap - np.maximum(gap_mean, 0.0)) ** 2) - winsorised(sampling), STIFF["square"])
    return Prior(
        knots,
        tuple(log_power),
        curve.hinges(knots, np.maximum(gap_heights, 0.0)),
        curve.hinges(knots, np.maximum(beyond, least)),
        tuple(Side(spread, shared) for spread in spreads),
    )


def log_excess(ratio: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(ratio, 1 + 1e-4 * POWER**2)) / POWER**2


class Conditional(NamedTuple):
    """How the variance prior of a side depends on the spread of the other: log scale = curve + offset + slope x
    (relative power of the other - 1), degrees of freedom; [S, 1] or [S, M] where counts differ."""

    offset: np.ndarray
    slope: np.ndarray
    freedom: np.ndarray


def given_other(own: Side, other: Side | None, other_count: np.ndarray) -> Conditional:
    """The inverse-chi-square prior of a side's variance, given the other side's (None: not given).

    log sigma^2 given r, the relative power of the other side less 1 over p: mean curve + b r, b = C / (L' + noise),
    variance L - b C. Degrees of freedom d with psi'(d / 2) equal to it; the scale has that mean of logarithms.
    """
    slope = np.zeros_like(own.spread)
    if other is not None:
        freedom = other_count - 1
        noise = power_mean(freedom, 2 * POWER) / power_mean(freedom, POWER) ** 2 - 1
        slope = own.shared / (other.spread + noise / POWER**2)
    left = own.spread - slope * own.shared
    d = np.clip(2 * trigamma_inverse(left), *FREEDOM)
    return Conditional(psi(d / 2) - np.log(d / 2) - POWER * own.spread / 2, slope / POWER, d)
