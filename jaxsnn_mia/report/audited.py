"""What the metrics of a variant are computed from: an `Audit`, or a part of its examples."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxsnn_mia.metrics import energy
from jaxsnn_mia.privacy import accounting
from jaxsnn_mia.settings import Metrics


class Audit(NamedTuple):
    """What the metrics of one variant are computed from.

    Axis S are the targets: all shadows, each once, or separate models. N are the examples.

    Attributes:
      name: of the variant.
      labels: columns that say what the rows are about.
      settings: rates, intervals, replicates and the seed of the bootstrap.
      keep_sn: bool [S, N], which target trained on which example.
      usable_s: bool [S], targets that did not diverge, and whose partner did not.
      pair_s: int [S]; targets with the same number are a pair, one unit of the bootstrap.
      unit_n: int [N]; examples with the same number are duplicates, one unit of the bootstrap.
      correct_sn: [S, N], 1 where a target classifies an example correctly; None where only losses are known.
      correct_test: [S, tests], the same on the test split of the source; None where it has none.
      scores: float [S, N] of each attack; a member should have a higher score.
      diverged: how many shadows diverged.
      coins: whether a fair coin of its own included every example (`splits.rows=iid`).
      correct_validation: [S, validation rows], as `correct_test`.
      privacy: what private training guarantees for each model alone; None without it.
      stages: the folders of the threats beyond membership.
      beyond: the rows of these threats; their attacks begin with one of `tables.BEYOND`.
      confidence_sn: float [S, N], the logit confidence, mean over queries; it tells which examples are exposed.
      losses_snt: float [S, N, T], the loss at snapshots of the training and at its end; None where not asked for.
      data: a hash that only the same examples in the same roles have.
      work: the operations of one inference and their energy; None where they were not counted.
      canary_n: bool [N], which examples are canaries; None where there are none. The rows are then those of the natural
        examples, and those of the canaries have names that begin with `tables.CANARY`.
    """

    name: str
    labels: dict[str, Any]
    settings: Metrics
    keep_sn: np.ndarray
    usable_s: np.ndarray
    pair_s: np.ndarray
    unit_n: np.ndarray
    correct_sn: np.ndarray | None
    correct_test: np.ndarray | None
    scores: dict[str, np.ndarray]
    diverged: int = 0
    coins: bool = False
    correct_validation: np.ndarray | None = None
    privacy: accounting.Privacy | None = None
    stages: Sequence[str] = ()
    beyond: Sequence[dict[str, Any]] = ()
    confidence_sn: np.ndarray | None = None
    losses_snt: np.ndarray | None = None
    data: str = ""
    work: energy.Work | None = None
    canary_n: np.ndarray | None = None


def groups(audit: Audit) -> tuple[Audit, Audit | None]:
    """(the audit of the natural examples, that of the canaries); the audit itself and None where it has no canaries."""
    if audit.canary_n is None:
        return audit, None
    return at(audit, ~audit.canary_n), at(audit, audit.canary_n)


def at(audit: Audit, chosen_n: np.ndarray) -> Audit:
    """An audit of the chosen examples alone, bool [N]."""
    return audit._replace(
        keep_sn=audit.keep_sn[:, chosen_n],
        unit_n=audit.unit_n[chosen_n],
        correct_sn=None if audit.correct_sn is None else np.asarray(audit.correct_sn)[:, chosen_n],
        confidence_sn=None if audit.confidence_sn is None else audit.confidence_sn[:, chosen_n],
        losses_snt=None if audit.losses_snt is None else audit.losses_snt[:, chosen_n],
        scores={name: scores_sn[:, chosen_n] for name, scores_sn in audit.scores.items()},
        canary_n=None,
    )


def compared_by(audit: Audit) -> list[str]:
    """What two variants must have in common to be compared: the examples, and which target trained on which."""
    return [audit.data, *map(array_sha256, (audit.keep_sn, audit.unit_n))]


def paired_by(audit: Audit) -> list[Any]:
    """What they must have in common as well for their replicates to be paired: the usable targets and the draws."""
    m = audit.settings
    return [*map(array_sha256, (audit.usable_s, audit.pair_s)), m.seed, m.replicates_auc, m.replicates_tpr]


def array_sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
