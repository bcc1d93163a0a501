"""Which variant of a run gives away more beyond membership: each against references, paired.

    python experiments/threats.py runs/inversion [--against=VARIANT,VARIANT] [--out=FOLDER]

Prints a table of every threat (and writes FOLDER/threats.md): for each variant its measures with intervals, and the
difference to each reference (the first variant by default) from replicates that are drawn alike. One measure of each
threat is judged: a variant leaks more or less than a reference where the difference stands against all comparisons of
the table (Holm; t of the bootstrap's deviation, with the pairs of models less one as degrees of freedom). The other
measures describe.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from jaxsnn_mia import comparisons, intervals

# what a threat is judged by: the first of these that it has (gradients have it for each size of a batch)
JUDGED = ("nearest_mse_gap", "mse_gap", "recovered", "mse", "member_over_other")
# whether more of it is a larger leak
MEASURES = {
    "nearest_mse_gap": 1, "nearest_dissimilarity_gap": 1, "mean_mse_gap": 1, "mean_dissimilarity_gap": 1,
    "mse_gap": 1, "feature_gap": 1, "dissimilarity_gap": 1, "mse_member": -1, "evaluator_accuracy": 1, "mse": -1,
    "recovered": 1, "member_over_imputation": 1, "other_over_imputation": 1, "member_over_other": 1,
}  # fmt: skip
TOLD = {1: "more", -1: "less", 0: "cannot be told"}
SAME = "the same"


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
        return f"{self.value:+.3g} [{self.low:+.3g}, {self.high:+.3g}]"


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


def difference(one: Found, other: Found, measure: str) -> Difference:
    """ValueError for other models or targets: those are not paired."""
    if one.about != other.about:
        raise ValueError("two variants have other models or targets; they are not paired. Run them together.")
    value = one.rows[measure]["value"] - other.rows[measure]["value"]
    drawn_r = one.drawn[measure] - other.drawn[measure]
    freedom = max(len(one.about["models"]) // 2 - 1, 1)
    spread = np.nanstd(drawn_r, ddof=1)
    p = 2 * stats.t.sf(abs(value) / spread, freedom) if spread > 0 else np.nan if value == 0 else 0.0
    return Difference(value, *intervals.percentiles(drawn_r, one.rows[measure]["level"]), float(p))


def is_judged(measure: str, measures: list[str]) -> bool:
    """Whether no other measure of the threat comes before it in `JUDGED`."""
    kinds = [of.partition("@")[0] for of in measures]
    return measure.partition("@")[0] == next((of for of in JUDGED if of in kinds), "")


def table(workdir: Path, against: list[str]) -> Iterator[str]:
    """Lines of markdown. ValueError for references that the run does not have."""
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
        if variant != reference and {(threat, variant), (threat, reference)} <= set(found)
    }
    judged = [of for of in apart if is_judged(of[1], measured[of[0]])]
    adjusted = dict(zip(judged, comparisons.holm([apart[of].p for of in judged]), strict=True))
    level = next(iter(next(iter(found.values())).rows.values()))["level"]

    def verdict(of: tuple[str, str, str, str]) -> str:
        if np.isnan(apart[of].p):
            return SAME
        sign = MEASURES[of[1].partition("@")[0]] * int(np.sign(apart[of].value))
        return TOLD[sign if adjusted[of] < 1 - level else 0]

    for threat in measured:
        last = [one for (of, _), one in found.items() if of == threat][-1]
        models, targets = (len(last.about[name]) for name in ("models", "targets"))
        yield f"- {threat.replace('_', ' ')}: {models} models of each variant, {targets} targets; {last.origin}"
    yield ""
    yield f"| threat | measure | variant | value | {' | '.join(f'less {of}' for of in against)} |"
    yield "|---|---|---|---|" + "---|" * len(against)
    for threat, measures in measured.items():
        for measure in measures:
            for variant in (of for of in variants if (threat, of) in found):
                row = found[threat, variant].rows[measure]
                cells = [threat.replace("_", " "), measure.replace("_", " "), variant]
                cells.append(f"{row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}]")
                for reference in against:
                    of = threat, measure, variant, reference
                    cells.append(
                        (str(apart[of]) if of in apart else "") + (f": {verdict(of)}" if of in adjusted else "")
                    )
                yield f"| {' | '.join(cells)} |"
    yield ""
    tested = sum(not np.isnan(apart[of].p) for of in judged)
    yield f"What leaks, at {100 * level:g} % over the {tested} comparisons of judged measures (Holm):"
    yield ""
    for threat, measures in measured.items():
        for measure in (m for m in measures if is_judged(m, measures)):
            told = [of for of in judged if of[:2] == (threat, measure)]
            open_ = [apart[of] for of in told if verdict(of) == TOLD[0]]
            said = [
                f"{of[2]} {verdict(of)} than {of[3]} ({apart[of]})" for of in told if verdict(of) in ("more", "less")
            ]
            if open_:
                ends = f"{min(d.low for d in open_):+.2g} and {max(d.high for d in open_):+.2g}"
                said.append(f"{len(open_)} of {len(told)} comparisons cannot be told, their intervals between {ends}")
            said += [
                f"{same} of {len(told)} are the same" for same in [sum(verdict(of) == SAME for of in told)] if same
            ]
            yield f"- {threat.replace('_', ' ')} ({measure.replace('_', ' ')}): {'; '.join(said)}."


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
