"""results.csv, summary.json and one self-contained report.html over all variants of a run, or of several runs."""

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from jaxsnn_mia import __version__
from jaxsnn_mia.report import answers, exposed, plots, reading, stability, tables
from jaxsnn_mia.report.reading import Variant
from jaxsnn_mia.store.files import digest, file_sha256, intact, write_json, write_text

TEMPLATE_VERSION = 12
HOW = "Every model is a target once, attacked with the others, its complement left out."
FILES = ("results.csv", "report.html")
Paths = Mapping[str, Mapping[str, Path]]


def write(
    settings: dict[str, Any], workdir: Path, paths: Paths, *, title: str, level: float,
    pairs: Sequence[tuple[str, str]] | None = None, how: str = HOW,
) -> None:  # fmt: skip
    """Makes the report from the folders of the stages of each variant, by stage, unless it is up to date. `settings`
    are shown in it. `pairs`: (variant, reference) of the differences; None: each against the first of the same splits.
    `how`: what was left out with a target, in a sentence.
    """
    names = {
        name: {stage: path.parent.name + "/" + path.name for stage, path in of.items()} for name, of in paths.items()
    }
    made = [file_sha256(of["metrics"] / "summary.json") for of in paths.values()]
    inputs = digest([TEMPLATE_VERSION, settings, names, made, pairs, how])
    if is_current(workdir, inputs):
        return
    variants = reading.read(paths)
    rows = [row for variant in variants.values() for row in variant.rows]
    write_text(
        workdir / "results.csv",
        tables.as_csv([{k: nan_for_none(v) for k, v in row.items()} for row in rows]),
    )
    write_text(workdir / "report.html", html(settings, variants, rows, title, level, pairs, how))
    write_json(
        workdir / "summary.json",
        {
            "inputs": inputs,
            "made": time.ctime(),
            "files": {name: file_sha256(workdir / name) for name in FILES},
            "stages": {
                name: {stage: os.path.relpath(path, workdir) for stage, path in of.items()}
                for name, of in paths.items()
            },
            "variants": {name: variant.summary for name, variant in variants.items()},
        },
    )  # fmt: skip


def is_current(workdir: Path, inputs: str) -> bool:
    """Whether the report was made from these inputs and nothing of it is missing or damaged."""
    try:
        made = json.loads((workdir / "summary.json").read_text())
        return made["inputs"] == inputs and all(intact(workdir / name, sha) for name, sha in made["files"].items())
    except (OSError, ValueError, KeyError):
        return False


def nan_for_none(value: Any) -> Any:
    return float("nan") if value is None else value


def in_turn(variants: Mapping[str, Variant]) -> list[tuple[str, str]]:
    """(variant, reference): the first variant of the same data and splits."""
    first: dict[tuple[str, str], str] = {}
    of = {name: (variant.dataset, variant.found.splits) for name, variant in variants.items()}
    for name, key in of.items():
        first.setdefault(key, name)
    return [(name, first[key]) for name, key in of.items() if first[key] != name]


def html(
    settings: dict, variants: Mapping[str, Variant], rows: list[dict], title: str, level: float,
    pairs: Sequence[tuple[str, str]] | None = None, how: str = HOW,
) -> str:  # fmt: skip
    import jinja2

    from jaxsnn_mia.report import figures

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxsnn_mia", "report"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found = {name: variant.found for name, variant in variants.items()}
    by_dataset: dict[str, list[str]] = {}
    for name, variant in variants.items():
        by_dataset.setdefault(variant.dataset, []).append(name)
    shown = {
        name: exposed.most_exposed(variant.examples, variant.paths.get("data")) for name, variant in variants.items()
    }
    per_example = {
        of: {name: variants[name].examples["auc"] for name in names if "auc" in variants[name].examples}
        for of, names in by_dataset.items()
    }
    histories = {
        of: {name: variants[name].history for name in names if "loss" in variants[name].history}
        for of, names in by_dataset.items()
    }
    return environment.get_template("page.html.j2").render(
        title=title,
        level=level,
        how=how,
        answers={of: [answers.answer(name, found[name]) for name in names] for of, names in by_dataset.items()},
        differences=[
            {
                "variant": one.variant,
                "less": one.reference,
                "by AUC": one.verdict,
                "attack": one.attack,
                "AUC": answers.signed(one.auc),
                "TPR": answers.signed(one.tpr),
                "test accuracy": answers.signed(one.accuracy),
                "paired": "yes" if one.paired else "no",
            }
            for one in answers.differences(found, in_turn(variants) if pairs is None else pairs, level)
        ],
        scatter=figures.privacy_against_accuracy(rows),
        rocs=[
            figures.log_log_roc(name, part)
            for name, variant in variants.items()
            for part in figures.parts(variant.curves)
        ],
        lines=tables.table(rows),
        strongest=tables.strongest_table(rows),
        exposure=[
            figures.vulnerability(of, part, luck(variants, part))
            for of, aucs in per_example.items()
            for part in figures.parts(aucs)
        ],
        exposed={name: of for name, of in shown.items() if of},
        exposed_csv=plots.as_csv(exposed.as_rows(shown)),
        halves=stability.halves(variants),
        over_seeds=stability.over_seeds(variants, level),
        training=[
            figures.training_curves(of, part) for of, curves in histories.items() for part in figures.parts(curves)
        ],
        privacy=tables.privacy_lines(rows),
        beyond=tables.beyond_tables(rows),
        grids=[
            figures.image_grid(f"{name}, {way.replace('_', ' ')}", images)
            for name, variant in variants.items()
            for way, images in variant.grids.items()
        ],
        samples=[sample(name, variant.summary) for name, variant in variants.items()],
        costs=reading.costs({name: variant.paths for name, variant in variants.items()}),
        config=json.dumps(settings, indent=1),
        config_hash=digest(settings),
        hardware=hardware(),
        versions={name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")},
        version=__version__,
        made=time.strftime("%Y-%m-%d %H:%M"),
        repeatable="train" in settings,
    )  # fmt: skip


def luck(variants: Mapping[str, Variant], names: Mapping[str, Any]) -> dict[str, float]:
    """The deviation of an example's AUC without any leak, by the number of targets (`exposure.per_example`)."""
    targets = {name: variants[name].rows[0]["n_shadows"] for name in names}
    return {name: float(np.sqrt((s + 1) / 3) / s) for name, s in targets.items()}


def sample(name: str, summary: Mapping[str, Any]) -> dict[str, str]:
    names = {"shadows": "shadow models", "diverged": "diverged", "candidates": "candidates",
             "distinct_examples": "distinct examples"}  # fmt: skip
    return {"variant": name, **{said: str(summary[key]) for key, said in names.items()}}


def hardware() -> str:
    """The machine in one line."""
    import jax

    kinds = {device.device_kind for device in jax.devices()}
    return f"{platform.machine()}, {os.cpu_count()} cores, {jax.device_count()} x {', '.join(sorted(kinds))}"
