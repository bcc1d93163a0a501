"""Lower bounds on the epsilon of differential privacy, each from what counts as an independent trial.

Many trainings: one score of one preregistered canary in each (`canary_counts`, `epsilon_clopper_pearson`,
`epsilon_gdp`). One training: m canaries, each included by a fair coin (`one_run_guesses`, `epsilon_one_run`,
`epsilon_one_run_fdp`). Neighbouring data sets differ in the inclusion of one example. All functions raise ValueError
for counts that are not whole numbers or do not fit, for alpha or beta outside (0, .5), and for delta outside [0, 1), or
outside (0, 1) where the bound is a Gaussian one.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.special import betaincinv, log_ndtr, ndtr, ndtri
from scipy.stats import binom


def canary_counts(scores_r, member_r, threshold: float) -> tuple[int, int, int, int]:
    """(tp, fn, fp, tn) of one canary over R independent trainings, guessed a member at `threshold` or above.

    Args:
      scores_r: [R], the canary's one score in each training, higher = more likely a member.
      member_r: bool [R], whether that training had it.
      threshold: fixed in advance, or on other trainings. A threshold that is chosen on these scores voids the bound.

    Returns:
      Counts of true positives, false negatives, false positives and true negatives.

    Raises:
      ValueError: scores that are not 1-D, member of another shape or not bool, NaN in scores or threshold.
    """
    scores_r, member_r = one_per_trial(scores_r, "scores_r", "training"), np.asarray(member_r)
    if member_r.shape != scores_r.shape or member_r.dtype != bool:
        raise ValueError(f"`member_r` must be bool {scores_r.shape}, got {member_r.dtype} {member_r.shape}.")
    if math.isnan(threshold):
        raise ValueError("`threshold` must be a number, got nan.")
    tp, fp = (int((scores_r[side_r] >= threshold).sum()) for side_r in (member_r, ~member_r))
    return tp, int(member_r.sum()) - tp, fp, int((~member_r).sum()) - fp


def epsilon_clopper_pearson(tp: int, fn: int, fp: int, tn: int, *, delta: float = 0.0, alpha: float = 0.05) -> float:
    """Lower bound of epsilon at `delta`, with confidence 1 - alpha, from independent trainings (`canary_counts`).

    The larger of log((TPR - delta) / FPR) and log((TNR - delta) / FNR), at least 0. One-sided Clopper-Pearson bounds
    at alpha / 2 each, TPR from below and FPR from above, hold together with 1 - alpha by the union bound. The mirrored
    direction costs nothing: the same two events bound FNR from above and TNR from below.
    Source: Jagielski et al. 2020 (arXiv 2006.07709).
    """
    _check_share("delta", delta, zero=True)
    tpr, fpr = rate_bounds(tp, fn, fp, tn, alpha)
    ratio = max((tpr - delta) / fpr, (1 - fpr - delta) / (1 - tpr))
    return math.log(max(ratio, 1.0))


def gdp_mu_lower(tp: int, fn: int, fp: int, tn: int, *, alpha: float = 0.05) -> float:
    """Lower bound of mu, at least 0: with confidence 1 - alpha the training is mu'-GDP for no mu' below it.

    Phi^-1(TPR) - Phi^-1(FPR) at the two bounds of `epsilon_clopper_pearson`.
    Source: Nasr et al. 2023 (arXiv 2302.07956).
    """
    tpr, fpr = rate_bounds(tp, fn, fp, tn, alpha)
    return max(0.0, float(ndtri(tpr) - ndtri(fpr)))


def epsilon_gdp(tp: int, fn: int, fp: int, tn: int, *, delta: float, alpha: float = 0.05) -> float:
    """`gdp_epsilon` of `gdp_mu_lower`. It assumes a Gaussian trade-off function. A mechanism of another family may have
    a smaller epsilon at this delta, and then this is no lower bound."""
    return gdp_epsilon(gdp_mu_lower(tp, fn, fp, tn, alpha=alpha), delta)


def gdp_epsilon(mu: float, delta: float) -> float:
    """The epsilon of a mu-GDP mechanism: delta = Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu).

    Source: Dong et al. 2019 (arXiv 1905.02383). Raises ValueError for mu negative or not finite too.
    """
    _check_share("delta", delta)
    if not 0 <= mu < math.inf:
        raise ValueError(f"`mu` must be finite and >= 0, got {mu}.")

    def exceeds(eps):  # in logarithms, since e^eps overflows
        return ndtr(mu / 2 - eps / mu) - math.exp(eps + log_ndtr(-mu / 2 - eps / mu)) > delta

    return edge(exceeds) if mu > 0 else 0.0


def one_run_guesses(scores_n, n_guesses: int, *, seed: int = 0) -> np.ndarray:
    """guess_n int8 [N]: 1 (in) for the n_guesses / 2 highest scores, -1 (out) for as many lowest, else 0 (abstain).

    Args:
      scores_n: [N], one model's scores of its canaries, computed without their membership.
      n_guesses: even, at most N, fixed before the membership is known.
      seed: orders ties; by position they would betray members that stand together.

    Raises:
      ValueError: scores that are not 1-D or hold NaN, n_guesses odd or above N.
    """
    scores_n = one_per_trial(scores_n, "scores_n", "canary")
    (n_guesses,) = _whole(n_guesses=n_guesses)
    if n_guesses % 2 or n_guesses > len(scores_n):
        raise ValueError(f"`n_guesses` must be even and at most {len(scores_n)}, got {n_guesses}.")
    order = ascending(scores_n, seed)
    guess_n = np.zeros(len(scores_n), np.int8)
    guess_n[order[: n_guesses // 2]] = -1
    guess_n[order[len(order) - n_guesses // 2 :]] = 1
    return guess_n


def ascending(scores_n: np.ndarray, seed: int) -> np.ndarray:
    """int [N]: the places of the scores from the lowest to the highest, ties in random order."""
    shuffled = np.random.default_rng(seed).permutation(len(scores_n))
    return shuffled[np.argsort(scores_n[shuffled], kind="stable")]


def epsilon_one_run(m: int, r: int, v: int, *, delta: float = 0.0, beta: float = 0.05) -> float:
    """Lower bound of epsilon at `delta`, with confidence 1 - beta, from one training.

    Args:
      m: canaries, each included independently with probability 1/2 (`splits.make(rows="iid")`, no exact half).
      r: guesses made.
      v: right guesses in this training alone; a sum over trainings is no such count.

    Source: Steinke, Nasr and Jagielski 2023 (arXiv 2305.08846).
    """
    m, r, v = _check_run(m, r, v, beta)
    _check_share("delta", delta, zero=True)
    fewer = np.arange(1, v + 1)

    def refuted(eps):
        right = 1 / (1 + math.exp(-eps))  # randomised response is the hardest to refute
        tail = binom.sf(v - 1, r, right)  # the chance of v or more
        gain = np.max((binom.sf(v - fewer - 1, r, right) - tail) / fewer, initial=0.0)  # at most, by delta
        return tail + 2 * m * delta * gain <= beta

    return edge(refuted)


def epsilon_one_run_fdp(m: int, r: int, v: int, *, delta: float, beta: float = 0.05) -> tuple[float, float]:
    """(mu, epsilon at `delta`) from one training: with confidence 1 - beta it is mu'-GDP for no mu' below mu.

    Arguments as in `epsilon_one_run`, but r is fixed in advance. The epsilon assumes a Gaussian trade-off function, as
    in `epsilon_gdp`. With a = v / r and b = beta r / m, mu stays below Phi^-1(b a) - Phi^-1(b (1 - a)) for
    any m: a mechanism may spend all its privacy in a share beta of its runs.
    Source: Mahloujifar, Melis and Chaudhuri 2024 (arXiv 2410.22235).
    """
    m, r, v = _check_run(m, r, v, beta)
    _check_share("delta", delta)
    mu = edge(lambda mu: gdp_refuted(mu, m, r, v, beta))
    return mu, gdp_epsilon(mu, delta)


def gdp_refuted(mu: float, m: int, r: int, v: int, beta: float) -> bool:
    """Whether no mu-GDP mechanism has v or more right out of r guesses with probability beta.

    Let p_i be the chance of i right, R_k = sum_{i >= k} p_i i / m and W_k = sum_{i >= k} p_i (r - i) / m. Flip the bit
    of a random canary: a right guess there turns wrong, the others stay, so the definition gives R_k <=
    Phi(Phi^-1(W_{k-1}) + mu), by concavity on average too. The least total mass under all these has p_v = beta as its
    whole tail and each p_{k-1} as small as W_{k-1} lets it be: more mass, or the same at more right guesses, only
    raises what is needed below. Mass above 1, that is R_0 + W_0 > r / m, is the contradiction.
    """
    right, wrong = beta * v / m, beta * (r - v) / m
    for i in range(v - 1, -1, -1):
        needed = max(wrong, ndtr(ndtri(right) - mu))
        right, wrong = right + (needed - wrong) * i / (r - i), needed
        if right + wrong > r / m:
            return True
    return False


def edge(holds: Callable[[float], bool]) -> float:
    """The largest value where `holds`, which is true up to an edge and nowhere above; 0 if nowhere."""
    if not holds(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while holds(high):
        low, high = high, 2 * high
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def rate_bounds(tp: int, fn: int, fp: int, tn: int, alpha: float) -> tuple[float, float]:
    """(TPR from below, FPR from above), Clopper-Pearson, each at alpha / 2.

    In closed form, as quantiles of beta distributions: equal to scipy's `binomtest(...).proportion_ci(method="exact")`,
    which searches for its roots and takes some 200 times as long.
    """
    tp, fn, fp, tn = _whole(tp=tp, fn=fn, fp=fp, tn=tn)
    _check_share("alpha", alpha, below=0.5)
    tpr, tnr = (float(betaincinv(k, miss + 1, alpha / 2)) if k else 0.0 for k, miss in ((tp, fn), (tn, fp)))
    return tpr, 1 - tnr


def one_per_trial(scores, name: str, trial: str) -> np.ndarray:
    scores = np.asarray(scores)
    if scores.ndim != 1 or np.isnan(scores).any():
        raise ValueError(
            f"`{name}` must be 1-D, one score per {trial} and none NaN, got shape {scores.shape} with "
            f"{np.isnan(scores).sum()} NaN. Scores of one model are not independent trials: take one canary over "
            "many trainings (`canary_counts`) or many canaries of one model (`epsilon_one_run`)."
        )
    return scores


def _whole(**counts) -> list[int]:
    for name, count in counts.items():
        if np.ndim(count) or np.asarray(count).dtype.kind not in "iu" or count < 0:
            raise ValueError(f"`{name}` must be a whole number >= 0, got {count!r}. Pass counts of trials, not rates.")
    return [int(count) for count in counts.values()]


def _check_run(m: int, r: int, v: int, beta: float) -> list[int]:
    _check_share("beta", beta, below=0.5)
    m, r, v = _whole(m=m, r=r, v=v)
    if not v <= r <= m or not m:
        raise ValueError(f"`v` <= `r` <= `m` and `m` >= 1 must hold, got v={v}, r={r}, m={m}.")
    return [m, r, v]


def _check_share(name: str, value: float, *, zero: bool = False, below: float = 1.0) -> None:
    """ValueError unless the value is in (0, below), or 0 where `zero` allows it."""
    if not (0 < value < below or (zero and value == 0)):
        known = f"[0, {below:g})" if zero else f"(0, {below:g})"
        raise ValueError(f"`{name}` must be in {known}, got {value}.")
