"""Intervals by the crossed bootstrap, and DeLong's for one target alone.

Public: `crossed_auc`, `crossed_tpr`, `delong`; the replicates behind them, `auc_replicates`, `tpr_replicates`,
`crossed_mean`, `crossed_weights`; what makes an interval of them, `interval`, and `percentiles`.

Examples of one target are not independent, and neither are targets: they share shadows and examples. So each replicate
draws one set of example weights, shared by all targets, and one set of pair weights. Duplicate examples are one unit, a
pair of shadows is one unit. Scores stay fixed: an attack is never run again on resampled shadows, which would put
copies of a target among its references. Few pairs have few different draws: percentiles of the replicates are too
narrow. So an interval is the value and t(P - 1) standard deviations of the replicates to each side, times
sqrt(P / (P - 1)), of P pairs. It is cautious: noise of one example in one pair counts up to three
times in its variance (Owen 2007, Annals of Applied Statistics 1, 386-411). All functions of scores raise ValueError for
what `roc_curve.rows` refuses, for units or pairs that do not fit the scores, and for a level outside (0, 1).
"""

import numpy as np
from scipy.special import ndtri, stdtrit

from jaxsnn_mia.metrics import roc_curve

BLOCK = 256  # replicates per block, so that a target's [N, BLOCK] weights stay in cache


def multinomial(rng: np.random.Generator, unit: np.ndarray, replicates: int) -> np.ndarray:
    """float32 [len(unit), R]: how often each unit is drawn in each replicate, spread to its members."""
    unit = np.unique(unit, return_inverse=True)[1].reshape(-1)
    count = unit.max() + 1
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=replicates)
    return np.ascontiguousarray(drawn.T.astype(np.float32)[unit])


def crossed_weights(unit_n, pair_s, replicates: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each replicate draws each example and each target.

    Args:
      unit_n: duplicate groups [N]; pair_s: which shadows are one pair [S].
      replicates: R; seed: equal arguments draw equal weights, so that differences of two are paired.

    Returns:
      (weight_nr float32 [N, R], weight_sr float32 [S, R]), counts.
    """
    rng = np.random.default_rng(seed)
    return multinomial(rng, unit_n, replicates), multinomial(rng, pair_s, replicates)


def weighted_auc(scores_n: np.ndarray, member_n: np.ndarray, weight_nr: np.ndarray) -> np.ndarray:
    """float64 [R]: one target's AUC under each column of example weights, ties one half; NaN where a replicate
    has no member or no non-member."""
    order = np.argsort(scores_n, kind="stable")
    ranked, member = scores_n[order], member_n[order]
    # the weight of the non-members below each member, and half of the weight of those tied with it
    below = np.searchsorted(ranked[~member], ranked[member], side="left")
    upto = np.searchsorted(ranked[~member], ranked[member], side="right")
    out = np.empty(weight_nr.shape[1])
    for start in range(0, weight_nr.shape[1], BLOCK):
        block = weight_nr[:, start : start + BLOCK]
        inside = block[order[member]]
        outside = _running_sums(block[order[~member]])
        tied = (below < upto).any()
        beaten = (outside[below] + outside[upto]) / 2 if tied else outside[below]
        won = (inside * beaten).sum(0, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            out[start : start + BLOCK] = won / (inside.sum(0, dtype=np.float64) * outside[-1])
    return out


def _running_sums(x_nr: np.ndarray, rows: int = 32) -> np.ndarray:
    """[N + 1, R]: 0, then the sums of the first 1, 2, ... rows, exact for counts below 2^24.

    Products with a triangle of ones take a quarter of the time of a cumulative sum along the first axis.
    """
    n, r = x_nr.shape
    padded = np.zeros((-(-n // rows) * rows, r), x_nr.dtype)
    padded[:n] = x_nr
    sums = np.matmul(np.tri(rows, dtype=x_nr.dtype), padded.reshape(-1, rows, r))
    sums[1:] += np.cumsum(sums[:-1, -1], axis=0)[:, None]
    return np.concatenate([np.zeros((1, r), x_nr.dtype), sums.reshape(-1, r)[:n]])


def auc_replicates(
    scores_sn, member_sn, unit_n, pair_s, *, replicates: int = 1000, seed: int = 0, valid_s=None
) -> np.ndarray:  # fmt: skip
    """float64 [R]: the mean AUC over targets in each replicate, with the arguments of `crossed_auc`. NaN where a
    replicate has no member or no non-member of a target."""
    scores_sn, member_sn, unit_n, pair_s = _valid_rows(scores_sn, member_sn, unit_n, pair_s, valid_s)
    weight_nr, weight_sr = crossed_weights(unit_n, pair_s, replicates, seed)
    auc_sr = np.stack([weighted_auc(*row, weight_nr) for row in zip(scores_sn, member_sn, strict=True)])
    return (auc_sr * weight_sr).sum(0) / weight_sr.sum(0)


def crossed_auc(
    scores_sn,
    member_sn,
    unit_n,
    pair_s,
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    valid_s=None,
) -> tuple[float, float]:
    """Interval of the mean AUC over targets.

    Args:
      scores_sn, member_sn: [S, N].
      unit_n: duplicate groups [N]; pair_s: which shadows are one pair [S].
      replicates: bootstrap replicates; level: of the interval, in (0, 1); seed: of the bootstrap.
      valid_s: bool [S], the targets to use; None: all.

    Returns:
      (low, high) in [0, 1], as `interval` makes it.
    """
    drawn = auc_replicates(scores_sn, member_sn, unit_n, pair_s, replicates=replicates, seed=seed, valid_s=valid_s)
    return interval(roc_curve.auc(scores_sn, member_sn, valid_s), drawn, count_pairs(pair_s, valid_s), level)


def tpr_replicates(
    scores_sn, member_sn, unit_n, pair_s, fprs, *, replicates: int = 200, seed: int = 0, valid_s=None
) -> np.ndarray:  # fmt: skip
    """float64 [R, F]: the pooled TPR at each FPR of `fprs` in each replicate, with the arguments of `crossed_tpr`. NaN
    for an FPR that is not resolved."""
    scores_sn, member_sn, unit_n, pair_s = _valid_rows(scores_sn, member_sn, unit_n, pair_s, valid_s)
    weight_nr, weight_sr = crossed_weights(unit_n, pair_s, replicates, seed)
    # the top of the ranking alone decides the TPR at a small FPR; the whole is taken where a replicate needs more
    order = np.argsort(-scores_sn, axis=None, kind="stable")
    false_positives = np.cumsum(~member_sn.ravel()[order])
    for share in (min(4 * max(fprs), 1.0), 1.0):
        top = int(np.searchsorted(false_positives, share * false_positives[-1])) + 1
        tpr_rf, reached = weighted_tpr(scores_sn, member_sn, order[:top], weight_sr, weight_nr, fprs)
        if reached:
            break
    return np.where([roc_curve.resolves(member_sn, fpr) for fpr in fprs], tpr_rf, np.nan)


def crossed_tpr(
    scores_sn, member_sn, unit_n, pair_s, fprs, *, replicates: int = 200, level: float = 0.95, seed: int = 0,
    valid_s=None,
) -> list[tuple[float, float]]:  # fmt: skip
    """Intervals of the pooled TPR: (low, high) in [0, 1] for each FPR of `fprs`, (nan, nan) where it is not resolved.

    The other arguments are those of `crossed_auc`.
    """
    drawn = tpr_replicates(
        scores_sn, member_sn, unit_n, pair_s, fprs, replicates=replicates, seed=seed, valid_s=valid_s
    )
    tprs = [tpr for tpr, _ in roc_curve.tprs_at_fprs(np.atleast_2d(scores_sn), np.atleast_2d(member_sn), fprs, valid_s)]
    pairs = count_pairs(pair_s, valid_s)
    return [interval(tpr, tpr_r, pairs, level) for tpr, tpr_r in zip(tprs, drawn.T, strict=True)]


def weighted_tpr(scores_sn, member_sn, order, weight_sr, weight_nr, fprs) -> tuple[np.ndarray, bool]:
    """(TPR [R, F] from the pooled entries `order`, best first; whether they reach beyond every FPR)."""
    s, n = np.unravel_index(order, scores_sn.shape)
    ranked, member = scores_sn[s, n], member_sn[s, n]
    ends = np.flatnonzero(ranked[1:] != ranked[:-1])  # the last block may be cut in the middle of a tie
    if len(order) == scores_sn.size:
        ends = np.append(ends, len(order) - 1)
    members_r, others_r = (
        (side_sn @ weight_nr * weight_sr).sum(0, dtype=np.float64) for side_sn in (member_sn, ~member_sn)
    )
    tpr_rf = np.empty((weight_nr.shape[1], len(fprs)))
    lowest_end: float = 1.0
    for r in range(weight_nr.shape[1]):
        weight = weight_sr[s, r] * weight_nr[n, r]
        tpr = np.cumsum(weight * member, dtype=np.float64)[ends] / members_r[r]
        fpr = np.cumsum(weight * ~member, dtype=np.float64)[ends] / others_r[r]
        curve = roc_curve.Roc(np.append(0.0, fpr), np.append(0.0, tpr), ends)
        tpr_rf[r] = [roc_curve.at_fpr(curve, fpr)[0] for fpr in fprs]
        lowest_end = min(lowest_end, float(curve.fpr[-1]))
    return tpr_rf, len(order) == scores_sn.size or lowest_end > max(fprs)


def _valid_rows(scores_sn, member_sn, unit_n, pair_s, valid_s) -> tuple:
    """Checked arrays of the valid targets."""
    scores_sn, member_sn = np.atleast_2d(scores_sn), np.atleast_2d(member_sn)
    unit_n, pair_s = np.asarray(unit_n), np.asarray(pair_s)
    if (*pair_s.shape, *unit_n.shape) != scores_sn.shape:
        raise ValueError(
            f"`pair_s` must be [S] and `unit_n` [N] of scores {scores_sn.shape}, got {pair_s.shape} and {unit_n.shape}."
            " Pass all S targets, and mark the unusable ones in `valid_s`."
        )
    if valid_s is not None:
        pair_s = pair_s[np.asarray(valid_s, bool)]
    scores_sn, member_sn = roc_curve.rows(scores_sn, member_sn, valid_s)
    return scores_sn, member_sn, unit_n, pair_s


def count_pairs(pair_s, valid_s=None) -> int:
    """How many different pairs the valid targets are of."""
    pair_s = np.asarray(pair_s)
    return len(np.unique(pair_s if valid_s is None else pair_s[np.asarray(valid_s, bool)]))


def interval(
    value: float, drawn_r: np.ndarray, pairs: int, level: float, *, least: float = 0.0, most: float = 1.0
) -> tuple[float, float]:
    """(low, high) of a value from its replicates, cut to [least, most].

    With P pairs, value -+ t x sd x sqrt(P / (P - 1)), t the quantile of Student's law with P - 1 degrees of freedom.
    The bootstrap's variance of a mean over P pairs is too small by (P - 1) / P. Where trainings differ much, nominal
    95 % cover .98, .97, .95, .95 and .94 at 6, 8, 16, 32 and 64 models; percentiles cover .81, .76, .90, .93 and .95.

    Args:
      value: what was measured; drawn_r: its replicates [R], NaN ones are left out.
      pairs: P. With one, nothing is known of other trainings: the interval, with the normal law, is about examples.
      level: in (0, 1).

    Returns:
      (nan, nan) where the value or every replicate is NaN.
    """
    check_level(level)
    if np.isnan(value) or np.isnan(drawn_r).all():
        return np.nan, np.nan
    error, freedom = standard_error(drawn_r, pairs)
    away = float(stdtrit(freedom, (1 + level) / 2) * error)
    return max(value - away, least), min(value + away, most)


def standard_error(drawn_r: np.ndarray, pairs: int) -> tuple[float, float]:
    """(the standard error of a value over P pairs from its replicates [R], the degrees of freedom of Student's law).

    With one pair the error is that over examples, and the law is the normal one: infinitely many degrees.
    """
    deviation = float(np.nanstd(drawn_r))
    return (deviation * (pairs / (pairs - 1)) ** 0.5, pairs - 1.0) if pairs > 1 else (deviation, np.inf)


def percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    """(low, high) of the middle share `level` of the values that are not NaN; (nan, nan) where all are."""
    check_level(level)
    if np.isnan(values).all():
        return np.nan, np.nan
    low, high = np.nanpercentile(values, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def crossed_mean(values_sn, counted_sn, unit_n, pair_s, *, replicates: int = 1000, seed: int = 0) -> np.ndarray:
    """Replicates of a mean over models, such as the accuracy on members.

    Args:
      values_sn: [S, N], of each model and example; counted_sn: bool [S, N], which of them a model's own mean takes.
      unit_n, pair_s, replicates, seed: as in `crossed_weights`; equal ones draw alike, so that differences are paired.

    Returns:
      float64 [R], the mean over models of each model's mean.
    """
    weight_nr, weight_sr = crossed_weights(unit_n, pair_s, replicates, seed)
    weight_nr = weight_nr.astype(np.float64)
    with np.errstate(invalid="ignore"):
        mean_sr = (np.asarray(values_sn) * counted_sn) @ weight_nr / (counted_sn @ weight_nr)
    return (mean_sr * weight_sr).sum(0) / weight_sr.sum(0)


def delong(scores_n, member_n, *, level: float = 0.95) -> tuple[float, float, float]:
    """(AUC, low, high) of one target, from the variances of its placement values.

    A placement is the share of the other side's scores below an example's own, ties one half. The interval is
    symmetric, cut to [0, 1], and a single point at an AUC of 0 or 1: too narrow near either end.

    Args:
      scores_n: [N]; member_n: bool [N], at least 2 members and 2 non-members.
      level: of the interval, in (0, 1).

    Raises:
      ValueError: scores of several targets, a side with one example, or what `roc_curve.rows` refuses.

    Source: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, 837-845.
    """
    if np.ndim(scores_n) != 1:
        raise ValueError(
            f"`scores_n` must be [N], one target, got {np.shape(scores_n)}. Targets share examples and shadows, so "
            "their AUCs are not independent: use `crossed_auc`."
        )
    check_level(level)
    scores_sn, member_sn = roc_curve.rows(scores_n, member_n)
    inside, outside = roc_curve.sides(scores_sn[0], member_sn[0])
    if min(len(inside), len(outside)) < 2:
        raise ValueError(
            f"`member_n` must hold at least 2 members and 2 non-members, got {len(inside)} and {len(outside)}. A side "
            "with one example has no variance."
        )
    placed = _share_below(inside, outside), _share_below(outside, inside)
    auc = float(placed[0].mean())
    spread = -ndtri((1 - level) / 2) * np.sqrt(sum(side.var(ddof=1) / len(side) for side in placed))
    return auc, max(auc - float(spread), 0.0), min(auc + float(spread), 1.0)


def _share_below(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """float64 [len(values)]: the share of `ordered` below each value, ties one half."""
    below, upto = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))  # type: ignore[call-overload]
    return (below + upto) / (2 * len(ordered))


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"`level` must be in (0, 1), got {level}. Pass 0.95 for 95 %.")
