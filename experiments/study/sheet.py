"""Rows of results as CSV files."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jaxsnn_mia.store.files import atomic

RESULTS = Path(__file__).parents[1] / "results" / "study"
# of the rows of every table but as_released.csv and cost.csv
COLUMNS = (
    "dataset", "family", "readout", "reset", "mode", "quantized", "bits_weight", "bits_activation", "bits_state",
    "surrogate", "slope", "encoding", "T", "lr", "epoch", "seed", "attack", "metric", "value", "n_shadows",
    "n_examples",
)  # fmt: skip


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a file; none where it is not there."""
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> None:
    """The columns of rows, whole or not at all; other keys are left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def replace(path: Path, new: Sequence[dict[str, Any]], columns: Sequence[str], key: Sequence[str]) -> None:
    """Puts rows in the place of those that agree with one of them in all of `key`; the file is sorted by `key`."""
    done = {tuple(str(row[column]) for column in key) for row in new}
    old = [row for row in read(path) if tuple(row[column] for column in key) not in done]
    write(path, sorted([*old, *new], key=lambda row: [str(row[column]) for column in columns]), columns)
