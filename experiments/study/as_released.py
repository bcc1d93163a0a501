"""The predecessor's attack as it was released, and with each of its confounders replaced: numbers to a CSV.

    python -m experiments.study.as_released --datasets=iris,digits --seeds=8 --workdir=runs/study/as_released

released_attack.py says what it does and what is replaced. A second call computes nothing twice.
"""

import argparse
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))

import jax
import numpy as np

from experiments.study import conditions, plan, released_attack, run, sheet
from jaxsnn_mia import data
from jaxsnn_mia.pipeline.data import rows_at
from jaxsnn_mia.store.files import StoreError
from jaxsnn_mia.store.stage import provenance
from jaxsnn_mia.store.workdir import check_config, lock, write_config

COLUMNS = ("dataset", "family", "replaced", *released_attack.NUMBERS, "seconds")
HIDDEN = {"location30": 256}  # 128 for the others


@functools.cache
def table(name: str, folder: str = "") -> data.Dataset:
    """A data set of rows of features, without exact duplicates."""
    d = data.load(name, folder)
    if d.x.ndim != 2 or d.x.dtype.kind != "f":
        raise ValueError(f"`--datasets` must be tables of float features, got {name} with {d.x.dtype} {d.x.shape}.")
    d = dataclasses.replace(d, x=d.x.astype(np.float32))
    return rows_at(d, np.sort(np.unique(data.units(d.x), return_index=True)[1]))


def add(workdir: Path, dataset: str, seeds: Sequence[int], s: released_attack.Settings, folder: str = "") -> Path:
    """Adds what is missing of one data set to workdir/as_released.csv, a block of seeds at a time."""
    path, claim = workdir / "as_released.csv", {"dataset": dataset, **s._asdict()}
    with lock(workdir):
        check_config(workdir / dataset, claim, ())
        write_config(workdir / dataset, claim)
        for family in released_attack.FAMILIES:
            for name, replaced in released_attack.REPLACED.items():
                old, key = sheet.read(path), {"dataset": dataset, "family": family, "replaced": name}
                done = {int(row["seed"]) for row in old if key.items() <= row.items()}
                missing = [seed for seed in seeds if seed not in done]
                if missing:
                    start = time.time()
                    new = released_attack.block(table(dataset, folder), family, replaced, missing, s)
                    each = {"seconds": round((time.time() - start) / len(missing), 2)}
                    sheet.write(path, old + [key | row | each for row in new], COLUMNS)
                    print(f"{dataset} {family} {name}: mean AUC {np.mean([row['auc'] for row in new]):.3f}", flush=True)
    return path


def spent(dataset: str, rows: list[dict[str, str]], epochs: int) -> dict[str, Any]:
    """What the rows of a data set cost, as `run.spent`."""
    own = [row for row in rows if row["dataset"] == dataset]
    models, seconds = sum(int(row["models"]) for row in own), sum(float(row["seconds"]) for row in own)
    return {
        "table": "as_released", "run": dataset, "models": models, "model_epochs": models * epochs,
        "train_seconds": round(seconds, 1), "seconds": round(seconds, 1),
        "device": provenance()["device"], "jax": jax.__version__,
    }  # fmt: skip


def chosen_rates(given: str, dataset: str, results: Path) -> dict[str, float]:
    """Learning rates of a data set as `Settings.rates`: "ANN,SNN", or where empty those of results/rates.csv."""
    if not given:
        rate = plan.Rates(results / "rates.csv")
        of_readout = {readout: rate(dataset, "snn", readout) for readout in conditions.READOUTS}
        return {"ann": rate(dataset, "ann"), **of_readout}
    try:
        return dict(zip(released_attack.FAMILIES, map(float, given.split(",")), strict=True))
    except ValueError:
        raise ValueError(f"`--rates` must be two numbers, ANN,SNN, got {given!r}.") from None


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default=",".join(conditions.DATASETS))
    parser.add_argument("--seeds", type=int, default=len(conditions.SEEDS))
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--rates", default="", help="ANN,SNN where they are replaced; those of rates.csv by default")
    parser.add_argument("--hidden", type=int, default=0, help="units; 0: 256 for location30, 128 for the others")
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--results", type=Path, default=sheet.RESULTS, help="folder of rates.csv and as_released.csv")
    given = parser.parse_args(argv)
    try:
        datasets = given.datasets.split(",")
        for dataset in datasets:
            table(dataset, given.data_dir)  # all data is checked before any training
        for dataset in datasets:
            rates = chosen_rates(given.rates, dataset, given.results)
            s = released_attack.Settings(rates, hidden=given.hidden or HIDDEN.get(dataset, 128))
            path = add(given.workdir, dataset, range(given.seeds), s, given.data_dir)
            sheet.replace(given.results / path.name, sheet.read(path), COLUMNS, COLUMNS[:4])
            run.add_cost(given.results, spent(dataset, sheet.read(path), s.epochs))
    except (ValueError, OSError, StoreError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    print(given.results / path.name)


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", min(os.cpu_count() or 1, 4))
    main(sys.argv[1:])
