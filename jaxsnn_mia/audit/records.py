"""The owner's records one by one: how exposed each is, and its rank."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxsnn_mia.metrics import exposure
from jaxsnn_mia.report import plots, tables
from jaxsnn_mia.report.audited import Audit
from jaxsnn_mia.store.files import write_text

SHOWN = 50  # on the page; records.csv has all


def write(workdir: Path, audit: Audit, ids_n: np.ndarray) -> list[dict[str, Any]]:
    """Writes records.csv, the most exposed first, and gives its first rows for the page."""
    with np.load(workdir / "metrics" / "examples.npz") as known:
        rows = table(audit, ids_n, dict(known))
    write_text(workdir / "records.csv", plots.as_csv(rows))
    return rows[:SHOWN]


def table(audit: Audit, ids_n: np.ndarray, known: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """A row for each example, from its scores and from the arrays of `rows.exposed_examples`, or none of these:

    "id"; "members", how many of the targets trained on it, and "non_members"; "attack", whose "score" is the mean over
    the targets that trained on it less that over the others (one target: its score); "caught", the share of the former
    that the attack tells at the first FPR; "exposure", the AUC of the example over targets (`exposure.per_example`);
    "rank" by score, 1 for the highest, and "tied", how many have the same.
    """
    attack = tables.headline(list(audit.scores))
    score_n = contrast(audit.scores[attack], audit.keep_sn)
    rank_n, tied_n = exposure.ranks(np.nan_to_num(score_n, nan=-np.inf))
    rows = []
    for n in np.argsort(rank_n, kind="stable"):
        rows.append({
            "id": str(ids_n[n]), "members": int(audit.keep_sn[:, n].sum()),
            "non_members": int((~audit.keep_sn[:, n]).sum()), "attack": attack, "score": float(score_n[n]),
            "caught": float(known["caught"][n]) if known else float("nan"),
            "exposure": float(known["auc"][n]) if known else float("nan"),
            "rank": int(rank_n[n]), "tied": int(tied_n[n]),
        })  # fmt: skip
    return rows


def contrast(scores_sn: np.ndarray, keep_sn: np.ndarray) -> np.ndarray:
    """float64 [N]: the mean score of the targets that trained on an example less that of the others; where one side has
    no target, the mean of the other."""
    means = []
    for side_sn in (keep_sn, ~keep_sn):
        count_n = side_sn.sum(0)
        total_n = np.where(side_sn, np.asarray(scores_sn, np.float64), 0.0).sum(0)
        means.append(np.where(count_n > 0, total_n / np.maximum(count_n, 1), np.nan))
    inside_n, outside_n = means
    both_n = inside_n - outside_n
    return np.where(np.isnan(inside_n), outside_n, np.where(np.isnan(outside_n), inside_n, both_n))
