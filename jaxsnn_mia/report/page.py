"""Writes results.csv, summary.json and one self-contained report.html over all variants of a run, or of several."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxsnn_mia.report import answers, reading, seeds, tables
from jaxsnn_mia.report.contents import Contents
from jaxsnn_mia.report.reading import Variant
from jaxsnn_mia.report.sections import SECTIONS
from jaxsnn_mia.store.files import digest, file_sha256, intact, write_json, write_text

TEMPLATE_VERSION = 16
HOW = "Every model is a target once, attacked with the others, its complement left out."
ALONE = "Every model is a target once, attacked by its own answers."
FILES = ("results.csv", "report.html")
Paths = Mapping[str, Mapping[str, Path]]


def write(
    settings: dict[str, Any], workdir: Path, paths: Paths, *, title: str, level: float,
    pairs: Sequence[tuple[str, str]] | None = None, how: str = HOW, releases: Sequence[Mapping[str, Any]] = (),
    records: Sequence[Mapping[str, Any]] = (), left_out: Mapping[str, tuple[Mapping[str, Any], str]] | None = None,
) -> None:  # fmt: skip
    """Makes the report, unless it is up to date.

    Args:
      settings: of the run, or of each run by name; the page shows them.
      workdir: where results.csv, report.html and summary.json are written.
      paths: variant -> stage -> the folder of the stage; "metrics" is needed, the others are shown if there.
      title: of the page.
      level: of the intervals, in (0, 1).
      pairs: (variant, reference) of each difference. None: each variant against the first with the same splits.
      how: a sentence that says what was left out with a target.
      releases: rows of `pipeline.releases`, of models of which several versions are attacked together.
      left_out: the labels of each variant that is not in `paths`, and why.
      records: rows of `audit.records`, the most exposed examples by the ids of their owner.
    """
    names = {
        name: {stage: path.parent.name + "/" + path.name for stage, path in of.items()} for name, of in paths.items()
    }
    made = [file_sha256(of["metrics"] / "summary.json") for of in paths.values()]
    left_out = left_out or {}
    inputs = digest([TEMPLATE_VERSION, settings, names, made, pairs, how, *releases, *records, left_out])
    if is_current(workdir, inputs):
        return
    variants = reading.read(paths)
    pairs = against_first(variants) if pairs is None else pairs
    measured = {name: variant.measured for name, variant in variants.items()}
    differences, over_seeds = answers.differences(measured, pairs, level), seeds.rows(variants, level)
    contents = Contents(settings, variants, level, how, releases, left_out, records, differences, over_seeds)
    every = [*over_seeds, *contents.rows, *contents.rows_of_differences]
    rows = [{key: nan_for_none(value) for key, value in row.items()} for row in every]
    write_text(workdir / "results.csv", tables.as_csv([*rows, *contents.rows_left_out]))
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    write_text(workdir / "report.html", html(title, contents, f"{workdir.absolute().name}, {now}"))
    summary = {
        "inputs": inputs,
        "made": time.ctime(),
        "files": {name: file_sha256(workdir / name) for name in FILES},
        "stages": {
            name: {stage: os.path.relpath(path, workdir) for stage, path in of.items()} for name, of in paths.items()
        },
        "over_seeds": over_seeds,
        "differences": [answers.as_line(one) for one in differences],
        "left_out": {name: reason for name, (_, reason) in left_out.items()},
        "variants": {name: variant.summary for name, variant in variants.items()},
    }
    write_json(workdir / "summary.json", {**summary, "digest": digest(summary)})


def is_current(workdir: Path, inputs: str) -> bool:
    """Whether the report was made from these inputs and nothing of it is missing or damaged."""
    try:
        made = json.loads((workdir / "summary.json").read_text())
        whole = made.pop("digest") == digest(made)
        files = made["files"].items()
        return whole and made["inputs"] == inputs and all(intact(workdir / name, sha) for name, sha in files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def nan_for_none(value: Any) -> Any:
    return float("nan") if value is None else value


def against_first(variants: Mapping[str, Variant]) -> list[tuple[str, str]]:
    """(variant, reference): each variant against the first one that has its data and its splits."""
    first: dict[tuple[str, str], str] = {}
    pairs = []
    for name, variant in variants.items():
        reference = first.setdefault((variant.dataset, variant.measured.splits), name)
        if reference != name:
            pairs.append((name, reference))
    return pairs


def html(title: str, contents: Contents, made: str) -> str:
    """The page: each of `SECTIONS` that has something to show, in their order. `made`: of what and when."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxsnn_mia", "report"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    show = environment.get_template("blocks.html.j2").module
    sections = [section for make in SECTIONS if (section := make(contents, show))]
    return environment.get_template("page.html.j2").render(title=title, made=made, sections=sections)
