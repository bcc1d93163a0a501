"""Reads what the page shows of each variant from the folders of its stages."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxsnn_mia.data import splits
from jaxsnn_mia.report.answers import Measured
from jaxsnn_mia.store.files import read_array
from jaxsnn_mia.store.stage import MANIFEST, read_manifest

DIRTY = "-dirty"  # ends the commit of a checkout with changes


class Variant(NamedTuple):
    """One variant: the folders of its stages, its summary.json, and the arrays of its files (none where one is
    missing)."""

    paths: Mapping[str, Path]
    summary: dict[str, Any]
    curves: dict[str, np.ndarray]
    grids: dict[str, np.ndarray]
    examples: dict[str, np.ndarray]
    drawn: dict[str, np.ndarray]
    history: dict[str, np.ndarray]
    histograms: dict[str, np.ndarray] = {}  # noqa: RUF012

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.summary["rows"]

    @property
    def dataset(self) -> str:
        return self.rows[0]["dataset"]

    @property
    def measured(self) -> Measured:
        pairs = self.rows[0]["n_shadows"] // 2
        return Measured(self.rows, self.drawn, max(pairs, 1), self.summary["splits"], self.summary["drawn"])


def read(paths: Mapping[str, Mapping[str, Path]]) -> dict[str, Variant]:
    """Every variant by name. `paths`: variant -> stage -> folder; "metrics" is needed, others are read if there."""
    variants = {}
    for name, of in paths.items():
        summary = json.loads((of["metrics"] / "summary.json").read_text())
        # RUN/VARIANT where there are several runs
        summary |= {"variant": name, "rows": [{**row, "variant": name} for row in summary["rows"]]}
        variants[name] = Variant(
            paths=of,
            summary=summary,
            curves=arrays(of["metrics"] / "roc.npz"),
            grids=arrays(of["metrics"] / "grids.npz"),
            examples=arrays(of["metrics"] / "examples.npz"),
            drawn=arrays(of["metrics"] / "replicates.npz"),
            history=arrays(of["train"] / "history.npz") if "train" in of else {},
            histograms=arrays(of["metrics"] / "histograms.npz"),
        )
    return variants


def arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name; none where it is not there."""
    if not file.exists():
        return {}
    with np.load(file, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


def folders(paths: Mapping[str, Mapping[str, Path]]) -> dict[Path, str]:
    """The folder of each stage once, called [RUN/]VARIANT/STAGE, or [RUN/]STAGE where variants share it."""
    names: dict[Path, str] = {}
    for variant, of in paths.items():
        run = variant.rpartition("/")[0]
        for path in of.values():
            folder = path if (path / MANIFEST).exists() else path.parent
            if (folder / MANIFEST).exists():
                shared = folder.name.startswith(("data-", "splits-"))
                before = run if shared else variant
                names.setdefault(folder, f"{before}/{folder.name}" if before else folder.name)
    return names


def costs(paths: Mapping[str, Mapping[str, Path]]) -> list[dict[str, str]]:
    """One line per stage: its time, its memory and its machine; ready to print."""
    lines = []
    for folder, name in folders(paths).items():
        about = read_manifest(folder)
        lines.append(
            {
                "stage": name,
                "of": about.get("inputs", {}).get("name", ""),
                "seconds": f"{about['seconds']:.1f}",
                "peak memory (MB)": megabytes(about.get("peak_host_bytes")),
                "on devices (MB)": megabytes(about.get("peak_device_bytes")),
                "device": about["device"],
                "Python, jax": f"{about['python']}, {about['jax']}",
                "commit": short_commit(about["commit"]),
            }
        )
    return lines


def megabytes(count: int | None) -> str:
    return "n/a" if count is None else f"{count / 1e6:.0f}"


def short_commit(commit: str) -> str:
    """The first 10 digits, and whether the checkout had changes; "n/a" without a commit."""
    if not commit:
        return "n/a"
    return commit[:10] + DIRTY if commit.endswith(DIRTY) else commit[:10]


def candidate_rows(data: Path) -> np.ndarray:
    """The places of the candidates among all rows of the data stage: what names an example in other splits of it."""
    return np.flatnonzero(read_array(data / "role.npy") == splits.CANDIDATE)
