"""Whether the same examples are exposed again: in the other half of the shadows, and under other seeds."""

import itertools
from collections.abc import Mapping

import numpy as np

from jaxsnn_mia.metrics import exposure
from jaxsnn_mia.report import seeds
from jaxsnn_mia.report.reading import Variant, candidate_rows
from jaxsnn_mia.store.stage import read_manifest


def halves(variants: Mapping[str, Variant]) -> list[dict[str, str]]:
    """One line per variant: two halves of its shadows against each other, ready to print."""
    lines = []
    for name, variant in variants.items():
        if "halves" in variant.examples:
            rank, overlap = variant.examples["halves"].tolist()
            lines.append({"variant": name, "rank correlation": shown(rank), "overlap of the top 1 %": shown(overlap)})
    return lines


def over_seeds(variants: Mapping[str, Variant]) -> list[dict[str, str]]:
    """One line per group of variants that differ in their seed alone, ready to print: the agreement of two seeds on
    which examples are exposed, a mean over pairs of seeds."""
    return [line_of_seeds(name, list(of.values())) for name, of in seeds.groups(variants).items()]


def line_of_seeds(name: str, variants: list[Variant]) -> dict[str, str]:
    agreed = [agreement(*pair) for pair in itertools.combinations(variants, 2)]
    known = np.array([pair for pair in agreed if pair])
    rank, overlap = known.mean(0).tolist() if len(known) else (np.nan, np.nan)
    return {
        "variant": name,
        "seeds": str(len(variants)),
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
