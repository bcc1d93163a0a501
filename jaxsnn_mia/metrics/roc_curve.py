"""How well scores tell members from non-members. Tied scores are one threshold, never ordered by chance.

Scores and membership are 1-D, or [S, N] for all targets at once with `valid_s` bool [S]. AUC is the mean of the
targets' AUCs; everything at one threshold (TPR at a fixed FPR, balanced accuracy) pools all targets.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

FEWEST_FALSE_POSITIVES = 10  # an FPR is resolved where FPR x pooled non-members is at least this


class Roc(NamedTuple):
    """One point per distinct score, from (0, 0) at threshold +inf to (1, 1): float64 arrays [K]."""

    fpr: np.ndarray
    tpr: np.ndarray
    threshold: np.ndarray


def rows(scores, member, valid_s=None) -> tuple[np.ndarray, np.ndarray]:
    """Checked (scores float32 or float64 [S, N], member bool [S, N]) of the valid targets.

    Raises ValueError for shapes that differ, member not boolean, NaN scores, or a target without members or
    without non-members.
    """
    scores, member = np.asarray(scores), np.asarray(member)
    scores = scores if scores.dtype in (np.float32, np.float64) else scores.astype(np.float64)
    if scores.shape != member.shape or scores.ndim not in (1, 2):
        raise ValueError(f"scores and member must both be [N] or [S, N], got {scores.shape} and {member.shape}.")
    if member.dtype != bool:
        if not np.isin(member, (0, 1)).all():
            raise ValueError(f"member must be boolean, got {member.dtype}.")
        member = member.astype(bool)
    scores_sn, member_sn = np.atleast_2d(scores), np.atleast_2d(member)
    if valid_s is not None:
        scores_sn, member_sn = scores_sn[np.asarray(valid_s, bool)], member_sn[np.asarray(valid_s, bool)]
    if np.isnan(scores_sn).any():
        raise ValueError("scores must not be NaN. Mark diverged targets in `valid_s`.")
    inside_s = member_sn.sum(1)
    if not len(member_sn) or (inside_s == 0).any() or (inside_s == member_sn.shape[1]).any():
        raise ValueError("every target needs members and non-members, got a target with only one of them.")
    return scores_sn, member_sn


def roc(scores, member, valid_s=None) -> Roc:
    """The ROC curve; [S, N] scores are pooled. Independent of the order of the input, exact at ties."""
    scores, member = (array_sn.ravel() for array_sn in rows(scores, member, valid_s))
    order = np.argsort(-scores, kind="stable")
    scores, member = scores[order], member[order]
    ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)  # the last one of equal scores
    tp, fp = np.cumsum(member)[ends], np.cumsum(~member)[ends]
    return Roc(
        np.concatenate([[0.0], fp / fp[-1]]),
        np.concatenate([[0.0], tp / tp[-1]]),
        np.concatenate([[np.inf], scores[ends]]),
    )


def sides(scores: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(members' scores, non-members' scores), each in order."""
    inside, outside = scores[member], scores[~member]
    inside.sort()
    outside.sort()
    return inside, outside


def auc_s(scores, member, valid_s=None) -> np.ndarray:
    """float64 [S valid]: each target's AUC, the chance that a member outscores a non-member, ties one half."""
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        return np.array(list(pool.map(_area, *rows(scores, member, valid_s))))


def _area(scores_n: np.ndarray, member_n: np.ndarray) -> float:
    """The Mann-Whitney statistic of one target, in [0, 1]."""
    inside, outside = sides(scores_n, member_n)
    beaten = sum(np.searchsorted(outside, inside, side=side).sum() for side in ("left", "right"))  # type: ignore[call-overload]
    return float(beaten) / (2 * len(inside) * len(outside))


def auc(scores, member, valid_s=None) -> float:
    """Mean over targets of the area under the ROC curve, in [0, 1]."""
    return float(auc_s(scores, member, valid_s).mean())


def at_fpr(roc: Roc, fpr: float) -> tuple[float, float]:
    """(TPR, realised FPR) at the largest realised FPR that is not above `fpr`."""
    last = int(np.searchsorted(roc.fpr, fpr * (1 + 1e-12), side="right")) - 1
    return float(roc.tpr[last]), float(roc.fpr[last])


def tpr_at_fpr(scores, member, fpr: float, valid_s=None) -> tuple[float, float]:
    """(TPR, realised FPR) at the largest realised FPR not above `fpr`, one threshold for all targets.

    (nan, nan) for [S, N] scores where fpr x pooled non-members < 10. Raises ValueError for fpr outside [0, 1].
    Source: Carlini et al. 2022 (arXiv 2112.03570), section IV.
    """
    return tprs_at_fprs(scores, member, (fpr,), valid_s)[0]


def tprs_at_fprs(scores, member, fprs, valid_s=None) -> list[tuple[float, float]]:
    """`tpr_at_fpr` at each of `fprs`."""
    for fpr in fprs:
        if not 0 <= fpr <= 1:
            raise ValueError(f"`fpr` must be in [0, 1], got {fpr}.")
    scores_sn, member_sn = rows(scores, member, valid_s)
    inside, outside = scores_sn[member_sn], scores_sn[~member_sn]
    pooled = np.ndim(scores) == 2
    return [
        (np.nan, np.nan) if pooled and not resolves(member_sn, fpr) else _rates(inside, outside, fpr) for fpr in fprs
    ]


def _rates(inside: np.ndarray, outside: np.ndarray, fpr: float) -> tuple[float, float]:
    """(TPR, realised FPR) of members' and non-members' scores."""
    if fpr == 1:
        return 1.0, 1.0
    limit = threshold(outside, fpr)
    return float((inside > limit).mean()), float((outside > limit).mean())


def threshold(outside: np.ndarray, fpr: float) -> float:
    """The smallest score of non-members [M] above which at most a share `fpr` in [0, 1) of them lies. A higher score is
    called a member."""
    last = len(outside) - 1 - int(fpr * (1 + 1e-12) * len(outside))
    return float(np.partition(outside, last)[last])


def resolves(member_sn: np.ndarray, fpr: float) -> bool:
    """Whether the pooled non-members are enough to speak of this FPR."""
    return fpr * np.sum(~member_sn) >= FEWEST_FALSE_POSITIVES


def balanced_accuracy(scores, member, valid_s=None) -> float:
    """(TPR + TNR) / 2 at the best single threshold for all targets, in [.5, 1]."""
    inside, outside = sides(*rows(scores, member, valid_s))
    first = np.flatnonzero(np.append(True, inside[1:] != inside[:-1]))  # of equal scores, a threshold takes all
    below = _in_threads(lambda part: np.searchsorted(outside, inside[part], side="left"), first)
    tpr, fpr = 1 - first / len(inside), 1 - below / len(outside)
    return float(max((tpr + 1 - fpr).max() / 2, 0.5))


def _in_threads(fn, index: np.ndarray) -> np.ndarray:
    """fn of parts of `index`, joined."""
    cores = min(os.cpu_count() or 1, 8)
    with ThreadPoolExecutor(cores) as pool:
        return np.concatenate(list(pool.map(fn, np.array_split(index, cores))))


def deployed(scores_sn, member_sn, fpr: float, pair_s, valid_s=None, *, folds: int = 8) -> tuple[float, float]:
    """(TPR, realised FPR), means over targets, at thresholds that never saw the target or its partner.

    This is what an attacker gets who calibrates on shadows alone. The realised FPR may lie above `fpr`.

    Args:
      scores_sn, member_sn: [S, N].
      fpr: in [0, 1).
      pair_s: int [S], names pairs of shadows; thresholds come from the pairs of the other folds.
      valid_s: bool [S], the targets to use; folds: of the pairs.

    Returns:
      Two shares in [0, 1]; (nan, nan) where the non-members of the other folds do not resolve `fpr`.

    Raises:
      ValueError: fewer than 2 valid pairs.
    """
    valid_s = np.ones(len(scores_sn), bool) if valid_s is None else np.asarray(valid_s, bool)
    scores_sn, member_sn = rows(scores_sn, member_sn, valid_s)
    fold_s = np.unique(np.asarray(pair_s)[valid_s], return_inverse=True)[1].reshape(-1) % folds
    if fold_s.max() < 1:
        raise ValueError("thresholds from other pairs need at least 2 valid pairs of shadows, got one.")
    rates = []
    for fold in range(fold_s.max() + 1):
        others_s = fold_s != fold
        if not resolves(member_sn[others_s], fpr):
            return np.nan, np.nan
        limit = threshold(scores_sn[others_s][~member_sn[others_s]], fpr)
        for s in np.flatnonzero(~others_s):
            called_n, member_n = scores_sn[s] > limit, member_sn[s]
            rates.append((called_n[member_n].mean(), called_n[~member_n].mean()))
    tpr, realised = np.mean(rates, 0)
    return float(tpr), float(realised)


def ppv(tpr: float, fpr: float, prior: float) -> float:
    """The share of true members among those who are called members, where a share `prior` in (0, 1) of all are members;
    nan where nobody is called. Source: Jayaraman et al. 2021 (arXiv 2005.10881), section 3."""
    if not 0 < prior < 1:
        raise ValueError(f"`prior` must be in (0, 1), got {prior}.")
    called = prior * tpr + (1 - prior) * fpr
    return prior * tpr / called if called > 0 else float("nan")
