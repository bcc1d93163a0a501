"""A small audit on real data that many tests run, in this process or as a command."""

import sys
from pathlib import Path

import numpy as np

from jaxsnn_mia import config
from jaxsnn_mia.settings import Attacks

ROOT = Path(__file__).parents[1]
SMALL = {
    "splits": {"n_shadows": 8},
    "model": {"family": "ann", "hidden": (16,)},
    "train": {"epochs": 6, "batch_size": 32, "snapshot_epochs": (2,)},
    "ensemble": {"group_size": 4},
    "metrics": {"replicates_auc": 50, "replicates_tpr": 20},
    "sweep": {"dataset": ("breast_cancer",)},
}
OVERRIDES = [
    "--config.splits.n_shadows=8",
    "--config.model.hidden=(16,)",
    "--config.model.family=ann",
    "--config.train.epochs=6",
    "--config.train.batch_size=32",
    "--config.train.snapshot_epochs=(2,)",
    "--config.ensemble.group_size=4",
    "--config.metrics.replicates_auc=50",
    "--config.metrics.replicates_tpr=20",
    "--config.sweep.dataset=('breast_cancer',)",
    "--config.sweep.family=()",
]


def small(**changes):
    merged = {name: {**SMALL.get(name, {}), **changes.get(name, {})} for name in SMALL | changes}
    return config.from_dict(merged)


def scores(workdir: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path) for path in workdir.glob("*/attacks-*/*.npy")}


def assert_same_scores(a: Path, b: Path):
    assert scores(a).keys() == scores(b).keys() == set(Attacks().names)
    for name, array in scores(a).items():
        np.testing.assert_array_equal(array, scores(b)[name])


def command(workdir: Path, *flags: str) -> list[str]:
    config_file = ROOT / "experiments/configs/quickstart.py"
    return [sys.executable, str(ROOT / "experiments/run.py"), f"--config={config_file}", f"--workdir={workdir}",
            *OVERRIDES, *flags]  # fmt: skip
