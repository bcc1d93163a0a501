"""What a stage of a threat beyond membership leaves on disk, and what the metrics read of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxsnn_mia.store.files import read_array, write_json, write_npz

Rows = list[dict[str, Any]]


def write(folder: Path, attack: str, rows: Rows, models: np.ndarray, targets: np.ndarray) -> None:
    """rows.json, rows of results without their replicates; replicates.npz: [R] of each metric; about.json: the models
    and the targets. Variants that have the same are drawn alike, so that their replicates can be subtracted."""
    write_json(folder / "about.json", {"models": np.asarray(models).tolist(), "targets": np.asarray(targets).tolist()})
    sizes = {"n_shadows": len(models), "n_examples": len(targets)}
    shown = [{"attack": attack, **sizes, **{k: v for k, v in row.items() if k != "replicates"}} for row in rows]
    write_json(folder / "rows.json", shown)
    write_npz(folder / "replicates.npz", {row["metric"]: row["replicates"] for row in rows})


def read_rows(folder: Path) -> Rows:
    """The rows of a finished stage."""
    return json.loads((folder / "rows.json").read_text())


def read_grid(folder: Path) -> np.ndarray | None:
    """The images that a stage shows, uint8 [2, K, H, W, channels]; None where it shows none."""
    file = folder / "grid.npy"
    return np.asarray(read_array(file)) if file.exists() else None
