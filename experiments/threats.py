"""Which variant of a run gives away more beyond membership: each against one of them, paired.

    python experiments/threats.py runs/inversion [--against=VARIANT] [--out=FOLDER]

Prints a table of every threat (and writes FOLDER/threats.md): for each variant a measure with its interval, and its
difference to the reference with the interval of that, from replicates that are drawn alike. A difference whose interval
holds 0 is one that this run cannot tell.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxsnn_mia import intervals

# what each threat is judged by, and whether more of it is a larger leak
MEASURES = {
    "mse_gap": 1, "feature_gap": 1, "dissimilarity_gap": 1, "nearest_mse_gap": 1, "nearest_dissimilarity_gap": 1,
    "mse_member": -1, "evaluator_accuracy": 1, "mse": -1, "recovered": 1,
    "member_over_imputation": 1, "other_over_imputation": 1, "member_over_other": 1,
}  # fmt: skip
TOLD = {1: "more", -1: "less", 0: "cannot be told"}


class Found(NamedTuple):
    """Of one variant and threat: rows by metric, replicates by metric, the models and the targets."""

    rows: dict[str, dict]
    drawn: dict[str, np.ndarray]
    about: dict[str, list]


def stages(workdir: Path) -> Iterator[tuple[str, Found]]:
    """(variant, what was found) for each stage that the report of a finished run was made from."""
    summary = json.loads((workdir / "summary.json").read_text())
    for variant, of in summary["variants"].items():
        for stage in of.get("beyond", ()):
            path = workdir / variant / stage
            rows = {row["metric"]: row for row in json.loads((path / "rows.json").read_text())}
            with np.load(path / "replicates.npz") as arrays:
                drawn = {name: arrays[name] for name in arrays.files}
            yield variant, Found(rows, drawn, json.loads((path / "about.json").read_text()))


def table(workdir: Path, against: str) -> Iterator[str]:
    """Lines of markdown. ValueError for a reference that the run does not have."""
    found = {(next(iter(f.rows.values()))["attack"], variant): f for variant, f in stages(workdir)}
    variants = list(dict.fromkeys(variant for _, variant in found))
    if not variants:
        raise ValueError(f"{workdir} has no threats beyond membership. Set inversion.names or attribute.names.")
    against = against or variants[0]
    if against not in variants:
        raise ValueError(f"`--against` must be one of {variants}, got {against!r}.")
    yield f"| threat | measure | variant | value | less {against} | leaks |"
    yield "|---|---|---|---|---|---|"
    for threat in dict.fromkeys(threat for threat, _ in found):
        measures = dict.fromkeys(name for (of, _), f in found.items() if of == threat for name in f.rows)
        for measure in (name for name in measures if name.partition("@")[0] in MEASURES):
            sign = MEASURES[measure.partition("@")[0]]
            for variant in variants:
                if (threat, variant) not in found or measure not in found[threat, variant].rows:
                    continue
                (rows, drawn, about), (of, there, reference) = found[threat, variant], found[threat, against]
                if about != reference:
                    raise ValueError(f"{threat}: {variant} has other models or targets than {against}; not paired.")
                row = rows[measure]
                value = f"{row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}]"
                difference, told = "", ""
                if variant != against:
                    low, high = intervals.percentiles(drawn[measure] - there[measure], row["level"])
                    difference = f"{row['value'] - of[measure]['value']:+.4f} [{low:+.4f}, {high:+.4f}]"
                    told = TOLD[sign * (int(low > 0) - int(high < 0))]
                said = (threat.replace("_", " "), measure.replace("_", " "), variant, value, difference, told)
                yield f"| {' | '.join(said)} |"


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--against", default="", help="the reference; the first variant by default")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(argv)
    try:
        text = "\n".join(table(given.workdir, given.against))
    except (ValueError, OSError, KeyError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    print(text)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "threats.md").write_text(f"{text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
