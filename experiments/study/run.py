"""Runs a table of the study and writes its rows to experiments/results/study/TABLE.csv.

    python -m experiments.study.run rates --workdir=runs/study [--datasets=iris,digits] [--data_dir=FOLDER]
    python -m experiments.study.run curves --workdir=runs/study
    python -m experiments.study.run surrogates --workdir=runs/study --surrogates=package.module:function
    python -m experiments.study.run all --workdir=runs/smoke --scale=smoke

PROTOCOL.md says what they are; `TABLES` below lists them. `rates` comes first, and `surrogates_search` before
`surrogates`: the others read what they chose. A surrogate of your own goes through the same two tables. Run again,
nothing is trained twice; rows of other data sets in the table stay. cost.csv says how many models each run trained and
how long it took.
"""

import argparse
import inspect
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))

import jax
import numpy as np
from scipy.stats import rankdata

from experiments.study import conditions, sheet

RESULTS = Path(__file__).parents[1] / "results" / "study"
KEPT = ("auc", "tpr@0.01", "train_accuracy", "test_accuracy", "validation_accuracy", "gap")
COLUMNS = (
    "dataset", "family", "readout", "reset", "mode", "quantized", "bits_weight", "bits_activation", "bits_state",
    "surrogate", "slope", "encoding", "T", "lr", "epoch", "seed", "attack", "metric", "value", "n_shadows",
    "n_examples",
)  # fmt: skip
RUN = (*COLUMNS[:13], "epoch")  # what the rows of a run may differ in from those of another


Runs = Iterator[tuple[str, dict[str, Any]]]  # folder, settings


class Scope(NamedTuple):
    """What a table is about: its data sets, those of the searches, surrogates; where the searches' results lie."""

    datasets: tuple[str, ...] = conditions.DATASETS
    searched_on: tuple[str, ...] = conditions.SEARCHED_ON
    surrogates: tuple[str, ...] = conditions.SURROGATES
    results: Path = RESULTS


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
            for mode in ("qat", "ptq") if dataset != "location30" else ("qat",):
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


def is_kept(row: dict[str, str], epochs: int) -> bool:
    """Whether a table keeps a row: of a snapshot on the way, accuracies and the AUC of online LiRA are enough."""
    way = row["epoch"] == str(epochs) or not row["attack"] or (row["attack"], row["metric"]) == ("lira", "auc")
    return row["metric"] in KEPT and way


def spent(folder: Path) -> dict[str, Any]:
    """What the finished stages of a run cost, from their manifests: models, their epochs, seconds of training and of
    everything. One pass computes several signals, an ensemble trains several variants: each is counted once."""
    trained: dict[tuple[str, ...], float] = {}
    passes: dict[Path, float] = {}
    found, seconds = [], 0.0
    for path in folder.rglob("manifest.json"):
        manifest, stage = json.loads(path.read_text()), path.relative_to(folder).parts[-2].split("-")[0]
        if stage == "train":
            found.append(path.parent)
            trained[tuple(manifest["members"])] = manifest["seconds"]
        elif stage == "signals":
            passes[path.parents[1]] = max(passes.get(path.parents[1], 0.0), manifest["seconds"])
        else:
            seconds += manifest["seconds"]
    settings = json.loads((folder / "config.json").read_text())["config"]
    models = len(found) * settings["splits"]["n_shadows"]
    train_seconds = sum(trained.values())
    return {
        "models": models, "model_epochs": models * settings["train"]["epochs"],
        "train_seconds": round(train_seconds, 1), "seconds": round(train_seconds + sum(passes.values()) + seconds, 1),
        **{name: json.loads((found[0] / "manifest.json").read_text())[name] for name in ("device", "jax")},
    }  # fmt: skip


def of_code(c: Any, data_dir: str) -> list[Any]:
    """What changes the rows of a config beside it: versions of the stages, the data, a surrogate of the caller's."""
    from jaxsnn_mia import data
    from jaxsnn_mia.kernels import surrogate
    from jaxsnn_mia.store.files import file_sha256
    from jaxsnn_mia.store.stage import STAGE_VERSION

    own = ":" in c.model.surrogate and file_sha256(Path(inspect.getfile(surrogate.factory(c.model.surrogate))))
    return [STAGE_VERSION, data.fingerprint(c.data.name, data_dir), own]


def add_cost(results: Path, cost: dict[str, Any]) -> None:
    sheet.replace(results / "cost.csv", [cost], tuple(cost), ("table", "run"))


def run(
    table: str, scope: Scope, workdir: Path, scale: str = "default", data_dir: str = "", keep: bool = False
) -> None:
    """Adds the rows of a table to scope.results/TABLE.csv, a run at a time. What a finished run leaves behind are its
    rows; checkpoints and signals go, unless `keep`: those of the whole study would be over 100 GB."""
    from jaxsnn_mia import config
    from jaxsnn_mia.pipeline.run import run_pipeline
    from jaxsnn_mia.settings import as_dict
    from jaxsnn_mia.store.files import digest, write_json

    runs = list(TABLES[table](scope))
    for (name, settings), (following, _) in zip(runs, [*runs[1:], ("", {})], strict=True):
        c, folder = config.from_dict(conditions.SCALES[scale](settings)), workdir / table / name
        finished = folder / f"rows-{digest([as_dict(c), *of_code(c, data_dir)])}.json"
        if not finished.exists():
            here = config.from_dict(conditions.merged(as_dict(c), {"data": {"dir": data_dir}}))
            found = run_pipeline(here, folder, until="metrics")
            rows = [
                row for f in found.values() for row in sheet.read(f / "results.csv") if is_kept(row, c.train.epochs)
            ]
            once = {tuple(row[column] for column in COLUMNS): row for row in rows}  # an ANN does not differ in T
            write_json(finished, {"rows": list(once.values()), "cost": spent(folder)})
        done = json.loads(finished.read_text())
        sheet.replace(scope.results / f"{table}.csv", done["rows"], COLUMNS, RUN)
        add_cost(scope.results, {"table": table, "run": name, **done["cost"]})
        print(f"{table}: {name}, {len(done['rows'])} rows")
        if name != following and not keep:
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=(*TABLES, "all"))
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--datasets", default="", help="of the table; by default those of the scale")
    parser.add_argument("--surrogates", default=",".join(conditions.SURROGATES))
    parser.add_argument("--scale", choices=tuple(conditions.SCALES), default="default")
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--keep", action="store_true", help="checkpoints and signals of finished runs as well")
    parser.add_argument("--results", type=Path, help="folder of the tables; of another scale the workdir by default")
    given = parser.parse_args(argv)
    results = given.results or (RESULTS if given.scale == "default" else given.workdir)
    scope = Scope(surrogates=tuple(given.surrogates.split(",")), results=results)
    if given.scale == "full":
        scope = scope._replace(datasets=(*conditions.DATASETS, *conditions.IMAGES))
    if given.scale == "smoke":
        scope = scope._replace(datasets=("iris",), searched_on=("iris",), surrogates=scope.surrogates[:2])
    if given.datasets:
        scope = scope._replace(datasets=tuple(given.datasets.split(",")))
    for table in TABLES if given.table == "all" else (given.table,):
        run(table, scope, given.workdir, given.scale, given.data_dir, given.keep)


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", min(os.cpu_count() or 1, 4))
    main(sys.argv[1:])
