"""LiRA as the authors' released evaluator computes it, for reproduction; `lira.score` is the attack to use.

The sign is turned: higher = more likely a member. Medians of each example stand in for the means. Online, each side has
its own deviation; with a fixed variance both sides have that of all IN confidences. Offline, the score is
-log N(phi; median_out, s_out), two-sided. Every example uses as many models as the example with the fewest has, the
first ones in the order of the shadows. This is a loop over targets.
Source: Carlini et al. 2022 (arXiv 2112.03570), algorithm 1 and the code released with it.
"""

import numpy as np
from scipy.stats import norm

from jaxsnn_mia.attacks.references import Against

TINY = 1e-30  # the evaluator adds it to every deviation


def score(against: Against, mode: str, variance: str) -> np.ndarray:
    """float32 [S, N], or [K, N] of separate targets."""
    phi_sna, keep_sn = np.asarray(against.values_sna, np.float64), against.keep_sn
    used_sn = np.broadcast_to(against.usable_s[:, None], keep_sn.shape)
    if against.separate:
        fitted = fit(phi_sna, keep_sn, used_sn, variance)
        return np.stack([ratio(np.asarray(x, np.float64), fitted, mode) for x in against.targets])
    out = np.full(keep_sn.shape, np.nan, np.float32)
    partner_sn, ids = np.broadcast_to(against.partner_sn, keep_sn.shape), np.arange(len(keep_sn))[:, None]
    for s in np.flatnonzero(against.usable_s):
        left_sn = used_sn & (ids != s) & (ids != partner_sn[s][None])
        fitted = fit(phi_sna, keep_sn, left_sn, variance)
        out[s] = ratio(phi_sna[s], fitted, mode)
    return out


def fit(phi_sna, keep_sn, used_sn, variance: str) -> tuple:
    """(median [N, A], deviation [N, A] or one number) of the IN models, then of the OUT models."""
    inside, outside = first_models(phi_sna, keep_sn & used_sn), first_models(phi_sna, ~keep_sn & used_sn)
    axis = None if variance == "fixed" else 0
    return (np.median(inside, 0), inside.std(axis)), (np.median(outside, 0), outside.std(axis))


def first_models(phi_sna: np.ndarray, side_sn: np.ndarray) -> np.ndarray:
    """[M, N, A]: the confidences of the first M models of a side, M the count of the example with the fewest."""
    order = np.argsort(~side_sn, axis=0, kind="stable")[: side_sn.sum(0).min()]
    return np.take_along_axis(phi_sna, order[..., None], axis=0)


def ratio(x_na: np.ndarray, fitted: tuple, mode: str) -> np.ndarray:
    """float32 [N], mean over queries."""
    (mu_in, s_in), (mu_out, s_out) = fitted
    if mode == "offline":
        return -norm.logpdf(x_na, mu_out, s_out + TINY).mean(1).astype(np.float32)
    s_out = s_in if np.ndim(s_in) == 0 else s_out
    log_in, log_out = norm.logpdf(x_na, mu_in, s_in + TINY), norm.logpdf(x_na, mu_out, s_out + TINY)
    return (log_in - log_out).mean(1).astype(np.float32)
