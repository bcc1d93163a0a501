"""Mechanisms whose leak is known, and how often a bound on it may be wrong."""

import bisect

import numpy as np
from scipy.stats import binom

RUNS = 1000


def allowed(alpha):
    """The largest share of wrong bounds in RUNS runs that a bound of level alpha explains."""
    return alpha + 3 * np.sqrt(alpha * (1 - alpha) / RUNS)


def right(eps, delta=0.0):
    """How often a mechanism is right that reveals the bit with probability delta, else answers at random with eps."""
    return delta + (1 - delta) / (1 + np.exp(-eps))


def wrong_bounds(bound, truth, probability_v):
    """The exact probability that a bound on the count v lies above the truth. A bound never falls with v (tests of
    their own), so the wrong ones are those from the first one on."""
    first = bisect.bisect_left(range(len(probability_v)), True, key=lambda v: bound(v) > truth)
    return probability_v[first:].sum()


def p_value(m, r, v, eps, delta):
    """Steinke et al.'s p-value of v right guesses, as a loop."""
    q = right(eps)
    between = [binom.cdf(v - 1, r, q) - binom.cdf(v - i - 1, r, q) for i in range(1, v + 1)]
    return binom.sf(v - 1, r, q) + 2 * m * delta * max([p / i for i, p in enumerate(between, 1)], default=0.0)
