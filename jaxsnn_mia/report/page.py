"""results.csv, summary.json and one self-contained report.html over all variants of a workdir."""

import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from jaxsnn_mia import __version__, results, store

TEMPLATE_VERSION = 5
FILES = ("results.csv", "report.html")


def write(settings: dict[str, Any], workdir: Path, metrics: dict[str, Path], *, title: str, level: float) -> None:
    """Makes the report from the metrics folder of each variant, unless it is up to date; `settings` are shown in it."""
    inputs = store.digest([TEMPLATE_VERSION, settings, {name: path.name for name, path in metrics.items()}])
    if is_current(workdir, inputs):
        return
    summaries = {name: json.loads((path / "summary.json").read_text()) for name, path in metrics.items()}
    rows = [row for summary in summaries.values() for row in summary["rows"]]
    store.write_text(
        workdir / "results.csv",
        results.as_csv([{k: nan_for_none(v) for k, v in row.items()} for row in rows]),
    )
    curves, grids = (arrays_of(metrics, file) for file in ("roc.npz", "grids.npz"))
    store.write_text(workdir / "report.html", html(settings, summaries, rows, curves, grids, title, level))
    files = {name: store.file_sha256(workdir / name) for name in FILES}
    store.write_json(
        workdir / "summary.json", {"inputs": inputs, "made": time.ctime(), "files": files, "variants": summaries}
    )


def arrays_of(metrics: dict[str, Path], file: str) -> dict[str, dict[str, np.ndarray]]:
    """variant -> the arrays of one of its files, by name; none where it is not there."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, path in metrics.items():
        found[name] = {}
        if (path / file).exists():
            with np.load(path / file, allow_pickle=False) as arrays:
                found[name] = {array: arrays[array] for array in arrays.files}
    return found


def is_current(workdir: Path, inputs: str) -> bool:
    """Whether the report was made from these inputs and nothing of it is missing or damaged."""
    try:
        made = json.loads((workdir / "summary.json").read_text())
        return made["inputs"] == inputs and all(
            store.intact(workdir / name, sha) for name, sha in made["files"].items()
        )
    except (OSError, ValueError, KeyError):
        return False


def nan_for_none(value: Any) -> Any:
    return float("nan") if value is None else value


def html(settings: dict, summaries: dict, rows: list[dict], curves: dict, grids: dict, title: str, level: float) -> str:
    import jinja2

    from jaxsnn_mia.report import figures

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxsnn_mia", "report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("page.html.j2").render(
        title=title,
        lines=results.table(rows),
        strongest=results.strongest_table(rows),
        privacy=results.privacy_lines(rows),
        summaries=summaries,
        scatter=figures.privacy_against_accuracy(rows),
        beyond=results.beyond_tables(rows),
        grids={
            f"{variant}, {way.replace('_', ' ')}": figures.image_grid(images)
            for variant, by_way in grids.items()
            for way, images in by_way.items()
        },
        rocs=[figures.log_log_roc(name, curve) for name, curve in curves.items()],
        config=json.dumps(settings, indent=1),
        config_hash=store.digest(settings),
        hardware=hardware(),
        versions={name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")},
        version=__version__,
        made=time.strftime("%Y-%m-%d %H:%M"),
        level=level,
    )


def hardware() -> str:
    """The machine in one line."""
    import jax

    kinds = {device.device_kind for device in jax.devices()}
    return f"{platform.machine()}, {os.cpu_count()} cores, {jax.device_count()} x {', '.join(sorted(kinds))}"
