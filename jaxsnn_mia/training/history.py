"""What became of the shadows of a finished training: history.npz and shadows.jsonl."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from jaxsnn_mia.store.files import write_npz, write_text
from jaxsnn_mia.training.ensemble import Ensemble
from jaxsnn_mia.training.groups import load_group
from jaxsnn_mia.training.inputs import Inputs


def gather(folder: Path, inputs: Inputs, plan: dict[str, Any], ensemble: Ensemble, n_devices: int) -> None:
    """Writes the history of a training whose groups are all trained."""
    histories, finite, epochs = [], [], []
    for group in range(plan["groups"]):
        trained, _, _ = load_group(folder, inputs, ensemble, plan, group, n_devices)
        histories.append(trained.history)
        finite.append(all_finite(trained.state.params))
        epochs.append(trained.epochs)
    write_history(folder, *map(np.concatenate, (histories, finite, epochs)))


def all_finite(params: Any) -> np.ndarray:
    """bool [G]: the models all of whose parameters are finite (the last update comes after the last loss)."""
    return np.all([np.isfinite(leaf).reshape(len(leaf), -1).all(1) for leaf in jax.tree.leaves(params)], axis=0)


def write_history(folder: Path, history_seh: np.ndarray, finite_s: np.ndarray, epochs_s: np.ndarray) -> None:
    """Writes history.npz (loss, accuracy and, where it decides on stopping, validation: [S, E]; epochs [S]) and
    shadows.jsonl; a loss or parameter that is not finite is a diverged shadow."""
    columns = dict(zip(("loss", "accuracy", "validation"), np.moveaxis(history_seh, 2, 0), strict=False))
    loss_se, accuracy_se = columns["loss"], columns["accuracy"]
    write_npz(folder / "history.npz", {"epochs": epochs_s, **columns})
    valid_s = np.isfinite(loss_se).all(1) & finite_s
    lines = [
        {
            "id": s,
            "status": "ok" if valid_s[s] else "diverged",
            "epochs": int(epochs_s[s]),
            "train_accuracy": round(float(accuracy_se[s, -1]), 6),
            "loss": float(loss_se[s, -1]) if np.isfinite(loss_se[s, -1]) else None,
        }
        for s in range(len(loss_se))
    ]
    if not valid_s.all():
        logging.warning(
            "%d of %d shadows diverged and are excluded with their pairs: %s",
            np.sum(~valid_s), len(valid_s), np.flatnonzero(~valid_s).tolist(),
        )  # fmt: skip
    write_text(folder / "shadows.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def valid_shadows(folder: Path) -> np.ndarray:
    """valid_s bool [S]: the shadows that trained to the end."""
    lines = (folder / "shadows.jsonl").read_text().splitlines()
    return np.array([json.loads(line)["status"] == "ok" for line in lines])
