"""Values of each seed, and curves along training, from the rows of the tables."""

import operator
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from experiments.study import conditions, decide

Rows = Iterable[Mapping[str, str]]
BySeed = dict[int, float]
NAN = float("nan")


def number(text: str) -> float:
    return NAN if text == "n/a" else float(text)


def matching(rows: Rows, wanted: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The rows whose columns have the wanted values."""
    of, values = operator.itemgetter(*wanted), tuple(wanted.values())
    return (row for row in rows if of(row) == values)


def by_seed(rows: Rows, metric: str, attack: str = "", **where: str) -> BySeed:
    """seed -> the value of a metric at the last epoch, of the rows whose columns are as in `where`.

    Raises ValueError where a seed has two different values.
    """
    wanted = {"metric": metric, "attack": attack, **where}
    last: dict[int, tuple[int, float]] = {}  # seed -> (epoch, value)
    for row in matching(rows, wanted):
        seed, epoch, value = int(row["seed"]), int(row["epoch"]), number(row["value"])
        if seed in last and last[seed][0] == epoch and last[seed][1] != value:
            raise ValueError(f"seed {seed} has {last[seed][1]} and {value} for {wanted}: name more columns.")
        last[seed] = max(last.get(seed, (-1, value)), (epoch, value))
    return {seed: value for seed, (_, value) in sorted(last.items())}


def accuracy_and_auc(rows: Rows, **where: str) -> tuple[BySeed, BySeed]:
    """Test accuracy, and the AUC of online LiRA, by seed."""
    return by_seed(rows, "test_accuracy", **where), by_seed(rows, "auc", "lira", **where)


def less(a: BySeed, b: BySeed) -> list[float]:
    """a - b of the seeds that both have."""
    return [a[seed] - b[seed] for seed in a if seed in b]


def curves(rows: Rows, dataset: str, family: str, readout: str, **where: str) -> dict[int, dict[str, np.ndarray]]:
    """seed -> the snapshots in order: "epoch", the AUC of online LiRA as "auc", and each accuracy."""
    wanted = conditions.network(dataset, family, readout) | where
    values: dict[int, dict[int, dict[str, float]]] = {}  # seed -> epoch -> measure -> value
    for row in matching(rows, wanted):
        measure = f"{row['attack']} {row['metric']}" if row["attack"] else row["metric"]
        values.setdefault(int(row["seed"]), {}).setdefault(int(row["epoch"]), {})[measure] = number(row["value"])
    curve_of = {}
    for seed, by_epoch in sorted(values.items()):
        epochs = sorted(by_epoch)
        curve = {"epoch": np.array(epochs)}
        for measure in by_epoch[epochs[-1]]:  # the last epoch has all, those before only what a curve needs
            curve[measure] = np.array([by_epoch[epoch].get(measure, NAN) for epoch in epochs])
        curve["auc"] = curve["lira auc"]
        curve_of[seed] = curve
    return curve_of


def at(a: dict[int, dict], b: dict[int, dict], how: str) -> list[float]:
    """AUC of a less that of b for each seed that both have: at the last epoch (`how` is "last"), or where both first
    reach a value of the measure `how`."""
    seeds = [seed for seed in a if seed in b]
    if how == "last":
        return [float(a[seed]["auc"][-1] - b[seed]["auc"][-1]) for seed in seeds]
    return [decide.matched(a[seed], b[seed], how) for seed in seeds]


def above(a: dict[int, dict], b: dict[int, dict], how: str) -> str:
    """In how many seeds a curve begins above the value that is matched: there the first snapshot stands for it."""
    if how == "last":
        return ""
    seeds = [seed for seed in a if seed in b]
    count = sum(decide.begins_above(a[seed], b[seed], how) for seed in seeds)
    return f"{count} of {len(seeds)} seeds begin above" if count else ""
