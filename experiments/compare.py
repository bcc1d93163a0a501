"""One report over several finished runs, with paired differences.

    python experiments/compare.py runs/a runs/b [runs/c ...] [--out=runs/compared] [--title=TEXT]

The variants of the first run are compared with each other as in its own report. A variant of another run is compared
with the variant of the first run that has its name, or else with one there that has its data set. Where both have the
same examples, splits and draws, what they share cancels. Elsewhere the differences are those of independent samples,
and the report says so. FOLDER/report.html, results.csv and summary.json are written; variants are named RUN/VARIANT.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from jaxsnn_mia.report import console, page, reading


def stages_of(run: Path) -> dict[str, dict[str, Path]]:
    """The folders of the stages of each variant of a finished run. ValueError where there is no report to compare."""
    try:
        held = json.loads((run / "summary.json").read_text())["stages"]
    except (OSError, ValueError, KeyError):
        raise ValueError(f"{run} holds no report of this version. Finish it, or run it again, to make one.") from None
    folders = {name: {stage: run / path for stage, path in of.items()} for name, of in held.items()}
    for of in folders.values():
        if not of["metrics"].exists():
            raise ValueError(f"{of['metrics']} is missing: {run} was moved or cleaned in parts. Run it again.")
    return folders


def names_of(runs: list[Path]) -> list[str]:
    """A short name for each run: its folder, with as many of its parents as tell it from the others."""
    depth = 1
    while len({run.resolve().parts[-depth:] for run in runs}) < len(runs):
        depth += 1
    return [" ".join(run.resolve().parts[-depth:]) for run in runs]


def pairs_of(variants: dict[str, reading.Variant], first: str) -> list[tuple[str, str]]:
    """(variant, reference) of each difference. Variants of the run `first` are compared as in its own report."""
    of_first = {name: variant for name, variant in variants.items() if name.startswith(f"{first}/")}
    pairs = page.against_first(of_first)
    for name, variant in variants.items():
        if name not in of_first:
            reference = reference_of(name, variant, of_first, first)
            if reference is not None:
                pairs.append((name, reference))
    return pairs


def reference_of(name: str, variant: reading.Variant, of_first: dict[str, reading.Variant], first: str) -> str | None:
    """The variant of the first run that has the same name; else one with the same data set and splits; else one with
    the same data set; else None."""
    same_name = f"{first}/{name.partition('/')[2]}"
    if same_name in of_first:
        return same_name
    same_data = [other for other in of_first if of_first[other].dataset == variant.dataset]
    for other in same_data:
        if of_first[other].measured.splits == variant.measured.splits:
            return other
    return same_data[0] if same_data else None


def level_of(variants: dict[str, reading.Variant]) -> float:
    """The level of the intervals. ValueError where the runs have different ones."""
    levels = {row["level"] for variant in variants.values() for row in variant.rows if "level" in row}
    if len(levels) != 1:
        raise ValueError(f"`metrics.level` must be the same in all runs, got {sorted(levels)}. Run one again.")
    return levels.pop()


def compare(folders: list[Path], out: Path, title: str) -> None:
    """Writes the report over all runs to `out`."""
    if len({folder.resolve() for folder in folders}) < max(len(folders), 2):
        raise ValueError(f"at least two different runs are needed, got {[str(folder) for folder in folders]}.")
    if out.resolve() in {folder.resolve() for folder in folders}:
        raise ValueError(f"--out must be another folder than the runs, got {out}.")
    runs = {name: stages_of(folder) for name, folder in zip(names_of(folders), folders, strict=True)}
    paths = {f"{run}/{name}": of for run, variants in runs.items() for name, of in variants.items()}
    variants = reading.read(paths)
    settings = {run: config_of(folder) for run, folder in zip(runs, folders, strict=True)}
    out.mkdir(parents=True, exist_ok=True)
    page.write(settings, out, paths, title=title, level=level_of(variants), pairs=pairs_of(variants, next(iter(runs))))


def config_of(run: Path) -> dict[str, Any]:
    """The config of a run; empty where it has none."""
    file = run / "config.json"
    return json.loads(file.read_text())["config"] if file.exists() else {}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("runs/compared"))
    parser.add_argument("--title", default="Membership-inference audits compared")
    given = parser.parse_args(argv)
    try:
        compare(given.runs, given.out, given.title)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    print(console.summary(given.out))
    print(f"\n{os.path.join(given.out, 'report.html')}")


if __name__ == "__main__":
    main(sys.argv[1:])
