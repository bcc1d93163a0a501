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

TEMPLATE_VERSION = 4
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
    curves = {}
    for name, path in metrics.items():
        with np.load(path / "roc.npz", allow_pickle=False) as arrays:
            curves[name] = {attack: arrays[attack] for attack in arrays.files}
    store.write_text(workdir / "report.html", html(settings, summaries, rows, curves, title, level))
    files = {name: store.file_sha256(workdir / name) for name in FILES}
    store.write_json(
        workdir / "summary.json", {"inputs": inputs, "made": time.ctime(), "files": files, "variants": summaries}
    )


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


def html(settings: dict, summaries: dict, rows: list[dict], curves: dict, title: str, level: float) -> str:
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
