"""Conditions and effects of the second study, from the rows that `run.py` wrote."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.study import conditions, series, sheet
from experiments.study.second import frontier
from experiments.study.second.frontier import Condition, Effect

LEAKY, LAST = conditions.READOUTS
Rows = Sequence[Mapping[str, str]]


class Both(NamedTuple):
    """The effect on each of the primary outcomes: the AUC, and log10 of the TPR at 1 % FPR."""

    auc: Effect
    tpr: Effect | None  # None where so few non-members do not resolve the rate

    def verdict(self, level: float) -> str:
        if self.tpr is None:
            return frontier.OPEN
        return frontier.verdict(self.auc, self.tpr, level)


def rows_of(results: Path, table: str) -> Rows:
    """The rows of a table over all data sets."""
    return [row for path in sorted((results / table).glob("*.csv")) for row in sheet.read(path)]


def sets(results: Path) -> dict[str, tuple[float, float]]:
    """data set -> (chance, share of the largest class)."""
    return {
        row["dataset"]: (1 / int(row["classes"]), float(row["largest_share"]))
        for row in sheet.read(results / "sets.csv")
    }


def condition(rows: Rows, leak: str, **where: str) -> Condition | None:
    """The points of the rows whose columns are as in `where`, as arrays [seeds, rates, epochs]; None where there are
    none or a point is missing. A TPR becomes its log10, 0 half of one found member."""
    chosen = [row for row in rows if all(row[name] == value for name, value in where.items())]
    axes = [sorted({row[name] for row in chosen}, key=float) for name in ("seed", "lr", "epoch")]
    shape = tuple(map(len, axes))
    if not chosen or len(chosen) != np.prod(shape):
        return None
    arrays = {name: np.full(shape, np.nan) for name in ("test_accuracy", "validation_accuracy", leak)}
    for row in chosen:
        at = tuple(axis.index(row[name]) for axis, name in zip(axes, ("seed", "lr", "epoch"), strict=True))
        for name, array in arrays.items():
            array[at] = number(row[name])
    if "tpr" in leak:
        members = int(chosen[0]["n_shadows"]) * int(chosen[0]["n_examples"]) / 2
        arrays[leak] = np.log10(np.maximum(arrays[leak], 0.5 / members))
    return Condition(arrays["test_accuracy"], arrays["validation_accuracy"], arrays[leak])


def number(text: str) -> float:
    """The number of a cell; NaN of an empty one too."""
    return series.NAN if text == "" else series.number(text)


def compared(
    rows: Rows, known: tuple[float, float], baseline: dict[str, str], other: dict[str, str], attack: str = "strongest"
) -> Both | None:
    """How much less `other` leaks than `baseline` on one data set; None where it is void or not run."""
    found: list[Effect | None] = []
    for metric in ("auc", "tpr@0.01"):
        pair = [condition(rows, f"{attack} {metric}", **where) for where in (baseline, other)]
        if pair[0] is None or pair[1] is None:
            return None
        resolved = not any(np.isnan(of.leak).all() for of in pair)
        found.append(frontier.compare(pair[0], pair[1], frontier.start(*known)) if resolved else None)
    auc, tpr = found
    return None if auc is None else Both(auc, tpr)


def b0(rows: Rows, known: Mapping[str, tuple[float, float]], readout: str = LEAKY, attack: str = "strongest") -> dict:
    """data set -> AUC(ANN) - AUC(SNN) between envelopes, and the same of log10 TPR; None where it is void."""
    there = [name for name in known if any(row["dataset"] == name for row in rows)]
    return {
        name: compared(
            rows, known[name], {"dataset": name, "family": "ann"},
            {"dataset": name, "family": "snn", "readout": readout}, attack,
        )
        for name in there
    }  # fmt: skip
