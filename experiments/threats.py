"""Which variant of a run gives away more beyond membership: each variant against references, paired.

    python experiments/threats.py runs/inversion [--against=VARIANT,VARIANT] [--out=FOLDER]

Prints a table of every threat, and writes it to FOLDER/threats.md. For each variant it has the measures with intervals,
and the difference to each reference (the first variant by default) with its interval, from replicates that are drawn
alike. No interval is adjusted for the others. One measure of each threat is judged: a variant leaks more or less than a
reference where the difference stands against all comparisons of the table (Holm; t of the bootstrap's deviation, with
one degree of freedom less than there are pairs of models). The other measures describe.
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


class Measured(NamedTuple):
    """One threat to one variant: rows by metric, replicates by metric, the models and the targets, where it ran."""

    rows: dict[str, dict]
    drawn: dict[str, np.ndarray]
    about: dict[str, list]
    origin: str

    @property
    def level(self) -> float:
        """Of the intervals, the same in all rows."""
        return next(row["level"] for row in self.rows.values())


class Difference(NamedTuple):
    """Of a variant to a reference in one measure; `p` two-sided, NaN where they are the same."""

    value: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        shown = [0.0 if abs(x) < comparisons.TINY else x for x in (self.value, self.low, self.high)]
        return "{:+.3g} [{:+.3g}, {:+.3g}]".format(*shown)


def read(workdir: Path) -> dict[tuple[str, str], Measured]:
    """(threat, variant) -> what was measured, for each stage that the report of a finished run was made from."""
    summary = json.loads((workdir / "summary.json").read_text())
    measured = {}
    for variant, of_variant in summary["variants"].items():
        for stage in of_variant.get("beyond", ()):
            path = workdir / variant / stage
            rows = {row["metric"]: row for row in json.loads((path / "rows.json").read_text())}
            with np.load(path / "replicates.npz") as arrays:
                drawn = {name: arrays[name] for name in arrays.files}
            ran = json.loads((path / "manifest.json").read_text())
            origin = f"{ran['device']}, Python {ran['python']}, jax {ran['jax']}, {ran['finished']}"
            threat = next(row["attack"] for row in rows.values())
            about = json.loads((path / "about.json").read_text())
            measured[threat, variant] = Measured(rows, drawn, about, origin)
    return measured


def paired(one: Measured | None, other: Measured | None, measure: str) -> bool:
    """Whether both have the measure, of the same models and targets. A shadow that diverged is left out with its
    partner."""
    if one is None or other is None:
        return False
    return measure in one.rows and measure in other.rows and one.about == other.about


def difference(one: Measured, other: Measured, measure: str) -> Difference:
    value = one.rows[measure]["value"] - other.rows[measure]["value"]
    drawn_r = one.drawn[measure] - other.drawn[measure]
    pairs = len(one.about["models"]) // 2
    p = comparisons.by_deviation(value, drawn_r, pairs)
    low, high = bootstrap.interval(value, drawn_r, pairs, one.level, least=-np.inf, most=np.inf)
    return Difference(value, low, high, p)


def is_judged(threat: str, measure: str, measures: list[str]) -> bool:
    """Whether no other measure of the threat comes before it in `JUDGED`."""
    kinds = [kind(of) for of in measures]
    first = next((of for of in JUDGED if of in kinds), "")
    return threat != BLIND and kind(measure) == first


def verdicts(apart: dict[Pair, Difference], measured_by: dict[str, list[str]], level: float) -> dict[Pair, str]:
    """What is said of each judged comparison. Of two references against each other one direction is a test."""
    judged: list[Pair] = []
    for threat, measure, variant, reference in apart:
        if is_judged(threat, measure, measured_by[threat]) and (threat, measure, reference, variant) not in judged:
            judged.append((threat, measure, variant, reference))
    said = {}
    for pair, p in zip(judged, comparisons.holm([apart[pair].p for pair in judged]), strict=True):
        if np.isnan(p):
            said[pair] = SAME
        elif p < 1 - level:
            said[pair] = TOLD[MEASURES[kind(pair[1])] * int(np.sign(apart[pair].value))]
        else:
            said[pair] = TOLD[0]
    return said


def kind(measure: str) -> str:
    """ "mse" of "mse@8": gradients have a measure for each size of a batch."""
    return measure.partition("@")[0]


def table(workdir: Path, against: list[str]) -> Iterator[str]:
    """Lines of markdown. ValueError for references that the run does not have, and where nothing is paired."""
    measured = read(workdir)
    variants = list(dict.fromkeys(variant for _, variant in measured))
    if not variants:
        raise ValueError(f"{workdir} has no threats beyond membership. Set inversion.names or attribute.names.")
    against = against or variants[:1]
    for reference in against:
        if reference not in variants:
            raise ValueError(f"`--against` must be one of {variants}, got {reference!r}.")
    measured_by: dict[str, list[str]] = {}  # threat -> its measures
    for (threat, _), one in measured.items():
        known = [measure for measure in one.rows if kind(measure) in MEASURES]
        measured_by[threat] = list(dict.fromkeys([*measured_by.get(threat, ()), *known]))
    apart = differences(measured, measured_by, variants, against)
    if not apart and len(variants) > 1:
        raise ValueError(
            f"no variant of {workdir} has the models and targets of {against}: other shadows diverged. Lower train.lr."
        )
    level = next(one.level for one in measured.values())
    said = verdicts(apart, measured_by, level)
    for threat in measured_by:
        last = [one for (of, _), one in measured.items() if of == threat][-1]
        models, targets = (len(last.about[name]) for name in ("models", "targets"))
        yield f"- {spaced(threat)}: {models} models of each variant, {targets} targets; {last.origin}"
    yield from lines(measured, measured_by, variants, against, apart, said)
    tested = sum(word != SAME for word in said.values())
    yield f"\nWhat leaks, at {100 * level:g} % over the {tested} comparisons of judged measures (Holm):\n"
    for threat, measures in measured_by.items():
        for measure in measures:
            if is_judged(threat, measure, measures):
                of_measure = {pair: word for pair, word in said.items() if pair[:2] == (threat, measure)}
                yield f"- {spaced(threat)} ({spaced(measure)}): {statement(of_measure, apart)}."


def differences(
    measured: dict[tuple[str, str], Measured], measured_by: dict[str, list[str]], variants: list[str],
    against: list[str],
) -> dict[Pair, Difference]:  # fmt: skip
    """Of each measure, each variant and each reference that are paired."""
    apart = {}
    for threat, measures in measured_by.items():
        for measure in measures:
            for reference in against:
                for variant in variants:
                    one, other = measured.get((threat, variant)), measured.get((threat, reference))
                    if variant != reference and paired(one, other, measure):
                        apart[threat, measure, variant, reference] = difference(one, other, measure)
    return apart


def lines(
    measured: dict[tuple[str, str], Measured], measured_by: dict[str, list[str]], variants: list[str],
    against: list[str], apart: dict[Pair, Difference], said: dict[Pair, str],
) -> Iterator[str]:  # fmt: skip
    """A line for each threat, measure and variant: the value, and the difference to each reference."""
    yield f"\n| threat | measure | variant | value | {' | '.join(f'less {of}' for of in against)} |"
    yield "|---|---|---|---|" + "---|" * len(against)
    for threat, measures in measured_by.items():
        for measure in measures:
            for variant in variants:
                one = measured.get((threat, variant))
                if one is None or measure not in one.rows:
                    continue
                row = one.rows[measure]
                cells = [spaced(threat), spaced(measure), variant]
                cells.append(f"{row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}]")
                cells += [cell((threat, measure, variant, reference), apart, said) for reference in against]
                yield f"| {' | '.join(cells)} |"


def cell(pair: Pair, apart: dict[Pair, Difference], said: dict[Pair, str]) -> str:
    """The difference of a pair with its verdict, where it has one; empty for a variant against itself."""
    if pair in apart:
        return f"{apart[pair]}: {said[pair]}" if pair in said else str(apart[pair])
    _, _, variant, reference = pair
    return "" if variant == reference else "not paired"


def spaced(name: str) -> str:
    return name.replace("_", " ")


def statement(said: dict[Pair, str], apart: dict[Pair, Difference]) -> str:
    """What stands of the comparisons of one judged measure, and how far the others may be apart."""
    parts = []
    for pair, word in said.items():
        if word in (TOLD[1], TOLD[-1]):
            _, _, variant, reference = pair
            parts.append(f"{variant} {word} than {reference} ({apart[pair]})")
    unclear = [apart[pair] for pair, word in said.items() if word == TOLD[0]]
    if unclear:
        ends = f"{min(d.low for d in unclear):+.2g} and {max(d.high for d in unclear):+.2g}"
        parts.append(f"{len(unclear)} of {len(said)} comparisons cannot be told, their intervals between {ends}")
    same = sum(word == SAME for word in said.values())
    if same:
        parts.append(f"{same} of {len(said)} are the same")
    return "; ".join(parts)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--against", default="", help="the references; the first variant by default")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(argv)
    try:
        against = [name for name in given.against.split(",") if name]
        text = "\n".join(table(given.workdir, against))
    except (ValueError, OSError, KeyError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    print(text)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "threats.md").write_text(f"{text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
