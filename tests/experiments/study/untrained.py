"""The pipeline without training: data and splits as they are, random numbers in the place of every result."""

import json
from pathlib import Path

import numpy as np

from jaxsnn_mia.config import sweep
from jaxsnn_mia.pipeline.metrics import labels
from jaxsnn_mia.pipeline.run import data_and_splits
from jaxsnn_mia.report import tables
from jaxsnn_mia.settings import Config, as_dict
from jaxsnn_mia.store.files import digest, write_json, write_text
from jaxsnn_mia.store.workdir import write_config

ACCURACIES = ("train_accuracy", "test_accuracy", "validation_accuracy", "gap")


def run_pipeline(c: Config, folder: Path, until: str) -> dict[str, Path]:
    """As `pipeline.run.run_pipeline` up to the metrics: the same folders, the same columns of results.csv. Rows with
    the same labels have the same values, as those of the same models have."""
    assert until == "metrics"
    metrics = {}
    write_config(folder, as_dict(c))
    for name, variant in sweep.variants(c).items():
        data_and_splits(variant, folder)
        about = {"variant": name, **labels(variant)}
        seed = int(digest({key: value for key, value in about.items() if key != "variant"}), 16)
        rng = np.random.default_rng(seed)
        kinds = [("", metric) for metric in ACCURACIES]
        for attack in (*variant.attacks.names, "strongest"):
            kinds += [(attack, "auc"), (attack, "tpr@0.01"), (attack, "balanced_accuracy")]
        rows = [
            about | {"attack": attack, "metric": metric, "value": float(rng.uniform(0.5, 0.9)), "n_shadows": 12}
            for attack, metric in kinds
        ]
        metrics[name] = folder / name / "metrics-0"
        write_text(metrics[name] / "results.csv", tables.as_csv(rows))
        train = folder / name / "train-0"
        write_json(train / "manifest.json", {"members": [name], "seconds": 1.0, "device": "none", "jax": "0"})
        assert json.loads((train / "manifest.json").read_text())["members"] == [name]
    return metrics
