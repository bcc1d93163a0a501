"""One-run bounds of epsilon that stay valid where the number of guesses is chosen on the same run.

The guesses of one training come in an order that its output fixes: the highest score (in), the lowest (out), the second
highest, ... Right and wrong in that order are `right_k`. A bound at the best number of guesses would be too large: with
no leak one of many numbers looks good by chance. So either each number gets its share of beta (`epsilon_chosen`), or
all are held at once (`epsilon_band`).
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import binom

from jaxsnn_mia.privacy import lower_bounds

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of the canaries that are guessed
STEP = 0.1  # of epsilon: where the first value that is not refuted is looked for


def in_order(scores_n, member_n, *, seed: int = 0) -> np.ndarray:
    """bool [N]: whether each guess is right, surest first: highest score in, lowest out, second highest in, ...

    Args:
      scores_n: [N], one model's scores of its canaries, computed without their membership.
      member_n: bool [N], the coins.
      seed: orders ties; by position they would betray members that stand together.

    Raises:
      ValueError: scores that are not 1-D or hold NaN, member of another shape or not bool.
    """
    scores_n, member_n = lower_bounds.one_per_trial(scores_n, "scores_n", "canary"), np.asarray(member_n)
    if member_n.shape != scores_n.shape or member_n.dtype != bool:
        raise ValueError(f"`member_n` must be bool {scores_n.shape}, got {member_n.dtype} {member_n.shape}.")
    upwards = member_n[lower_bounds.ascending(scores_n, seed)]
    half = len(member_n) // 2
    return np.stack([upwards[::-1][:half], ~upwards[:half]], axis=1).ravel()


def numbers(m: int, guesses: int) -> np.ndarray:
    """The numbers of guesses that are tried: `SHARES` of the m canaries, at most `guesses`."""
    tried = {min(max(round(share * m), 1), guesses) for share in SHARES}
    return np.array(sorted(tried))


def epsilon_chosen(m: int, right_k, *, delta: float = 0.0, beta: float = 0.05, bound: Callable | None = None) -> float:
    """The largest of `bound`(m, r, v, delta=, beta=) over the numbers r of guesses, each with its share of beta.

    Args:
      m: canaries, each included by a fair coin of its own.
      right_k: bool [K], right guesses, surest first (`in_order`).
      bound: `lower_bounds.epsilon_one_run`, which is the default, or one of its kind, such as the epsilon of
        `lower_bounds.epsilon_one_run_fdp`.

    Returns:
      Epsilon at `delta`; it holds with confidence 1 - beta, by the union bound, whichever r is the best.
    """
    bound = bound or lower_bounds.epsilon_one_run
    tried, right = numbers(m, len(right_k)), np.cumsum(right_k)
    return max(bound(m, int(r), int(right[r - 1]), delta=delta, beta=beta / len(tried)) for r in tried)


def epsilon_band(m: int, right_k, *, delta: float = 0.0, beta: float = 0.05) -> float:
    """Epsilon at `delta` from all numbers of guesses at once, with confidence 1 - beta.

    Given the output and the coins of the guesses before, the next guess is right with a chance of at most
    e^eps / (1 + e^eps) under eps-DP. So the counts V_r of right guesses lie below those of independent coins of that
    chance, all together. An epsilon is refuted where coins give as small a least p-value over the numbers of guesses
    with a chance of at most beta; this chance is exact, by a recursion over guesses. Delta costs 2 m delta of beta: but
    for a part of that mass, an (eps, delta)-DP output is an eps-DP one. Arguments as in `epsilon_chosen`.
    Source: the argument of Steinke, Nasr and Jagielski 2023 (arXiv 2305.08846), theorem 5.2; the band is ours.
    """
    tried, right = numbers(m, len(right_k)), np.cumsum(right_k)
    left = beta - 2 * m * delta

    def refuted(eps: float) -> bool:
        return left > 0 and band_p_value(tried, right[tried - 1], 1 / (1 + math.exp(-eps))) <= left

    eps = 0.0
    while refuted(eps):  # from below, since a p-value of several numbers need not grow everywhere
        eps += STEP
    if eps == 0.0:
        return 0.0
    low, high = eps - STEP, eps
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def band_p_value(tried: np.ndarray, right: np.ndarray, q: float) -> float:
    """The chance that coins of chance q have, at one of the numbers `tried` of guesses, as small a p-value as the
    smallest of the counts `right` there."""
    least = binom.sf(right - 1, tried, q).min() * (1 + 1e-9)  # rounding
    below = np.ones(1)  # chances of 0, 1, ... right guesses, of the coins that were never as extreme
    start = 0
    for r in tried:
        below = np.convolve(below, binom.pmf(np.arange(r - start + 1), r - start, q))
        below[binom.sf(np.arange(r + 1) - 1, r, q) <= least] = 0.0
        start = r
    return 1.0 - float(below.sum())
