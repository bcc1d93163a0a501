"""Runs a table of the second study and writes its rows to experiments/results/study2/TABLE/DATASET.csv.

    python -m experiments.study.second.run frontiers --workdir=runs/study2 --data_dir=FOLDER [--datasets=iris,digits]

PROTOCOL_2.md says what the tables are, `TABLES` in design.py lists them. FOLDER holds the files of Location-30 and of
MNIST-10k, and the tables on persons under tables/. A second call trains nothing twice. cost.csv says how many models
each run trained and how long it took, sets.csv what the data sets are. Rows come once a run is whole.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))

import jax
import numpy as np

from experiments.study import planned, sheet
from experiments.study.conditions import merged
from experiments.study.run import add_cost, of_code, remove_stages, spent
from experiments.study.second import design
from experiments.study.second.design import Settings
from jaxsnn_mia.pipeline import run as pipeline_run
from jaxsnn_mia.report.tables import shown
from jaxsnn_mia.settings import Config

RESULTS = sheet.RESULTS.parent / "study2"
CONDITION = (
    "family", "readout", "mode", "bits_weight", "bits_activation", "encoding", "T", "n_shadows", "n_examples",
)  # fmt: skip
POINT = ("lr", "epoch", "seed")
ACCURACIES = ("train_accuracy", "test_accuracy", "validation_accuracy")
MEASURED = ("auc", "tpr@0.01")
FPRS = (0.01, 0.001)
LOW = "strongest tpr@0.001"  # where it is resolved
LEAKS = tuple(f"{attack} {metric}" for attack in ("strongest", *design.ATTACKS) for metric in MEASURED)
COLUMNS = ("dataset", *CONDITION, *POINT, *ACCURACIES, "chosen", *LEAKS, LOW)
KEY = ("dataset", *CONDITION, *POINT)
NETWORK = {"time": ("network",)}  # of this table also a column


def point(name: str, c: Config, paths: dict[str, Path]) -> dict[str, Any]:
    """One row with the accuracies and the leaks of one variant, from its scores. Intervals within a seed are not used,
    so none is computed."""
    from jaxsnn_mia import metrics
    from jaxsnn_mia.metrics import comparisons
    from jaxsnn_mia.pipeline.metrics import audit
    from jaxsnn_mia.report.rows import accuracy_rows

    a = audit(name, c, paths)
    wide = {column: a.labels[column] for column in (*CONDITION, *POINT) if column in a.labels}
    wide |= {"n_shadows": int(a.usable_s.sum()), "n_examples": a.keep_sn.shape[1]}
    wide |= {row["metric"]: row["value"] for row in accuracy_rows(a)[0]}
    for attack, scores in a.scores.items():
        wide[f"{attack} auc"] = metrics.auc(scores, a.keep_sn, a.usable_s)
        wide[f"{attack} tpr@0.01"] = metrics.tpr_at_fpr(scores, a.keep_sn, 0.01, a.usable_s)[0]
    best = comparisons.strongest(a.scores, a.keep_sn, a.pair_s, FPRS, a.usable_s)
    wide["chosen"] = ", ".join(dict.fromkeys(best["auc"].chosen))
    for criterion, strongest in best.items():
        wide["strongest auc" if criterion == "auc" else f"strongest tpr@{criterion:g}"] = strongest.value
    return {column: shown(wide.get(column, "")) for column in COLUMNS[1:]}


def measured(settings: Settings, folder: Path, data_dir: str) -> dict[str, Any]:
    """The "rows" and the "cost" of one run, from its file in `folder`; the run is made where that file is not there."""
    from jaxsnn_mia import config
    from jaxsnn_mia.config import sweep
    from jaxsnn_mia.settings import as_dict, recorded
    from jaxsnn_mia.store.files import digest, write_json

    c = config.from_dict(settings)
    finished = folder / f"rows-{digest([recorded(c), COLUMNS, *of_code(c, data_dir)])}.json"
    if not finished.exists():
        here = config.from_dict(merged(as_dict(c), {"data": {"dir": data_dir}}))
        made = pipeline_run.run_stages(here, folder, until="attacks")
        variants = sweep.variants(here)
        rows = [point(name, variants[name], paths) for name, paths in made.items()]
        write_json(finished, {"rows": rows, "cost": spent(folder)})
    return json.loads(finished.read_text())


def describe(results: Path, dataset: str, data_dir: str) -> None:
    """Adds what a data set is to sets.csv: its shape, its classes, the share of the largest one, its hash."""
    from jaxsnn_mia import data

    found = data.load(design.source(dataset, data_dir), data_dir)
    row = {
        "dataset": dataset, "rows": len(found.y), "features": found.x[0].size, "classes": len(found.class_names),
        "largest_share": round(float(np.bincount(found.y).max() / len(found.y)), 6), "sha256": found.sha256,
    }  # fmt: skip
    sheet.replace(results / "sets.csv", [row], tuple(row), ("dataset",))


def run(table: str, datasets: tuple[str, ...], workdir: Path, results: Path, data_dir: str, scale: str) -> None:
    """Adds the rows of a table to results/TABLE/DATASET.csv, a run at a time. Checkpoints and signals of finished runs
    are removed."""
    make, _ = design.TABLES[table]
    for dataset in datasets:
        describe(results, dataset, data_dir)
    of_network = NETWORK.get(table, ())
    for name, dataset, settings, network in make(datasets, data_dir):
        folder = workdir / table / name
        done = measured(design.SCALES[scale](settings), folder, data_dir)
        rows: list[dict[str, Any]] = [{"dataset": dataset, "network": network, **row} for row in done["rows"]]
        sheet.replace(results / table / f"{dataset}.csv", rows, (*of_network, *COLUMNS), (*of_network, *KEY))
        add_cost(results, {"table": table, "run": name, **done["cost"]})
        print(f"{table}: {name}, {len(rows)} points, {done['cost']['seconds']} s", flush=True)
        remove_stages(folder)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=tuple(design.TABLES))
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--datasets", default="", help="of the table; all by default")
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--scale", choices=tuple(design.SCALES), default="default")
    parser.add_argument("--results", type=Path, help="folder of the rows; of another scale the workdir by default")
    parser.add_argument("--dry_run", action="store_true", help="says what would be trained")
    given = parser.parse_args(argv)
    _, every = design.TABLES[given.table]
    datasets = tuple(given.datasets.split(",")) if given.datasets else every
    results = given.results or (RESULTS if given.scale == "default" else given.workdir)
    if given.dry_run:
        make, _ = design.TABLES[given.table]
        runs = make(datasets, given.data_dir)
        scaled = ((run.name, design.SCALES[given.scale](run.settings)) for run in runs)
        planned.show([planned.line(given.table, scaled, results)])
        return
    run(given.table, datasets, given.workdir, results, given.data_dir, given.scale)


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", min(os.cpu_count() or 1, 4))
    main(sys.argv[1:])
