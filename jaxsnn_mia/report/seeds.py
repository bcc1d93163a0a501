"""What holds over seeds: means over the variants that differ in the seed of their splits and training alone."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from jaxsnn_mia.report import tables
from jaxsnn_mia.report.reading import Variant

SEED = re.compile(r"-seed\d+")


def groups(variants: Mapping[str, Variant]) -> dict[str, dict[str, Variant]]:
    """name without the seed -> the variants that differ in it alone, where there are several."""
    by_name: dict[str, dict[str, Variant]] = {}
    for name, variant in variants.items():
        by_name.setdefault(SEED.sub("", name), {})[name] = variant
    return {name: of for name, of in by_name.items() if len(of) > 1}


def rows(variants: Mapping[str, Variant], level: float) -> list[dict[str, Any]]:
    """A row of results.csv for each group and measure: its mean over seeds with Student's interval of that level. The
    measures are the test accuracy, and the AUC and the TPRs of `tables.headline` and of the strongest attack, where
    every seed has them."""
    return [row for name, of in groups(variants).items() for row in rows_of(name, list(of.values()), level)]


def rows_of(name: str, variants: list[Variant], level: float) -> list[dict[str, Any]]:
    first = variants[0]
    seeds = " ".join(str(variant.rows[0]["seed"]) for variant in variants)
    measures = [("", "test_accuracy")]
    for attack in (tables.headline(tables.attack_names(first.rows)), "strongest"):
        metrics = [row["metric"] for row in first.rows if row["attack"] == attack]
        measures += [(attack, metric) for metric in metrics if metric == "auc" or metric.startswith("tpr@")]
    made = []
    for attack, metric in measures:
        found = [variant.measured.row(attack, metric) for variant in variants]
        known = [row for row in found if row and row["value"] is not None]
        if len(known) < len(variants):
            continue
        values = [row["value"] for row in known]
        mean, low, high = interval(values, level)
        own = {"variant": name, "seed": seeds, "value": mean, "low": low, "high": high, "level": level, "chosen": ""}
        made.append({**known[0], **own, "n_seeds": len(values), "realised_fpr": ""})
    return made


def interval(values: list[float], level: float) -> tuple[float, float, float]:
    """The mean of values in [0, 1] over seeds and Student's interval of it, within [0, 1]."""
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    half_width = float(stats.t.ppf(0.5 + level / 2, len(values) - 1)) * deviation / len(values) ** 0.5
    return mean, max(mean - half_width, 0.0), min(mean + half_width, 1.0)


def table(of_seeds: list[dict[str, Any]]) -> list[dict[str, str]]:
    """One line per group and attack, ready to print."""
    accuracy = {row["variant"]: row for row in of_seeds if row["metric"] == "test_accuracy"}
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in of_seeds:
        name, attack, metric = row["variant"], row["attack"], row["metric"]
        if not attack:
            continue
        line = lines.setdefault((name, attack), {"variant": name, "seeds": str(row["n_seeds"])})
        if name in accuracy:
            line["test acc"] = tables.with_interval(accuracy[name])
        line["attack"] = attack
        if metric == "auc":
            line["AUC"] = tables.with_interval(row)
        else:
            line[tables.tpr_head(metric)] = tables.in_percent(row)
    heads = dict.fromkeys(head for line in lines.values() for head in line)
    return [{head: line.get(head, "n/a") for head in heads} for line in lines.values()]
