"""Which examples are exposed: the AUC and the TPR of each example over all targets, and how stable they are.

Public: `per_example`, `exposure`, `ranks`, `stability`; and without shadows `loss_trace_iqr`, `precision`. Here an
example is one unit, over all targets; in `roc_curve` a target is one, over all examples.
"""

import numpy as np
from scipy.stats import rankdata, spearmanr

from jaxsnn_mia.metrics import roc_curve

BLOCK = 8192  # examples ranked at once, so that memory stays bounded


def per_example(scores_sn, keep_sn, valid_s=None) -> np.ndarray:
    """Each example's AUC over the targets: the chance that a target that trained on the example scores it higher than
    one that did not, ties one half.

    Pass the confidence itself (`from_logits.logit_confidence`, mean over queries). An example is compared with itself,
    so its difficulty cancels and no reference model is needed. Scores that compare a target with the other targets are
    not exchangeable: without any leak their mean is .46 for online LiRA at 8 to 64 targets, and .50 for the confidence.
    By luck alone a value has a standard deviation of sqrt((S + 1) / 3) / S with S / 2 IN targets: .15 at 16 targets,
    .036 at 256. With few targets the top of the list is mostly luck (`stability`).

    Args:
      scores_sn: [S, N], higher = more likely a member; on one scale for all targets.
      keep_sn: bool [S, N], who trained on what; valid_s: bool [S], the targets to use.

    Returns:
      float64 [N] in [0, 1]; NaN for an example without IN or without OUT targets.

    Raises:
      ValueError: scores that are not [S, N], or what `roc_curve.rows` refuses.
    """
    scores_sn, keep_sn = _two_axes(scores_sn, keep_sn, valid_s)
    inside_n, outside_n = keep_sn.sum(0), (~keep_sn).sum(0)
    won_n = np.empty(keep_sn.shape[1])
    for start in range(0, len(won_n), BLOCK):
        block = slice(start, start + BLOCK)
        won_n[block] = (rankdata(scores_sn[:, block].T, axis=1) * keep_sn[:, block].T).sum(1)
    won_n -= inside_n * (inside_n + 1) / 2
    return _fraction(won_n, inside_n * outside_n)


def exposure(scores_sn, keep_sn, fpr: float, pair_s=None, valid_s=None, *, folds: int = 8) -> np.ndarray:
    """The share of an example's IN targets that call it a member, at the pooled threshold for `fpr`.

    Its mean over examples, weighted by their IN targets, is the pooled TPR.

    Args:
      scores_sn, keep_sn, valid_s: as in `per_example`.
      fpr: in (0, 1).
      pair_s: int [S], pairs of shadows: thresholds come from the pairs of the other folds, as in `metrics.deployed`;
        None: one threshold from all targets, as in `metrics.tpr_at_fpr`.
      folds: of the pairs.

    Returns:
      float64 [N] in [0, 1]; NaN for an example without IN targets, and for all where the FPR is not resolved.

    Raises:
      ValueError: fpr outside (0, 1), fewer than 2 valid pairs, or what `per_example` refuses.
    """
    if not 0 < fpr < 1:
        raise ValueError(f"`fpr` must be in (0, 1), got {fpr}. Pass a share, such as 0.01 for 1 %.")
    valid_s = np.ones(len(scores_sn), bool) if valid_s is None else np.asarray(valid_s, bool)
    scores_sn, keep_sn = _two_axes(scores_sn, keep_sn, valid_s)
    fold_s = np.zeros(len(keep_sn), int)
    if pair_s is not None:
        fold_s = np.unique(np.asarray(pair_s)[valid_s], return_inverse=True)[1].reshape(-1) % folds
        if fold_s.max() < 1:
            raise ValueError("thresholds from other pairs need at least 2 valid pairs of shadows, got one.")
    called_sn = np.empty(keep_sn.shape, bool)
    for fold in range(fold_s.max() + 1):
        own_s = fold_s == fold
        judges_s = own_s if pair_s is None else ~own_s  # whose non-members give the threshold
        if not roc_curve.resolves(keep_sn[judges_s], fpr):
            return np.full(keep_sn.shape[1], np.nan)
        threshold = roc_curve.threshold(scores_sn[judges_s][~keep_sn[judges_s]], fpr)
        called_sn[own_s] = scores_sn[own_s] > threshold
    return _fraction((called_sn & keep_sn).sum(0), keep_sn.sum(0))


def ranks(*values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rank_n, tied_n) int64 [N]: 1 for the highest by the first of the values [N], equals by the next; those that none
    of them tells apart share the best of their ranks, and `tied_n` says how many these are. Without NaN."""
    order = np.unique(-np.stack(values, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    rank_n = rankdata(order, method="min").astype(int)
    return rank_n, np.bincount(rank_n)[rank_n]


def loss_trace_iqr(losses_snt) -> np.ndarray:
    """The inter-quartile range of an example's loss along the training of one model: who is exposed, without shadows.

    Args:
      losses_snt: the losses of each model's own snapshots and of its end [S, N, T], T at least 2.

    Returns:
      float64 [S, N], higher = more exposed; it speaks of the examples that the model was trained on.

    Source: Pollock et al. 2025 (USENIX Security, arXiv 2411.05743), LT-IQR.
    """
    losses_snt = np.asarray(losses_snt, np.float64)
    if losses_snt.ndim != 3 or losses_snt.shape[2] < 2:
        raise ValueError(f"`losses_snt` must be [S, N, T] with T >= 2, got {losses_snt.shape}. Set snapshot_epochs.")
    low, high = np.percentile(losses_snt, (25, 75), axis=2)
    return high - low


def precision(ranking_sn, exposed_n, counted_sn, *, share: float = 0.01) -> float:
    """The share of a model's top `share` by a ranking that is in the top `share` by exposure; mean over models.

    Ties at a cut are taken as in `stability`. An unrelated ranking has about `share`.

    Args:
      ranking_sn: [S, N], higher = more exposed, as one model alone tells (`loss_trace_iqr`).
      exposed_n: [N], as the shadows tell (`exposure` or `per_example`); examples that are NaN do not count.
      counted_sn: bool [S, N], the examples of each model: those that it was trained on.
      share: in (0, 1), rounded to at least one example.

    Raises:
      ValueError: shapes that do not fit, share outside (0, 1), a model with fewer than 2 counted examples.
    """
    ranking_sn, exposed_n, counted_sn = map(np.asarray, (ranking_sn, exposed_n, counted_sn))
    if ranking_sn.shape != counted_sn.shape or exposed_n.shape != ranking_sn.shape[1:] or not 0 < share < 1:
        raise ValueError(
            f"`ranking_sn` and `counted_sn` must be [S, N], `exposed_n` [N] and `share` in (0, 1), got "
            f"{ranking_sn.shape}, {counted_sn.shape}, {exposed_n.shape} and {share}."
        )
    shares = []
    for ranking_n, counted_n in zip(ranking_sn, counted_sn & ~np.isnan(exposed_n), strict=True):
        if counted_n.sum() < 2:
            raise ValueError(f"every model needs at least 2 counted examples, got {counted_n.sum()}.")
        top = max(1, round(share * counted_n.sum()))
        both = _top_chances(ranking_n[counted_n], top) * _top_chances(exposed_n[counted_n], top)
        shares.append(both.sum() / top)
    return float(np.mean(shares))


def stability(a_n, b_n, *, share: float = 0.01) -> tuple[float, float]:
    """(Spearman's rank correlation, Jaccard index of the top share) of one measure of the same examples, two seeds.

    Tied values have their mean rank. Where the cut falls among tied examples, each of them is in the top with the
    chance of a random draw among them, independently in a and b; the index |a and b| / |a or b| is that of the expected
    sizes. So ties at the cut lower even the index of `stability(a, a)`. Unrelated seeds are at share / (2 - share).

    Args:
      a_n, b_n: [N], higher = more exposed; examples that are NaN in either are left out.
      share: the share of the examples that is the top, in (0, 1), rounded to at least one example.

    Returns:
      Correlation in [-1, 1], NaN where a or b is constant; index in [0, 1].

    Raises:
      ValueError: shapes that differ or are not [N], share outside (0, 1), or fewer than 2 examples.
    """
    a_n, b_n = np.asarray(a_n), np.asarray(b_n)
    if a_n.shape != b_n.shape or a_n.ndim != 1:
        raise ValueError(f"`a_n` and `b_n` must both be [N], got {a_n.shape} and {b_n.shape}. Pass the same examples.")
    if not 0 < share < 1:
        raise ValueError(f"`share` must be in (0, 1), got {share}. Pass 0.01 for the top 1 %.")
    both = ~(np.isnan(a_n) | np.isnan(b_n))
    if both.sum() < 2:
        raise ValueError(f"`a_n` and `b_n` must have at least 2 examples that are NaN in neither, got {both.sum()}.")
    a_n, b_n = a_n[both], b_n[both]
    top = max(1, round(share * len(a_n)))
    common = (_top_chances(a_n, top) * _top_chances(b_n, top)).sum()
    constant = np.ptp(a_n) == 0 or np.ptp(b_n) == 0  # of which scipy warns
    correlation = np.nan if constant else float(spearmanr(a_n, b_n).statistic)
    return correlation, float(common / (2 * top - common))


def _top_chances(values_n: np.ndarray, top: int) -> np.ndarray:
    """float64 [N]: 1 above the `top`-th largest value, 0 below; those equal to it share what is left of `top`."""
    cut = np.partition(values_n, len(values_n) - top)[len(values_n) - top]
    above, tied = values_n > cut, values_n == cut
    return np.where(tied, (top - above.sum()) / tied.sum(), above)


def _fraction(count_n: np.ndarray, total_n: np.ndarray) -> np.ndarray:
    """count / total, NaN where the total is 0."""
    return np.where(total_n > 0, count_n / np.maximum(total_n, 1), np.nan)


def _two_axes(scores_sn, keep_sn, valid_s) -> tuple[np.ndarray, np.ndarray]:
    """`roc_curve.rows` of [S, N] alone."""
    if np.ndim(scores_sn) != 2:
        raise ValueError(f"`scores_sn` must be [S, N], got {np.shape(scores_sn)}. Pass the scores of all targets.")
    return roc_curve.rows(scores_sn, keep_sn, valid_s)
