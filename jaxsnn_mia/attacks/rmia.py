"""RMIA, the robust membership-inference attack (Zarifzadeh et al. 2024, arXiv 2312.03262)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import references
from jaxsnn_mia.attacks.folds import pair_folds

MODES = ("offline", "online")
VOTES = ("mean", "majority")
GRID = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # of `a`, where it is tuned
TUNED_ON = 2000  # examples, and as many of the population
LARGE_BLOCK = 16  # blocks of `references` in one: a look-up in sorted ratios pays for many examples
ROUNDING = 1e-5  # of a log confidence of 0
PAIRS = 2**22  # pairs of an example and a member of the population that are compared at once


def score(
    logp_sna: jax.Array,
    keep_sn: jax.Array,
    logp_sza: jax.Array,
    *,
    partner_s=None,
    valid_s=None,
    mode: str = "offline",
    gamma: float = 2.0,
    a: float | str = 0.3,
    vote: str = "mean",
    own_z_n: np.ndarray | None = None,
    target_logp_kna: jax.Array | None = None,
    target_logp_kza: jax.Array | None = None,
) -> np.ndarray:
    """RMIA scores of all S targets: the share of the population that x beats by a factor gamma.

    Args:
      logp_sna: log confidences float32 [S, N, A] (`from_logits.log_confidence`); may be a memory map, read in blocks.
      keep_sn: bool [S, N], who trained on what.
      logp_sza: log confidences of the population [S, Z, A]; its examples are in no training set.
      partner_s, valid_s: as in `lira.score`.
      mode: "offline", p(x) = ((1 + a) mean p_out + (1 - a)) / 2 (appendix B.2.2); "online",
        (mean p_in + mean p_out) / 2.
      gamma: the factor, at least 1.
      a: in [0, 1], how the offline mode stretches the mean of the OUT models; "tuned": for each target the value of
        `GRID` that is best for the models of other pairs, attacked with each other (needs partner_s).
      vote: over queries. "mean" of their shares; "majority", the share of z that x beats in more than half of the
        queries (appendix B.2.3; takes S x N x Z x A comparisons).
      own_z_n: int [N], the place of an example in the population, -1 where it is not in it. An example is not compared
        with itself.
      target_logp_kna, target_logp_kza: [K, N, A] and [K, Z, A] of K separate targets, attacked with all S
        references.

    Returns:
      float32 [S, N] (or [K, N]) in [0, 1), higher = more likely a member: the mean over queries of the ECDF of r(z) at
      r(x) / gamma (eq. 2 and 4), where r = p_target / p. Within a step of the ECDF, r(x) breaks ties.

    Raises:
      ValueError: shapes that do not fit, NaN, log confidences above 0, an empty population, an unknown mode or vote,
        gamma < 1, a outside [0, 1], a place outside the population, fewer than 3 IN or OUT models (4 where `a` is
        tuned); offline, IN models are not needed.
    """
    tuned = a == "tuned"
    known_a = tuned if isinstance(a, str) else 0 <= a <= 1
    if mode not in MODES or vote not in VOTES or gamma < 1 or not known_a:
        raise ValueError(
            f"`mode` must be in {MODES}, `vote` in {VOTES}, gamma >= 1, 0 <= a <= 1 or 'tuned'; "
            f"got {mode!r}, {vote!r}, {gamma}, {a!r}."
        )
    references.check(logp_sna, keep_sn, "logp_sna")
    s, n, queries = logp_sna.shape
    if logp_sza.ndim != 3 or logp_sza.shape[0] != s or logp_sza.shape[2] != queries or logp_sza.shape[1] < 1:
        raise ValueError(
            f"`logp_sza` must be [{s}, Z, {queries}] with Z >= 1, got {logp_sza.shape}. "
            "RMIA needs a population slice: set `data.population`."
        )
    if (target_logp_kna is None) != (target_logp_kza is None):
        raise ValueError("`target_logp_kna` and `target_logp_kza` go together: pass both or neither.")
    against = references.prepare(
        logp_sna, keep_sn, "logp_sna", partner_s=partner_s, valid_s=valid_s, targets_kna=target_logp_kna,
        inside=mode == "online" or tuned,
    )  # fmt: skip
    usable_s = against.usable_s
    references.check_finite((logp_sza[s] for s in np.flatnonzero(usable_s)), "logp_sza")
    targets_z: Any = target_logp_kza if against.separate else logp_sza
    if against.separate:
        references.check_targets(targets_z, logp_sza, "target_logp_kza")
        if len(targets_z) != len(against.targets):
            raise ValueError(f"`target_logp_kza` must be of K = {len(against.targets)} targets, got {targets_z.shape}.")
    check_logp(logp_sna, usable_s, "logp_sna")
    check_logp(logp_sza, usable_s, "logp_sza")
    own_z_n = np.full(n, -1) if own_z_n is None else np.asarray(own_z_n)
    if own_z_n.shape != (n,) or not ((own_z_n >= -1) & (own_z_n < logp_sza.shape[1])).all():
        raise ValueError(f"`own_z_n` must be [{n}], each in [-1, {logp_sza.shape[1]}), got shape {own_z_n.shape}.")
    a_s = tuned_a(against, logp_sza, partner_s, mode, gamma) if tuned else float(a)
    a_s = np.asarray(a_s, np.float64).reshape(-1, 1, 1)
    log_r_z = population_ratios(logp_sza, targets_z, usable_s, partner_s, a_s, mode)
    share_beaten = majority if vote == "majority" else ecdf

    def score_block(block, targets, part):
        log_r_x = targets - np.log(reference(block, a_s, mode))
        return share_beaten(log_r_z, log_r_x, np.log(gamma), own_z_n[part])

    return against.scores(score_block, LARGE_BLOCK)


def check_logp(logp_sxa, usable_s: np.ndarray, name: str) -> None:
    """ValueError for log confidences above 0: losses, or a confidence that is not a log."""
    most = max(float(np.max(logp_sxa[s])) for s in np.flatnonzero(usable_s))
    if most > ROUNDING:
        raise ValueError(f"`{name}` must be log confidences, at most 0, got {most:.6g}. Of losses pass the negative.")


def reference(block: tuple, a_s: np.ndarray, mode: str) -> np.ndarray:
    """p [S or 1, B, A]: the mean confidence of the reference models."""
    p_in, p_out = map(np.asarray, jax.block_until_ready(_means(*block)))
    p = (p_in + p_out) / 2 if mode == "online" else stretched(p_out, a_s)
    return np.maximum(p, np.finfo(np.float64).tiny)


def stretched(p_out: np.ndarray, a_s: np.ndarray) -> np.ndarray:
    """((1 + a) p_out + (1 - a)) / 2, the offline estimate of p from the mean of the OUT models."""
    return ((1 + a_s) * p_out + (1 - a_s)) / 2


@jax.jit
def _means(logp_sba, keep_sb, partner_sb, usable_s):
    """Mean confidences of the IN and of the OUT models."""
    (_, mean_in, _), (_, mean_out, _) = references.moments(jnp.exp(logp_sba), keep_sb, partner_sb, usable_s)
    return mean_in, mean_out


def population_ratios(logp_sza, targets_z, usable_s, partner_s, a_s, mode: str) -> np.ndarray:
    """log r(z), float64 [S, Z, A] (or [K, Z, A]). Every model is an OUT model of the population. A target that is a
    shadow, and its partner, are left out of the mean."""
    p_sza = np.where(usable_s[:, None, None], np.exp(np.asarray(logp_sza, np.float64)), 0.0)
    total, count = p_sza.sum(0, keepdims=True), usable_s.sum()
    if targets_z is logp_sza:
        total, count = total - p_sza, count - 1
        if partner_s is not None:
            total, count = total - p_sza[np.asarray(partner_s)], count - 1
    p_z = total / count
    if mode == "offline":
        p_z = stretched(p_z, a_s)
    return np.asarray(targets_z, np.float64) - np.log(np.maximum(p_z, np.finfo(np.float64).tiny))


def ecdf(log_r_z: np.ndarray, log_r_x: np.ndarray, log_gamma: float, own_z_b: np.ndarray) -> np.ndarray:
    """Share of z with r(z) <= r(x) / gamma, mean over queries: [S, B] from [S, Z, A] and [S, B, A].

    Within a step of the ECDF, a monotone function of log r(x) that is smaller than a step breaks ties. The loop is over
    targets and queries; each look-up is of all examples.
    """
    size, queries = log_r_z.shape[1:]
    excluded = own_z_b >= 0  # the example is in the population itself
    out = np.zeros(log_r_x.shape[:2])
    for s, (z, x) in enumerate(zip(log_r_z, log_r_x, strict=True)):
        for q in range(queries):
            count = np.searchsorted(np.sort(z[:, q]), x[:, q] - log_gamma, side="right")
            count = count - (excluded & (z[own_z_b, q] <= x[:, q] - log_gamma))
            out[s] += (count + tie_break(x[:, q])) / (size - excluded + 1)
    return out / queries


def majority(log_r_z: np.ndarray, log_r_x: np.ndarray, log_gamma: float, own_z_b: np.ndarray) -> np.ndarray:
    """Share of z that x beats in more than half of the queries, ties broken as in `ecdf`: [S, B]."""
    size, queries = log_r_z.shape[1:]
    out = np.empty(log_r_x.shape[:2])
    for rows in np.array_split(np.arange(len(own_z_b)), -(-len(own_z_b) * size // PAIRS)):
        not_own_bz = own_z_b[rows, None] != np.arange(size)
        for s, (z, x) in enumerate(zip(log_r_z, log_r_x[:, rows], strict=True)):
            votes_bz = sum((z[None, :, q] <= x[:, None, q] - log_gamma).astype(np.int16) for q in range(queries))
            won = ((2 * votes_bz > queries) & not_own_bz).sum(1)
            out[s, rows] = (won + tie_break(x.mean(1))) / (not_own_bz.sum(1) + 1)
    return out


def tie_break(log_r_x: np.ndarray) -> np.ndarray:
    """In (0, 1), growing with r(x)."""
    return 0.5 + 0.5 * log_r_x / (1 + np.abs(log_r_x))


def tuned_a(against: references.Against, logp_sza, partner_s, mode: str, gamma: float) -> np.ndarray | float:
    """The best `a` of `GRID` for each target [S], by the AUC of the models of the other folds of pairs, attacked with
    each other. For separate targets one `a`, by the AUC of all shadows."""
    if mode == "online" or (partner_s is None and not against.separate):
        raise ValueError(f"a='tuned' needs mode='offline' and `partner_s`, got mode={mode!r}. Pass a number for `a`.")
    every_n, every_z = (-(-array.shape[1] // TUNED_ON) for array in (against.keep_sn, logp_sza))
    logp, keep = np.asarray(against.values_sna[:, ::every_n]), against.keep_sn[:, ::every_n]
    logp_z = np.asarray(logp_sza[:, ::every_z])

    def best(rows: np.ndarray) -> float:
        partner_among = None
        if partner_s is not None:
            place = np.full(len(keep), -1)
            place[rows] = np.arange(len(rows))
            partner_among = place[np.asarray(partner_s)[rows]]

        def auc(a):
            scores = score(logp[rows], keep[rows], logp_z[rows], partner_s=partner_among, gamma=gamma, a=a)
            return metrics.auc(scores, keep[rows])

        return max(GRID, key=auc)

    if against.separate:
        return best(np.flatnonzero(against.usable_s))
    fold_s = pair_folds(len(keep), partner_s, against.usable_s, folds=4, seed=0)
    a_s = np.full(len(keep), GRID[0])
    for fold in range(fold_s.max() + 1):
        a_s[fold_s == fold] = best(np.flatnonzero((fold_s >= 0) & (fold_s != fold)))
    return a_s
