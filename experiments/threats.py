"""Which variant of a run gives away more beyond membership: each against references, paired.

    python experiments/threats.py runs/inversion [--against=VARIANT,VARIANT] [--out=FOLDER]

Prints a table of every threat (and writes FOLDER/threats.md): for each variant its measures with intervals, and the
difference to each reference (the first variant by default) with its interval, from replicates that are drawn alike; no
interval is adjusted for the others. One measure of each threat is judged: a variant leaks more or less than a reference
where the difference stands against all comparisons of the table (Holm; t of the bootstrap's deviation, with one degree
of freedom less than there are pairs of models). The other measures describe.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxsnn_mia.metrics import bootstrap, comparisons

# what a threat is judged by: the first of these that it has (gradients have it for each size of a batch)
JUDGED = ("nearest_mse_gap", "mse_gap", "recovered", "mse", "member_over_other")
BLIND = "attribute_imputed"  # knows no model: the same of all
# whether more of it is a larger leak
MEASURES = {
    "nearest_mse_gap": 1, "nearest_dissimilarity_gap": 1, "mean_mse_gap": 1, "mean_dissimilarity_gap": 1,
    "mse_gap": 1, "feature_gap": 1, "dissimilarity_gap": 1, "mse_member": -1, "evaluator_accuracy": 1, "mse": -1,
    "recovered": 1, "member_over_imputation": 1, "other_over_imputation": 1, "member_over_other": 1,
}  # fmt: skip
TOLD = {1: "more", -1: "less", 0: "cannot be told"}
SAME = "the same"

Pair = tuple[str, str, str, str]  # threat, measure, variant, reference


class Found(NamedTuple):
    """Of one variant and threat: rows by metric, replicates by metric, the models and the targets; where it ran."""

    rows: dict[str, dict]
    drawn: dict[str, np.ndarray]
    about: dict[str, list]
    origin: str


class Difference(NamedTuple):
    """Of a variant to a reference in one measure; `p` two-sided, NaN where they are the same."""

    value: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        return "{:+.3g} [{:+.3g}, {:+.3g}]".format(*(0.0 if abs(x) < comparisons.TINY else x for x in self[:3]))


def stages(workdir: Path) -> Iterator[tuple[str, Found]]:
    """(variant, what was found) for each stage that the report of a finished run was made from."""
    summary = json.loads((workdir / "summary.json").read_text())
    for variant, of in summary["variants"].items():
        for stage in of.get("beyond", ()):
            path = workdir / variant / stage
            rows = {row["metric"]: row for row in json.loads((path / "rows.json").read_text())}
            with np.load(path / "replicates.npz") as arrays:
                drawn = {name: arrays[name] for name in arrays.files}
            ran = json.loads((path / "manifest.json").read_text())
            origin = f"{ran['device']}, Python {ran['python']}, jax {ran['jax']}, {ran['finished']}"
            yield variant, Found(rows, drawn, json.loads((path / "about.json").read_text()), origin)


def paired(one: Found | None, other: Found | None, measure: str) -> bool:
    """Whether both have the measure, of the same models and targets: a shadow that diverged leaves out its pair."""
    return bool(one and other and measure in one.rows and measure in other.rows and one.about == other.about)


def difference(one: Found, other: Found, measure: str) -> Difference:
    value = one.rows[measure]["value"] - other.rows[measure]["value"]
    drawn_r = one.drawn[measure] - other.drawn[measure]
    p = comparisons.by_deviation(value, drawn_r, len(one.about["models"]) // 2)
    return Difference(value, *bootstrap.percentiles(drawn_r, one.rows[measure]["level"]), p)


def is_judged(threat: str, measure: str, measures: list[str]) -> bool:
    """Whether no other measure of the threat comes before it in `JUDGED`."""
    kinds = [of.partition("@")[0] for of in measures]
    return threat != BLIND and measure.partition("@")[0] == next((of for of in JUDGED if of in kinds), "")


def verdicts(apart: dict[Pair, Difference], measured: dict[str, list[str]], level: float) -> dict[Pair, str]:
    """What is said of each judged comparison. Of two references against each other one direction is a test."""
    judged: list[Pair] = []
    for of in apart:
        if is_judged(of[0], of[1], measured[of[0]]) and (*of[:2], of[3], of[2]) not in judged:
            judged.append(of)
    said = {}
    for of, p in zip(judged, comparisons.holm([apart[of].p for of in judged]), strict=True):
        sign = MEASURES[of[1].partition("@")[0]] * int(np.sign(apart[of].value)) if p < 1 - level else 0
        said[of] = SAME if np.isnan(p) else TOLD[sign]
    return said


def table(workdir: Path, against: list[str]) -> Iterator[str]:
    """Lines of markdown. ValueError for references that the run does not have, and where nothing is paired."""
    found = {(next(iter(f.rows.values()))["attack"], variant): f for variant, f in stages(workdir)}
    variants = list(dict.fromkeys(variant for _, variant in found))
    if not variants:
        raise ValueError(f"{workdir} has no threats beyond membership. Set inversion.names or attribute.names.")
    against = against or variants[:1]
    for reference in against:
        if reference not in variants:
            raise ValueError(f"`--against` must be one of {variants}, got {reference!r}.")
    measured: dict[str, list[str]] = {}
    for (threat, _), of in found.items():
        known = [m for m in of.rows if m.partition("@")[0] in MEASURES]
        measured[threat] = list(dict.fromkeys([*measured.get(threat, ()), *known]))
    apart = {
        (threat, measure, variant, reference): difference(found[threat, variant], found[threat, reference], measure)
        for threat, measures in measured.items()
        for measure in measures
        for reference in against
        for variant in variants
        if variant != reference and paired(found.get((threat, variant)), found.get((threat, reference)), measure)
    }
    if not apart and len(variants) > 1:
        raise ValueError(
            f"no variant of {workdir} has the models and targets of {against}: other shadows diverged. Lower train.lr."
        )
    level = next(iter(next(iter(found.values())).rows.values()))["level"]
    said = verdicts(apart, measured, level)

    for threat in measured:
        last = [one for (of, _), one in found.items() if of == threat][-1]
        models, targets = (len(last.about[name]) for name in ("models", "targets"))
        yield f"- {spaced(threat)}: {models} models of each variant, {targets} targets; {last.origin}"
    yield f"\n| threat | measure | variant | value | {' | '.join(f'less {of}' for of in against)} |"
    yield "|---|---|---|---|" + "---|" * len(against)
    for threat, measure in ((threat, measure) for threat, measures in measured.items() for measure in measures):
        for variant in variants:
            row = found[threat, variant].rows.get(measure) if (threat, variant) in found else None
            if not row:
                continue
            cells = [spaced(threat), spaced(measure), variant]
            cells.append(f"{row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}]")
            for of in ((threat, measure, variant, reference) for reference in against):
                verdict = f": {said[of]}" if of in said else ""
                cells.append(f"{apart[of]}{verdict}" if of in apart else "" if variant == of[3] else "not paired")
            yield f"| {' | '.join(cells)} |"
    tested = sum(word != SAME for word in said.values())
    yield f"\nWhat leaks, at {100 * level:g} % over the {tested} comparisons of judged measures (Holm):\n"
    for threat, measures in measured.items():
        for measure in (m for m in measures if is_judged(threat, m, measures)):
            of_threat = {of: word for of, word in said.items() if of[:2] == (threat, measure)}
            yield f"- {spaced(threat)} ({spaced(measure)}): {statement(of_threat, apart)}."


def spaced(name: str) -> str:
    return name.replace("_", " ")


def statement(said: dict[Pair, str], apart: dict[Pair, Difference]) -> str:
    """What stands of the comparisons of one judged measure, and how far the others may be apart."""
    parts = [f"{of[2]} {word} than {of[3]} ({apart[of]})" for of, word in said.items() if word in ("more", "less")]
    unclear = [apart[of] for of, word in said.items() if word == TOLD[0]]
    if unclear:
        ends = f"{min(d.low for d in unclear):+.2g} and {max(d.high for d in unclear):+.2g}"
        parts.append(f"{len(unclear)} of {len(said)} comparisons cannot be told, their intervals between {ends}")
    if SAME in said.values():
        parts.append(f"{sum(word == SAME for word in said.values())} of {len(said)} are the same")
    return "; ".join(parts)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--against", default="", help="the references; the first variant by default")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(argv)
    try:
        text = "\n".join(table(given.workdir, [of for of in given.against.split(",") if of]))
    except (ValueError, OSError, KeyError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    print(text)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "threats.md").write_text(f"{text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
