"""Whether the same examples are exposed again: in the other half of the shadows, and under other seeds."""

import itertools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from jaxsnn_mia.metrics import exposure
from jaxsnn_mia.report import tables
from jaxsnn_mia.report.reading import Variant, candidate_rows
from jaxsnn_mia.store.stage import read_manifest

SEED = re.compile(r"-seed\d+")


def halves(variants: Mapping[str, Variant]) -> list[dict[str, str]]:
    """One line per variant: two halves of its shadows against each other, ready to print."""
    lines = []
    for name, variant in variants.items():
        if "halves" in variant.examples:
            rank, overlap = variant.examples["halves"].tolist()
            lines.append({"variant": name, "rank correlation": shown(rank), "overlap of the top 1 %": shown(overlap)})
    return lines


def over_seeds(variants: Mapping[str, Variant], level: float) -> list[dict[str, str]]:
    """One line per group of variants that differ in their seed alone, ready to print: the AUC over seeds with its t
    interval of that level, and the agreement of two seeds on which examples are exposed."""
    groups: dict[str, dict[str, Variant]] = {}
    for name, variant in variants.items():
        groups.setdefault(SEED.sub("", name), {})[name] = variant
    lines = [line_of_seeds(name, list(of.values()), level) for name, of in groups.items() if len(of) > 1]
    return [line for line in lines if line]


def line_of_seeds(name: str, variants: list[Variant], level: float) -> dict[str, str] | None:
    """The line of one group; None where fewer than two of its variants have the attack."""
    attack = tables.headline(tables.attack_names(variants[0].rows))
    rows = [variant.measured.row(attack, "auc") for variant in variants]
    aucs = [row["value"] for row in rows if row]
    if len(aucs) < 2:
        return None
    mean, deviation = float(np.mean(aucs)), float(np.std(aucs, ddof=1))
    half_width = stats.t.ppf(0.5 + level / 2, len(aucs) - 1) * deviation / len(aucs) ** 0.5
    agreed = [agreement(*pair) for pair in itertools.combinations(variants, 2)]
    known = np.array([pair for pair in agreed if pair])
    rank, overlap = known.mean(0).tolist() if len(known) else (np.nan, np.nan)
    auc: dict[str, Any] = {"value": mean, "low": mean - half_width, "high": mean + half_width}
    return {
        "variant": name,
        "seeds": str(len(variants)),
        f"AUC of {attack}": tables.with_interval(auc),
        "deviation": f"{deviation:.4f}",
        "rank correlation": shown(rank),
        "overlap of the top 1 %": shown(overlap),
    }


def agreement(a: Variant, b: Variant) -> tuple[float, float] | None:
    """`exposure.stability` of the examples that are candidates under both seeds; None where nobody knows which."""
    if not (a.examples and b.examples and "data" in a.paths and "data" in b.paths):
        return None
    about = [read_manifest(of.paths["data"]) for of in (a, b)]
    if about[0]["sha256"] != about[1]["sha256"] or any(of["inputs"]["rows"] for of in about):  # each drew its own rows
        return None
    rows_a, rows_b = (candidate_rows(of.paths["data"]) for of in (a, b))
    _, at_a, at_b = np.intersect1d(rows_a, rows_b, return_indices=True)
    try:
        return exposure.stability(a.examples["auc"][at_a], b.examples["auc"][at_b])
    except ValueError:  # too few that both have
        return None


def shown(value: float) -> str:
    return "n/a" if np.isnan(value) else f"{value:.2f}"
