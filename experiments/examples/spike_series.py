"""A researcher with spike trains [N, T, D]: a recurrent spiking network, and its twin with ReLU.

    python -m experiments.examples.spike_series --workdir=runs/spike_series

The array is written with its layout, so that nothing is guessed; `model.time_steps` is its T.
"""

import argparse
from pathlib import Path

import numpy as np

from jaxsnn_mia import config, data
from jaxsnn_mia.pipeline.run import run_pipeline
from jaxsnn_mia.report import console, tables

N, T, D = 300, 12, 10


def recordings() -> data.Dataset:
    """Two classes that differ in when their channels fire."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=N)
    rate = 0.15 + 0.25 * (np.arange(T)[None, :, None] < T // 2) * (y == 1)[:, None, None]
    return data.from_arrays((rng.random((N, T, D)) < rate).astype(np.uint8), y, layout="events")


def main(workdir: Path) -> dict[tuple[str, str], float]:
    """The AUC of each (family, attack)."""
    workdir.mkdir(parents=True, exist_ok=True)
    data.save(workdir / "spikes.npz", recordings())
    c = config.from_dict({
        "data": {"name": f"npz:{workdir / 'spikes.npz'}"},
        "model": {"architecture": "recurrent", "hidden": (16,), "time_steps": T},
        "splits": {"n_shadows": 8},
        "train": {"epochs": 8, "lr": 1e-2},
        "metrics": {"replicates_auc": 50, "replicates_tpr": 20},
        "sweep": {"family": ("snn", "ann")},
    })  # fmt: skip
    run_pipeline(c, workdir / "run")
    rows = tables.read(workdir / "run")
    print(console.for_console(tables.table(rows)))
    return {(row["family"], row["attack"]): row["value"] for row in rows if row["metric"] == "auc"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    main(parser.parse_args().workdir)
