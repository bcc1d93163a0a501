"""The rows of a data stage by their role."""

from pathlib import Path

import numpy as np

from jaxsnn_mia.data import splits
from jaxsnn_mia.store.files import read_array

PARTS = {
    "candidates": splits.CANDIDATE,
    "population": splits.POPULATION,
    "validation": splits.VALIDATION,
    "test": splits.TEST,
}


def candidates(data_folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, y, unit) of the candidates."""
    return rows_of(data_folder, splits.CANDIDATE)


def canaries(data_folder: Path) -> np.ndarray | None:
    """bool [N]: which candidates are canaries; None where there are none."""
    file = data_folder / "canary.npy"
    if not file.exists():
        return None
    return np.asarray(read_array(file))[read_array(data_folder / "role.npy") == splits.CANDIDATE]


def rows_of(data_folder: Path, role: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, y, unit) of the rows with a role."""
    chosen = read_array(data_folder / "role.npy") == role
    x, y, unit = (read_array(data_folder / f"{name}.npy")[chosen] for name in ("x", "y", "unit"))
    return x, y, unit
