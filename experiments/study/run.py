"""Runs a table of the study and writes its rows to experiments/results/study/TABLE.csv.

    python -m experiments.study.run rates --workdir=runs/study [--datasets=iris,digits] [--data_dir=FOLDER]
    python -m experiments.study.run curves --workdir=runs/study
    python -m experiments.study.run surrogates --workdir=runs/study --surrogates=package.module:function
    python -m experiments.study.run all --workdir=runs/smoke --scale=smoke

PROTOCOL.md says what they are; `TABLES` in plan.py lists them. `rates` comes first, and `surrogates_search` before
`surrogates`: the other tables read what these chose. A surrogate of your own goes through the same two tables. A second
call trains nothing twice and keeps the rows of other data sets in the table. cost.csv says how many models each run
trained and how long it took.
"""

import argparse
import inspect
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))

import jax

from experiments.study import conditions, planned, sheet
from experiments.study.plan import TABLES, Scope

KEPT = ("auc", "tpr@0.01", "train_accuracy", "test_accuracy", "validation_accuracy", "gap")
RUN = (*sheet.COLUMNS[:13], "epoch")  # rows of one run have the same values in these columns


def is_kept(row: dict[str, str], epochs: int) -> bool:
    """Whether a table keeps a row. Of a snapshot on the way, the accuracies and the AUC of online LiRA are enough."""
    is_last = row["epoch"] == str(epochs)
    is_enough = not row["attack"] or (row["attack"], row["metric"]) == ("lira", "auc")
    return row["metric"] in KEPT and (is_last or is_enough)


def spent(folder: Path) -> dict[str, Any]:
    """What the finished stages of a run cost, from their manifests: models, their epochs, seconds of training and of
    everything. One pass computes several signals, and an ensemble trains several variants: each counts once."""
    train_stages: list[dict[str, Any]] = []
    training: dict[tuple[str, ...], float] = {}  # seconds of each ensemble
    passes: dict[Path, float] = {}  # seconds of each pass for signals
    others = 0.0
    for path in folder.rglob("manifest.json"):
        manifest, stage = json.loads(path.read_text()), path.relative_to(folder).parts[-2].split("-")[0]
        if stage == "train":
            train_stages.append(manifest)
            training[tuple(manifest["members"])] = manifest["seconds"]
        elif stage == "signals":
            passes[path.parents[1]] = max(passes.get(path.parents[1], 0.0), manifest["seconds"])
        else:
            others += manifest["seconds"]
    settings = json.loads((folder / "config.json").read_text())["config"]
    models = len(train_stages) * settings["splits"]["n_shadows"]
    train_seconds = sum(training.values())
    return {
        "models": models, "model_epochs": models * settings["train"]["epochs"],
        "train_seconds": round(train_seconds, 1), "seconds": round(train_seconds + sum(passes.values()) + others, 1),
        "device": train_stages[0]["device"], "jax": train_stages[0]["jax"],
    }  # fmt: skip


def of_code(c: Any, data_dir: str) -> list[Any]:
    """What the rows depend on beside the config: versions of the stages, the data, a surrogate of the caller's."""
    from jaxsnn_mia import data
    from jaxsnn_mia.models import by_name
    from jaxsnn_mia.store.files import file_sha256
    from jaxsnn_mia.store.stage import STAGE_VERSION

    own: str | bool = False
    if ":" in c.model.surrogate:
        own = file_sha256(Path(inspect.getfile(by_name.surrogate(c.model.surrogate))))
    return [STAGE_VERSION, data.fingerprint(c.data.name, data_dir), own]


def add_cost(results: Path, cost: dict[str, Any]) -> None:
    sheet.replace(results / "cost.csv", [cost], tuple(cost), ("table", "run"))


def run(
    table: str, scope: Scope, workdir: Path, scale: str = "default", data_dir: str = "", keep: bool = False
) -> None:
    """Adds the rows of a table to scope.results/TABLE.csv, a run at a time. Checkpoints and signals of a finished run
    are removed, unless `keep`: those of the whole study would be over 100 GB."""
    runs = list(TABLES[table](scope))
    for i, (name, settings) in enumerate(runs):
        folder = workdir / table / name
        done = rows_and_cost(conditions.SCALES[scale](settings), folder, data_dir)
        sheet.replace(scope.results / f"{table}.csv", done["rows"], sheet.COLUMNS, RUN)
        add_cost(scope.results, {"table": table, "run": name, **done["cost"]})
        print(f"{table}: {name}, {len(done['rows'])} rows")
        needed_again = i + 1 < len(runs) and runs[i + 1][0] == name
        if not (needed_again or keep):
            remove_stages(folder)


def rows_and_cost(settings: dict[str, Any], folder: Path, data_dir: str) -> dict[str, Any]:
    """The "rows" and the "cost" of one run, from its file in `folder`; the run is made where that file is not there."""
    from jaxsnn_mia import config
    from jaxsnn_mia.pipeline.run import run_pipeline
    from jaxsnn_mia.settings import as_dict, recorded
    from jaxsnn_mia.store.files import digest, write_json

    c = config.from_dict(settings)
    hashed = conditions.merged(recorded(c), {"splits": {"scheme": "pairs"}})  # a setting that is gone: it stays here
    finished = folder / f"rows-{digest([hashed, *of_code(c, data_dir)])}.json"
    if not finished.exists():
        here = config.from_dict(conditions.merged(as_dict(c), {"data": {"dir": data_dir}}))
        once = {}  # an ANN does not differ in T
        for metrics in run_pipeline(here, folder, until="metrics").values():
            for row in sheet.read(metrics / "results.csv"):
                if is_kept(row, c.train.epochs):
                    once[tuple(row[column] for column in sheet.COLUMNS)] = row
        write_json(finished, {"rows": list(once.values()), "cost": spent(folder)})
    return json.loads(finished.read_text())


def remove_stages(folder: Path) -> None:
    """Removes the folders of a run; its files stay."""
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
    parser.add_argument("--dry_run", action="store_true", help="says what would be trained")
    given = parser.parse_args(argv)
    results = given.results or (sheet.RESULTS if given.scale == "default" else given.workdir)
    scope = Scope(surrogates=tuple(given.surrogates.split(",")), results=results)
    if given.scale == "full":
        scope = scope._replace(datasets=(*conditions.DATASETS, *conditions.IMAGES))
    if given.scale == "smoke":
        scope = scope._replace(datasets=("iris",), searched_on=("iris",), surrogates=scope.surrogates[:2])
    if given.datasets:
        scope = scope._replace(datasets=tuple(given.datasets.split(",")))
    wanted = tuple(TABLES) if given.table == "all" else (given.table,)
    if given.dry_run:
        scaled = conditions.SCALES[given.scale]
        each = {table: [(name, scaled(settings)) for name, settings in TABLES[table](scope)] for table in wanted}
        planned.show([planned.line(table, runs, results) for table, runs in each.items()])
        return
    for table in wanted:
        run(table, scope, given.workdir, given.scale, given.data_dir, given.keep)


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", min(os.cpu_count() or 1, 4))
    main(sys.argv[1:])
