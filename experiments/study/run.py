"""Runs a table of the study and writes its rows to experiments/results/study/TABLE.csv.

    python experiments/study/run.py rates --workdir=runs/study [--datasets=iris,digits] [--data_dir=FOLDER]
    python experiments/study/run.py curves --workdir=runs/study

PROTOCOL.md says what they are; `TABLES` below lists them. `rates` comes first, and `surrogates_search` before
`surrogates`: the others read what they chose. Run again, nothing is trained twice;
rows of other data sets in the table stay.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))
sys.path.insert(0, str(Path(__file__).parent))

import conditions
import jax
import numpy as np
import sheet
from scipy.stats import rankdata

RESULTS = Path(__file__).parents[1] / "results" / "study"
KEPT = ("auc", "tpr@0.01", "train_accuracy", "test_accuracy", "validation_accuracy", "gap")
COLUMNS = (
    "dataset", "family", "readout", "reset", "mode", "quantized", "bits_weight", "bits_activation", "bits_state",
    "surrogate", "slope", "encoding", "T", "lr", "epoch", "seed", "attack", "metric", "value", "n_shadows",
    "n_examples",
)  # fmt: skip
RUN = COLUMNS[:13]  # what the rows of a run may differ in from those of another


Runs = Iterator[tuple[str, dict[str, Any]]]  # folder, settings


def key(dataset: str, family: str, readout: str) -> tuple[str, str, str]:
    """As the rows of results name it: a network without spikes has no readout."""
    return dataset, family, readout if family != "ann" else ""


class Rates:
    """The learning rate of each (data set, family, readout) with the highest validation accuracy; the smallest of equal
    ones."""

    def __init__(self, path: Path):
        self.best: dict[tuple[str, str, str], tuple[float, float]] = {}
        for row in sheet.read(path):
            if row["metric"] == "validation_accuracy":
                of = (row["dataset"], row["family"], row["readout"])
                self.best[of] = max(self.best.get(of, (-1.0, 0.0)), (float(row["value"]), -float(row["lr"])))

    def __call__(self, dataset: str, family: str, readout: str = conditions.READOUTS[0]) -> float:
        of = key(dataset, family, readout)
        if of not in self.best:
            raise SystemExit(f"error: no rate was chosen for {'-'.join(of)}; run the table `rates` on {dataset} first.")
        return -self.best[of][1]


def rates(datasets: tuple[str, ...], results: Path) -> Runs:
    for dataset, family, readout in conditions.kinds(datasets):
        yield f"{dataset}-{family}-{readout}", conditions.searched(dataset, family, readout)


def curves(datasets: tuple[str, ...], results: Path) -> Runs:
    rate = Rates(results / "rates.csv")
    for dataset, family, readout in conditions.kinds(datasets):
        chosen = rate(dataset, family, readout)
        yield f"{dataset}-{family}-{readout}", conditions.curves(dataset, family, readout, chosen)


def curves_as_released(datasets: tuple[str, ...], results: Path) -> Runs:
    for dataset, family, readout in conditions.kinds(datasets):
        if family == "ann" or readout == "membrane_last":
            released = conditions.curves(dataset, family, readout, conditions.AS_RELEASED[family])
            yield f"{dataset}-{family}-{readout}", released


def quantization(datasets: tuple[str, ...], results: Path) -> Runs:
    rate = Rates(results / "rates.csv")
    for dataset in datasets:
        for family in ("ann", "snn"):
            for mode in ("qat", "ptq"):
                yield f"{dataset}-{family}-{mode}", conditions.quantized(dataset, family, rate(dataset, family), mode)


def curves_quantized(datasets: tuple[str, ...], results: Path) -> Runs:
    rate = Rates(results / "rates.csv")
    for dataset in datasets:
        yield f"{dataset}-ann-both", conditions.curves_quantized(dataset, rate(dataset, "ann"))


def surrogates_search(datasets: tuple[str, ...], results: Path) -> Runs:
    for dataset in conditions.SEARCHED_ON:
        for name in conditions.SURROGATES:
            yield f"{dataset}-{name}", conditions.surrogate_searched(dataset, name)


def chosen_settings(path: Path) -> dict[str, tuple[float, float]]:
    """surrogate -> its (slope, learning rate) of the best mean rank by validation accuracy over the data sets."""
    accuracy: dict[str, dict[tuple[float, float], dict[str, float]]] = {}
    for row in sheet.read(path):
        if row["metric"] == "validation_accuracy":
            at = (float(row["slope"]), float(row["lr"]))
            accuracy.setdefault(row["surrogate"], {}).setdefault(at, {})[row["dataset"]] = float(row["value"])
    best = {}
    for name, by_setting in accuracy.items():
        at = sorted(by_setting)
        table = [[by_setting[one][dataset] for one in at] for dataset in sorted(by_setting[at[0]])]
        ranks = [rankdata([-value for value in values]) for values in table]
        best[name] = at[int(np.mean(ranks, 0).argmin())]
    return best


def surrogates(datasets: tuple[str, ...], results: Path) -> Runs:
    chosen = chosen_settings(results / "surrogates_search.csv")
    for dataset in datasets:
        for name in conditions.SURROGATES:
            yield f"{dataset}-{name}", conditions.surrogate_judged(dataset, name, *chosen[name])


def surrogates_as_released(datasets: tuple[str, ...], results: Path) -> Runs:
    for dataset in datasets:
        for name in conditions.SURROGATES:
            released = conditions.surrogate_judged(dataset, name, 0.0, conditions.AS_RELEASED["snn"])
            yield f"{dataset}-{name}", released


def ablation(datasets: tuple[str, ...], results: Path) -> Runs:
    rate = Rates(results / "rates.csv")
    for dataset in conditions.SEARCHED_ON:
        for family in ("ann", "snn"):
            yield f"{dataset}-{family}", conditions.ablated(dataset, family, rate(dataset, family))


TABLES = {
    table.__name__: table
    for table in (
        rates, curves, curves_as_released, quantization, curves_quantized, surrogates_search, surrogates,
        surrogates_as_released, ablation,
    )
}  # fmt: skip


def is_kept(row: dict[str, str], epochs: int) -> bool:
    """Whether a table keeps a row: of a snapshot on the way, accuracies and the AUC of online LiRA are enough."""
    way = row["epoch"] == str(epochs) or not row["attack"] or (row["attack"], row["metric"]) == ("lira", "auc")
    return row["metric"] in KEPT and way


def main(argv: list[str]) -> None:
    from jaxsnn_mia import config, pipeline

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=tuple(TABLES))
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--datasets", default=",".join(conditions.DATASETS))
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(argv)
    datasets, path = tuple(given.datasets.split(",")), given.results / f"{given.table}.csv"
    for name, settings in TABLES[given.table](datasets, given.results):
        c = config.from_dict(conditions.merged(settings, {"data": {"dir": given.data_dir}}))
        found = pipeline.run(c, given.workdir / given.table / name, until="metrics")
        new = [
            row
            for folder in found.values()
            for row in sheet.read(folder / "results.csv")
            if is_kept(row, c.train.epochs)
        ]
        sheet.replace(path, new, COLUMNS, RUN)
        print(f"{given.table}: {name}, {len(new)} rows")


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", min(os.cpu_count() or 1, 4))
    main(sys.argv[1:])
