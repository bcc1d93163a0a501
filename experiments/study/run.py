"""Runs a table of the study and writes its rows to experiments/results/study/TABLE.csv.

    python experiments/study/run.py rates --workdir=runs/study [--datasets=iris,digits] [--data_dir=FOLDER]
    python experiments/study/run.py curves --workdir=runs/study
    python experiments/study/run.py curves_as_released --workdir=runs/study

PROTOCOL.md says what they are. `rates` comes first: the others read what it chose. Run again, nothing is trained twice;
rows of other data sets in the table stay.
"""

import argparse
import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))
sys.path.insert(0, str(Path(__file__).parent))

import conditions
import jax

RESULTS = Path(__file__).parents[1] / "results" / "study"
KEPT = ("auc", "tpr@0.01", "train_accuracy", "test_accuracy", "validation_accuracy", "gap")
COLUMNS = (
    "dataset", "family", "readout", "quantized", "bits_weight", "bits_activation", "bits_state", "surrogate", "slope",
    "encoding", "T", "lr", "epoch", "seed", "attack", "metric", "value", "n_shadows", "n_examples",
)  # fmt: skip


def chosen_rates(path: Path) -> dict[tuple[str, str, str], float]:
    """(data set, family, readout) -> the rate with the highest validation accuracy; the smallest of equal ones."""
    best: dict[tuple[str, str, str], tuple[float, float]] = {}
    for row in read(path):
        if row["metric"] == "validation_accuracy":
            key = (row["dataset"], row["family"], row["readout"])
            best[key] = max(best.get(key, (-1.0, 0.0)), (float(row["value"]), -float(row["lr"])))
    return {key: -negative for key, (_, negative) in best.items()}


def runs(table: str, datasets: tuple[str, ...], results: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(folder, settings) of each run of a table."""
    rates = {} if table == "rates" else chosen_rates(results / "rates.csv")
    for dataset, family, readout in conditions.kinds(datasets):
        name = f"{dataset}-{family}-{readout}"
        if table == "rates":
            yield name, conditions.searched(dataset, family, readout)
        elif table == "curves":
            if key(dataset, family, readout) not in rates:
                raise SystemExit(f"error: no rate was chosen for {name}; run the table `rates` on {dataset} first.")
            yield name, conditions.curves(dataset, family, readout, rates[key(dataset, family, readout)])
        elif table == "curves_as_released" and (family == "ann" or readout == "membrane_last"):
            yield name, conditions.curves(dataset, family, readout, conditions.AS_RELEASED[family])


def key(dataset: str, family: str, readout: str) -> tuple[str, str, str]:
    """As the rows of results name it: a network without spikes has no readout."""
    return dataset, family, readout if family != "ann" else ""


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    from jaxsnn_mia import store

    path.parent.mkdir(parents=True, exist_ok=True)
    with store.atomic(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(argv: list[str]) -> None:
    from jaxsnn_mia import config, pipeline

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("rates", "curves", "curves_as_released"))
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--datasets", default=",".join(conditions.DATASETS))
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(argv)
    jax.config.update("jax_num_cpu_devices", min(os.cpu_count() or 1, 4))
    datasets, path = tuple(given.datasets.split(",")), given.results / f"{given.table}.csv"
    for name, settings in runs(given.table, datasets, given.results):
        c = config.from_dict(conditions.merged(settings, {"data": {"dir": given.data_dir}}))
        found = pipeline.run(c, given.workdir / given.table / name, until="metrics")
        new = [row for folder in found.values() for row in read(folder / "results.csv") if row["metric"] in KEPT]
        done = {key(row["dataset"], row["family"], row["readout"]) for row in new}
        old = [row for row in read(path) if (row["dataset"], row["family"], row["readout"]) not in done]
        write(path, sorted(old + new, key=lambda row: [row[column] for column in COLUMNS[:-3]]))
        print(f"{given.table}: {name}, {len(new)} rows")


if __name__ == "__main__":
    main(sys.argv[1:])
