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

import numpy as np

from jaxsnn_mia import intervals

# what each threat is judged by, and whether more of it is a larger leak
MEASURES = {
    "mse_gap": 1, "feature_gap": 1, "dissimilarity_gap": 1, "nearest_mse_gap": 1, "nearest_dissimilarity_gap": 1,
    "mse_member": -1, "evaluator_accuracy": 1, "mse@1": -1, "mse@4": -1, "recovered@1": 1, "recovered@4": 1,
    "member_over_imputation": 1, "other_over_imputation": 1, "member_over_other": 1,
}  # fmt: skip
TOLD = {1: "more", -1: "less", 0: "cannot be told"}


def stages(workdir: Path) -> Iterator[tuple[str, str, dict[str, dict], dict[str, np.ndarray]]]:
    """(variant, threat, rows by metric, replicates by metric) of a finished run."""
    variants = json.loads((workdir / "summary.json").read_text())["variants"]
    for variant in variants:
        for path in sorted((workdir / variant).glob("*/rows.json")):
            rows = {row["metric"]: row for row in json.loads(path.read_text())}
            with np.load(path.parent / "replicates.npz") as arrays:
                yield variant, next(iter(rows.values()))["attack"], rows, {name: arrays[name] for name in arrays.files}


def table(workdir: Path, against: str) -> Iterator[str]:
    """Lines of markdown. ValueError for a reference that the run does not have."""
    found = {(threat, variant): (rows, drawn) for variant, threat, rows, drawn in stages(workdir)}
    variants = list(dict.fromkeys(variant for _, variant in found))
    if not variants:
        raise ValueError(f"{workdir} has no threats beyond membership. Set inversion.names or attribute.names.")
    against = against or variants[0]
    if against not in variants:
        raise ValueError(f"`--against` must be one of {variants}, got {against!r}.")
    yield f"| threat | measure | variant | value | less {against} | leaks |"
    yield "|---|---|---|---|---|---|"
    for threat in dict.fromkeys(threat for threat, _ in found):
        for measure, sign in MEASURES.items():
            for variant in variants:
                rows, drawn = found.get((threat, variant), ({}, {}))
                if measure not in rows:
                    continue
                row, (of, there) = rows[measure], found[threat, against]
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
