"""One report over several finished runs, with paired differences.

    python experiments/compare.py runs/a runs/b [runs/c ...] [--out=runs/compared] [--title=TEXT]

The variants of the first run are set against each other as in its own report; one of another run against that of its
name in the first, or else against the first there with its data set. Where both have the same examples, splits and
draws, what they share cancels; elsewhere the differences are those of independent samples, and the report says so.
FOLDER/report.html, results.csv and summary.json are written, variants named RUN/VARIANT.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from jaxsnn_mia.report import page, reading, tables


def stages_of(run: Path) -> dict[str, dict[str, Path]]:
    """The folders of the stages of each variant of a finished run. ValueError where there is no report to compare."""
    try:
        held = json.loads((run / "summary.json").read_text())["stages"]
    except (OSError, ValueError, KeyError):
        raise ValueError(f"{run} holds no report of this version. Finish it, or run it again, to make one.") from None
    found = {name: {stage: run / path for stage, path in of.items()} for name, of in held.items()}
    gone = [str(of["metrics"]) for of in found.values() if not of["metrics"].exists()]
    if gone:
        raise ValueError(f"{gone[0]} is missing: {run} was moved or cleaned in parts. Run it again.")
    return found


def names_of(runs: list[Path]) -> list[str]:
    """A short name for each run: its folder, with as many of its parents as tell it from the others."""
    depth = 1
    while len({run.resolve().parts[-depth:] for run in runs}) < len(runs):
        depth += 1
    return [" ".join(run.resolve().parts[-depth:]) for run in runs]


def pairs_of(variants: dict[str, reading.Variant], first: str) -> list[tuple[str, str]]:
    """(variant, reference): those of the first run as in its own report; any other against the variant of its name in
    the first run, else against one of its data set, if it can be with the same splits."""
    own = {name: variant for name, variant in variants.items() if name.startswith(f"{first}/")}
    pairs = page.in_turn(own)
    for name, variant in variants.items():
        if name not in own:
            same = f"{first}/{name.partition('/')[2]}"
            of_set = [other for other in own if own[other].dataset == variant.dataset]
            alike = [other for other in of_set if own[other].found.splits == variant.found.splits]
            pairs += [(name, reference) for reference in [same] * (same in own) or (alike or of_set)[:1]]
    return pairs


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
    configs = [folder / "config.json" for folder in folders]
    settings = {
        run: json.loads(file.read_text())["config"] if file.exists() else {}
        for run, file in zip(runs, configs, strict=True)
    }
    out.mkdir(parents=True, exist_ok=True)
    page.write(settings, out, paths, title=title, level=level_of(variants), pairs=pairs_of(variants, next(iter(runs))))


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
    print(tables.as_text(tables.table(tables.read(given.out))))
    print(f"\n{os.path.join(given.out, 'report.html')}")


if __name__ == "__main__":
    main(sys.argv[1:])
