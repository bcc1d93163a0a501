"""How well scores tell members from non-members. Tied scores are one threshold, never ordered by chance.

Scores and membership are 1-D, or [S, N] for all targets at once with `valid_s` bool [S]. AUC is the mean of the
targets' AUCs; everything at one threshold (TPR at a fixed FPR, balanced accuracy) pools all targets.
"""

from typing import NamedTuple

import numpy as np

FEWEST_FALSE_POSITIVES = 10  # an FPR is resolved where FPR x pooled non-members is at least this


class Roc(NamedTuple):
    """One point per distinct score, from (0, 0) at threshold +inf to (1, 1): float64 arrays [K]."""

    fpr: np.ndarray
    tpr: np.ndarray
    threshold: np.ndarray


def rows(scores, member, valid_s=None) -> tuple[np.ndarray, np.ndarray]:
    """Checked (scores float [S, N], member bool [S, N]) of the valid targets.

    Raises ValueError for shapes that differ, member not boolean, NaN scores, or a target without members or
    without non-members.
    """
    scores, member = np.asarray(scores, np.float64), np.asarray(member)
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
    scores_sn, member_sn = rows(scores, member, valid_s)
    return curve(scores_sn.ravel(), member_sn.ravel())


def curve(scores: np.ndarray, member: np.ndarray, weight: np.ndarray | None = None) -> Roc:
    order = np.argsort(-scores, kind="stable")
    scores, member = scores[order], member[order]
    inside = member.astype(np.float64) if weight is None else member * weight[order]
    outside = (~member).astype(np.float64) if weight is None else ~member * weight[order]
    ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
    tp, fp = np.cumsum(inside)[ends], np.cumsum(outside)[ends]
    return Roc(
        np.concatenate([[0.0], fp / fp[-1]]),
        np.concatenate([[0.0], tp / tp[-1]]),
        np.concatenate([[np.inf], scores[ends]]),
    )


def auc_s(scores, member, valid_s=None) -> np.ndarray:
    """float64 [S valid]: each target's AUC, the chance that a member outscores a non-member, ties one half."""
    scores_sn, member_sn = rows(scores, member, valid_s)
    return np.array([area(curve(*row)) for row in zip(scores_sn, member_sn, strict=True)])


def area(roc: Roc) -> float:
    return float(np.trapezoid(roc.tpr, roc.fpr))


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
    if not 0 <= fpr <= 1:
        raise ValueError(f"`fpr` must be in [0, 1], got {fpr}.")
    scores_sn, member_sn = rows(scores, member, valid_s)
    if np.ndim(scores) == 2 and not resolves(member_sn, fpr):
        return np.nan, np.nan
    return at_fpr(curve(scores_sn.ravel(), member_sn.ravel()), fpr)


def resolves(member_sn: np.ndarray, fpr: float) -> bool:
    """Whether the pooled non-members are enough to speak of this FPR."""
    return fpr * np.sum(~member_sn) >= FEWEST_FALSE_POSITIVES


def balanced_accuracy(scores, member, valid_s=None) -> float:
    """(TPR + TNR) / 2 at the best single threshold for all targets, in [.5, 1]."""
    curve = roc(scores, member, valid_s)
    return float(np.max((curve.tpr + 1 - curve.fpr) / 2))
