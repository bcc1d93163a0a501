"""Rows of results as CSV, and as tables and lines that are ready to print."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = (
    "variant", "dataset", "family", "bits_weight", "bits_activation", "bits_state", "surrogate", "encoding", "T",
    "attack", "metric", "value", "low", "high", "level", "realised_fpr", "n_shadows", "n_examples", "seed",
    "chosen", "quantized", "mode", "readout", "reset", "lr", "slope", "epoch",
)  # fmt: skip
AT = "(at "  # begins the realised rate behind a TPR
CANARY = "canary_"  # begins the metrics of canaries; those of natural rows have the plain names
BOUNDS = {  # of epsilon from canaries, and the heads of their columns
    "epsilon_one_run": "epsilon at least, a fifth guessed",
    "epsilon_band": "epsilon at least, any number guessed",
}
BEYOND = ("inversion_", "attribute_")  # begin the names of threats beyond membership in the column "attack"
ACCURACIES = {"train acc": "train_accuracy", "test acc": "test_accuracy", "gap": "gap"}


def as_csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: shown(value) for key, value in row.items()})
    return out.getvalue()


def shown(value: Any) -> Any:
    if isinstance(value, float):
        return "n/a" if math.isnan(value) else f"{value:.6g}"
    return value


def read(workdir: Path) -> list[dict[str, Any]]:
    """The rows of every variant from a workdir's summary.json."""
    variants = json.loads((workdir / "summary.json").read_text())["variants"]
    return [row for summary in variants.values() for row in summary["rows"]]


def left_out(workdir: Path) -> dict[str, str]:
    """The variants that the report of a workdir leaves out, and why."""
    return json.loads((workdir / "summary.json").read_text()).get("left_out", {})


def attack_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The membership attacks of the rows, each once, in order."""
    names = dict.fromkeys(row["attack"] for row in rows)
    return [name for name in names if is_membership(name) and name != "strongest"]


def is_membership(attack: str) -> bool:
    return attack != "" and not attack.startswith(BEYOND)


def headline(names: Sequence[str]) -> str:
    """The attack that stands for all, fixed before its result is known: online LiRA where it was run."""
    for name in ("lira", "rmia", "attack_r"):
        if name in names:
            return name
    return names[0]


def table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """One line per variant and attack, ready to print: every cell is a string."""
    measures: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        measures.setdefault((row["variant"], row["attack"]), {})[row["metric"]] = row
    lines = []
    for (variant, attack), of_attack in measures.items():
        if not is_membership(attack) or attack == "strongest":
            continue
        auc, of_models = of_attack["auc"], measures.get((variant, ""), {})
        line = {"dataset": auc["dataset"], "model": variant.removeprefix(auc["dataset"] + "-")}
        for head, metric in ACCURACIES.items():
            if metric in of_models:
                line[head] = f"{of_models[metric]['value']:.3f}"
        line["attack"] = attack
        line[f"AUC [{100 * auc['level']:g} %]"] = with_interval(auc)
        for metric, row in of_attack.items():
            if metric.startswith("tpr@"):
                line[tpr_head(metric)] = with_realised_fpr(row)
        line["bal. acc"] = f"{of_attack['balanced_accuracy']['value']:.3f}"
        line["non-members (distinct)"] = f"{auc['pooled_non_members']} ({auc['distinct_non_members']})"
        lines.append(line)
    return lines


def tpr_head(metric: str) -> str:
    """The head of a column: "TPR @ 1 % FPR" of "tpr@0.01"."""
    return f"TPR @ {100 * float(metric.removeprefix('tpr@')):g} % FPR"


def strongest_table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """One line per variant: the strongest attack by AUC and at each FPR, ready to print."""
    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["attack"] != "strongest" or row["metric"].startswith(CANARY):
            continue
        line = lines.setdefault(row["variant"], {"variant": row["variant"]})
        head = "AUC" if row["metric"] == "auc" else tpr_head(row["metric"])
        if row["value"] is None:
            line[head] = "n/a"
        elif row["metric"] == "auc":
            line[head] = f"{with_interval(row)} ({row['chosen']})"
        else:
            low, high = (100 * row[end] for end in ("low", "high"))
            line[head] = f"{100 * row['value']:.2f} % [{low:.2f}, {high:.2f}] ({row['chosen']})"
    return list(lines.values())


def canary_table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """One line per variant and attack of a run with canaries, ready to print: the leak of natural rows and of canaries,
    and the bounds of epsilon from the canaries where there are any."""
    found = {(row["variant"], row["attack"], row["metric"]): row for row in rows}
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for (variant, attack, metric), row in found.items():
        if not metric.startswith(CANARY):
            continue
        line = lines.setdefault((variant, attack), {"variant": variant, "attack": attack})
        plain = metric.removeprefix(CANARY)
        if plain.startswith("epsilon_"):
            line[BOUNDS[plain.partition("@")[0]]] = f"{row['value']:.2f}"
            continue
        head = "AUC" if plain == "auc" else tpr_head(plain)
        line[f"{head}, natural"] = in_short(found[variant, attack, plain])
        line[f"{head}, canaries"] = in_short(row)
    heads = dict.fromkeys(head for line in lines.values() for head in line)
    return [{head: line.get(head, "n/a") for head in heads} for line in lines.values()]


def in_short(row: Mapping[str, Any]) -> str:
    """A measure with its interval where there is one; a TPR in percent."""
    if row["value"] is None:
        return "n/a"
    if row["metric"].removeprefix(CANARY) == "auc":
        return with_interval(row) if "low" in row else f"{row['value']:.3f}"
    return in_percent(row) if "low" in row else f"{100 * row['value']:.2f} %"


def beyond_tables(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, str]]]:
    """threat -> one line per variant, every measure with its interval, ready to print."""
    by_threat: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        if row["attack"].startswith(BEYOND):
            lines = by_threat.setdefault(row["attack"].replace("_", " "), {})
            line = lines.setdefault(row["variant"], {"variant": row["variant"]})
            line[row["metric"].replace("_", " ")] = "n/a" if row["value"] is None else with_interval(row)
    return {threat: list(lines.values()) for threat, lines in by_threat.items()}


def privacy_lines(rows: list[dict[str, Any]]) -> list[str]:
    """One sentence per variant that was trained privately."""
    lines = []
    for row in rows:
        if row["metric"] != "dp_epsilon":
            continue
        if math.isinf(row["value"]):
            guarantee = f"not differentially private by any finite epsilon at delta {row['delta']:g}"
        else:
            guarantee = f"({row['value']:.4g}, {row['delta']:g})-differentially private, {row['adjacency']}"
        how = f"noise {row['noise']:.4g}, rate {row['rate']:.4g}, {row['steps']} steps"
        lines.append(f"{row['variant']}: {guarantee} ({how})")
    return lines


def with_interval(row: Mapping[str, Any]) -> str:
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def in_percent(row: Mapping[str, Any]) -> str:
    """A share and its interval in percent."""
    if row["value"] is None:
        return "n/a"
    value, low, high = (f"{100 * row[end]:.2f}" for end in ("value", "low", "high"))
    return f"{value} [{low}, {high}] %"


def with_realised_fpr(row: Mapping[str, Any]) -> str:
    return "n/a" if row["value"] is None else f"{in_percent(row)} {AT}{100 * row['realised_fpr']:.3f} %)"
