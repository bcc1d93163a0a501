"""The runs of each table of PROTOCOL.md: a folder and settings for each, with what the searches before it chose."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from experiments.study import conditions, sheet

Runs = Iterator[tuple[str, dict[str, Any]]]  # folder, settings


class Scope(NamedTuple):
    """What a table is about: its data sets, the data sets of the searches, surrogates, the folder of rates.csv and
    surrogates_search.csv."""

    datasets: tuple[str, ...] = conditions.DATASETS
    searched_on: tuple[str, ...] = conditions.SEARCHED_ON
    surrogates: tuple[str, ...] = conditions.SURROGATES
    results: Path = sheet.RESULTS


class Rates:
    """Chosen learning rates, from rates.csv. Of a (data set, family, readout) it is the rate with the highest
    validation accuracy, and the smallest of equal ones."""

    def __init__(self, path: Path):
        self.best: dict[tuple[str, ...], tuple[float, float]] = {}  # (validation accuracy, -rate)
        for row in sheet.read(path):
            if row["metric"] == "validation_accuracy":
                network = (row["dataset"], row["family"], row["readout"])
                candidate = (float(row["value"]), -float(row["lr"]))
                self.best[network] = max(self.best.get(network, (-1.0, 0.0)), candidate)

    def __call__(self, dataset: str, family: str, readout: str = conditions.READOUTS[0]) -> float:
        """SystemExit where no rate was searched."""
        network = tuple(conditions.network(dataset, family, readout).values())
        if network not in self.best:
            raise SystemExit(
                f"error: no rate was chosen for {'-'.join(network)}; run the table `rates` on {dataset} first."
            )
        return -self.best[network][1]


def rates(scope: Scope) -> Runs:
    for dataset, family, readout in conditions.kinds(scope.datasets):
        yield f"{dataset}-{family}-{readout}", conditions.searched(dataset, family, readout)


def both(name: str, curves: dict[str, dict[str, Any]]) -> Runs:
    """A curve, and its end in the same folder: what is trained already is not trained again."""
    yield name, curves
    yield name, conditions.end_of(curves)


def curves(scope: Scope) -> Runs:
    rate = Rates(scope.results / "rates.csv")
    for dataset, family, readout in conditions.kinds(scope.datasets):
        chosen = rate(dataset, family, readout)
        yield from both(f"{dataset}-{family}-{readout}", conditions.curves(dataset, family, readout, chosen))


def curves_as_released(scope: Scope) -> Runs:
    for dataset, family, readout in conditions.kinds(scope.datasets):
        if family == "ann" or readout == "membrane_last":
            released = conditions.curves(dataset, family, readout, conditions.AS_RELEASED[family])
            yield from both(f"{dataset}-{family}-{readout}", released)


def quantization(scope: Scope) -> Runs:
    rate = Rates(scope.results / "rates.csv")
    for dataset in scope.datasets:
        for family in ("ann", "snn"):
            modes = ("qat",) if dataset == "location30" else ("qat", "ptq")
            for mode in modes:
                yield f"{dataset}-{family}-{mode}", conditions.quantized(dataset, family, rate(dataset, family), mode)


def quantization_as_released(scope: Scope) -> Runs:
    for dataset in scope.datasets:
        for family, lr in conditions.AS_RELEASED.items():
            yield f"{dataset}-{family}", conditions.quantized_both(dataset, family, "membrane_last", lr)


def curves_quantized(scope: Scope) -> Runs:
    rate = Rates(scope.results / "rates.csv")
    for dataset in scope.datasets:
        yield from both(f"{dataset}-ann-both", conditions.curves_quantized(dataset, rate(dataset, "ann")))


def surrogates_search(scope: Scope) -> Runs:
    for dataset in scope.searched_on:
        for name in scope.surrogates:
            yield f"{dataset}-{name}", conditions.surrogate_searched(dataset, name)


def chosen_settings(path: Path) -> dict[str, tuple[float, float]]:
    """surrogate -> the (slope, learning rate) with the best mean rank by validation accuracy over the data sets, from
    surrogates_search.csv."""
    accuracy: dict[str, dict[tuple[float, float], dict[str, float]]] = {}
    for row in sheet.read(path):
        if row["metric"] == "validation_accuracy":
            at = (float(row["slope"]), float(row["lr"]))
            accuracy.setdefault(row["surrogate"], {}).setdefault(at, {})[row["dataset"]] = float(row["value"])
    best = {}
    for name, by_setting in accuracy.items():
        settings = sorted(by_setting)
        ranks = []
        for dataset in sorted(by_setting[settings[0]]):
            ranks.append(rankdata([-by_setting[setting][dataset] for setting in settings]))
        best[name] = settings[int(np.mean(ranks, 0).argmin())]
    return best


def surrogates(scope: Scope) -> Runs:
    chosen = chosen_settings(scope.results / "surrogates_search.csv")
    for dataset in scope.datasets:
        for name in scope.surrogates:
            yield f"{dataset}-{name}", conditions.surrogate_judged(dataset, name, *chosen[name])


def surrogates_as_released(scope: Scope) -> Runs:
    for dataset in scope.datasets:
        for name in scope.surrogates:
            released = conditions.surrogate_judged(dataset, name, 0.0, conditions.AS_RELEASED["snn"])
            yield f"{dataset}-{name}", released


def surrogates_recurrent(scope: Scope) -> Runs:
    """At the settings of the dense network."""
    chosen = chosen_settings(scope.results / "surrogates_search.csv")
    for dataset in scope.datasets:
        for name in scope.surrogates:
            slope, lr = chosen[name]
            yield f"{dataset}-{name}", conditions.surrogate_judged(dataset, name, slope, lr, architecture="recurrent")


def baselines(scope: Scope) -> Runs:
    from jaxsnn_mia import attacks

    rate = Rates(scope.results / "rates.csv")
    for dataset in scope.datasets:
        names = tuple(name for name in attacks.ATTACKS if name != "quantile" or dataset not in conditions.SMALL)
        for family in ("ann", "snn"):
            yield f"{dataset}-{family}", conditions.attacked(dataset, family, rate(dataset, family), names)


def ablation(scope: Scope) -> Runs:
    rate = Rates(scope.results / "rates.csv")
    for dataset in scope.searched_on:
        for family in ("ann", "snn"):
            yield f"{dataset}-{family}", conditions.ablated(dataset, family, rate(dataset, family))


TABLES = {
    table.__name__: table
    for table in (
        rates, curves, curves_as_released, quantization, quantization_as_released, curves_quantized,
        surrogates_search, surrogates, surrogates_as_released, surrogates_recurrent, ablation, baselines,
    )
}  # fmt: skip
