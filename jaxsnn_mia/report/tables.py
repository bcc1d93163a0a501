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
BEYOND = ("inversion_", "attribute_")  # first letters of what stands in the column "attack" for other threats
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


def attack_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The membership attacks of the rows, in order."""
    shown = (row["attack"] for row in rows if is_membership(row["attack"]))
    return list(dict.fromkeys(name for name in shown if name != "strongest"))


def is_membership(attack: str) -> bool:
    return attack != "" and not attack.startswith(BEYOND)


def headline(names: Sequence[str]) -> str:
    """The attack that stands for all, fixed before its result is known: online LiRA where it was run."""
    return next((name for name in ("lira", "rmia", "attack_r") if name in names), next(iter(names)))


def table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """One line per variant and attack, ready to print: every cell is a string."""
    by_key = {(row["variant"], row["attack"], row["metric"]): row for row in rows}
    lines = []
    shown = (row for row in rows if is_membership(row["attack"]) and row["attack"] != "strongest")
    for variant, attack in dict.fromkeys((row["variant"], row["attack"]) for row in shown):

        def value(metric: str, attack=attack, variant=variant) -> dict[str, Any]:
            return by_key[variant, attack, metric]

        auc = value("auc")
        line = {
            "dataset": auc["dataset"],
            "model": variant.removeprefix(auc["dataset"] + "-"),
            **{
                head: f"{value(metric, '')['value']:.3f}"
                for head, metric in ACCURACIES.items()
                if (variant, "", metric) in by_key
            },
            "attack": attack,
            "AUC [95 %]".replace("95", f"{100 * auc['level']:g}"): with_interval(auc),
        }
        for of, name, metric in by_key:
            if (of, name) == (variant, attack) and metric.startswith("tpr@"):
                line[f"TPR @ {100 * float(metric[4:]):g} % FPR"] = with_realised_fpr(value(metric))
        line["bal. acc"] = f"{value('balanced_accuracy')['value']:.3f}"
        line["non-members (distinct)"] = f"{auc['pooled_non_members']} ({auc['distinct_non_members']})"
        lines.append(line)
    return lines


def strongest_table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """One line per variant: the strongest attack by AUC and at each FPR, ready to print."""
    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["attack"] == "strongest":
            line = lines.setdefault(row["variant"], {"variant": row["variant"]})
            head = "AUC" if row["metric"] == "auc" else f"TPR @ {100 * float(row['metric'][4:]):g} % FPR"
            shown = f"{row['value']:.3f}" if row["metric"] == "auc" else f"{100 * (row['value'] or 0):.2f} %"
            line[head] = "n/a" if row["value"] is None else f"{shown} ({row['chosen']})"
    return list(lines.values())


def beyond_tables(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, str]]]:
    """threat -> one line per variant, every measure with its interval, ready to print."""
    tables: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        if row["attack"].startswith(BEYOND):
            line = tables.setdefault(row["attack"], {}).setdefault(row["variant"], {"variant": row["variant"]})
            line[row["metric"].replace("_", " ")] = "n/a" if row["value"] is None else with_interval(row)
    return {attack.replace("_", " "): list(lines.values()) for attack, lines in tables.items()}


def privacy_lines(rows: list[dict[str, Any]]) -> list[str]:
    """One sentence per variant that was trained privately."""
    lines = []
    for row in rows:
        if row["metric"] == "dp_epsilon":
            how = f"noise {row['noise']:.4g}, rate {row['rate']:.4g}, {row['steps']} steps"
            what = (
                f"({row['value']:.4g}, {row['delta']:g})-differentially private, {row['adjacency']}"
                if row["value"] < float("inf")
                else f"not differentially private by any finite epsilon at delta {row['delta']:g}"
            )
            lines.append(f"{row['variant']}: {what} ({how})")
    return lines


def with_interval(row: Mapping[str, Any]) -> str:
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def with_realised_fpr(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "n/a"
    return f"{100 * row['value']:.2f} % (at {100 * row['realised_fpr']:.3f} %)"


def as_text(lines: list[dict[str, str]]) -> str:
    """A plain table with aligned columns."""
    heads = list(lines[0])
    widths = [max(len(head), *(len(line[head]) for line in lines)) for head in heads]
    out = ["  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True)).rstrip()]
    out += ["  ".join(line[h].ljust(w) for h, w in zip(heads, widths, strict=True)).rstrip() for line in lines]
    return "\n".join(out)
