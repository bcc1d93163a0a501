"""Tables and figures of the second study from its rows.

    python -m experiments.study.second.tables [--results=FOLDER]

Reads FOLDER/*/*.csv (experiments/results/study2 by default) and writes README.md and the figures beside them. What is
missing is left out.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.study.second import design, effects, figures
from experiments.study.second.effects import Both
from experiments.study.second.run import RESULTS
from experiments.study.second_look import Together, table, together

ALPHA = 0.05


def level(sets: int) -> float:
    """Of an interval on one of so many deciding data sets."""
    return 1 - ALPHA / max(sets, 1)


def shown(low: float, mean: float, high: float) -> str:
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def cells(both: Both | None, of_level: float) -> list[str]:
    """Estimate and interval in AUC and in log10 TPR, the differences at the shares, the verdict."""
    if both is None:
        return ["void", "", "", ""]
    intervals = []
    for effect in both:
        if effect is None:
            intervals.append("not resolved")
            continue
        low, high = effect.interval(of_level)
        intervals.append(shown(low, effect.mean, high))
    at = ", ".join(f"{value:+.3f}" for value in both.auc.at)
    return [*intervals, at, both.verdict(of_level)]


def over_sets(by_dataset: Mapping[str, Both | None]) -> list[Together]:
    """Random-effects means in AUC and log10 TPR; none of fewer than 3 data sets."""
    known = [both for both in by_dataset.values() if both is not None and both.tpr is not None]
    if len(known) < 3:
        return []
    return [together([e.mean for e in of], [max(e.error, 1e-6) for e in of]) for of in zip(*known, strict=True)]


def in_words(t: Together) -> str:
    return f"{t.mean:+.3f} [{t.low:+.3f}, {t.high:+.3f}], prediction [{t.predicted_low:+.3f}, {t.predicted_high:+.3f}]"


def b0_section(results: Path) -> list[str]:
    """ANN against SNN between envelopes."""
    rows, known = effects.rows_of(results, "frontiers"), effects.sets(results)
    if not rows:
        return []
    parts = ["## b0: does a spiking network leak less than its ANN twin of equal accuracy?", ""]
    for readout, decides in ((effects.LEAKY, "decides"), (effects.LAST, "is shown")):
        found = effects.b0(rows, known, readout)
        found = {name: both for name, both in found.items() if ran(rows, name, readout)}
        if not found:
            continue
        deciding = level(len(found))
        heads = ["data set", "", "AUC(ANN) - AUC(SNN)", "log10 TPR at 1 %", "AUC at .95, .98, 1 of the best", "verdict"]
        lines = [
            [name, "confirmatory" if name in design.CONFIRMATORY else "exploratory", *cells(both, deciding)]
            for name, both in found.items()
        ]
        parts += [f"Readout `{readout}`, which {decides}. Intervals of {100 * deciding:.2f} %.", ""]
        parts += [*table(heads, lines), ""]
        for metric, t in zip(("AUC", "log10 TPR at 1 %"), over_sets(found), strict=False):
            parts += [f"Over data sets, {metric}: {in_words(t)}.", ""]
        if readout == effects.LEAKY:
            figures.forest(found, over_sets(found), deciding, results / "b0.svg")
            parts += ["![Effects by data set](b0.svg)", ""]
    figures.frontiers(rows, known, results / "frontiers.svg")
    return [*parts, "![Leak over accuracy](frontiers.svg)", ""]


def named(bits: str) -> str:
    """A width as the field calls it: a symmetric grid of 2 bits has the codes -1, 0 and 1."""
    return "1.58 bits (2)" if bits == "2" else f"{bits} bits"


def bits_section(results: Path) -> list[str]:
    """Few bits against the envelope of the float model of the same family."""
    rows, known = effects.rows_of(results, "bits"), effects.sets(results)
    if not rows:
        return []
    both = [*effects.rows_of(results, "frontiers"), *rows]
    parts = ["## a: do few bits leak less than the float model, stopped early?", ""]
    heads = ["data set", "", "AUC(float) - AUC(bits)", "log10 TPR at 1 %", "AUC at .95, .98, 1 of the best", "verdict"]
    for family in ("ann", "snn"):
        for mode in ("qat", "ptq"):
            for bits in map(str, design.WIDTHS):
                found = {}
                for dataset in dict.fromkeys(row["dataset"] for row in rows):
                    of = {"dataset": dataset, "family": family, "readout": effects.LEAKY if family == "snn" else ""}
                    quantized = {**of, "mode": mode, "bits_weight": bits}
                    found[dataset] = effects.compared(both, known[dataset], {**of, "mode": ""}, quantized)
                deciding = level(len(found))
                lines = [[name, "", *cells(one, deciding)] for name, one in found.items()]
                parts += [f"{family.upper()}, {named(bits)}, {mode.upper()}.", "", *table(heads, lines), ""]
                for metric, t in zip(("AUC", "log10 TPR at 1 %"), over_sets(found), strict=False):
                    parts += [f"Over data sets, {metric}: {in_words(t)}.", ""]
    return parts


def coding_section(results: Path) -> list[str]:
    """Spikes against random codes: the families at each code, and the codes within a family."""
    rows, known = effects.rows_of(results, "coding"), effects.sets(results)
    if not rows:
        return []
    parts = ["## Spikes themselves, or random codes?", "", "AUC of the first less that of the second.", ""]
    codes = sorted(
        {(row["encoding"], row["T"]) for row in rows if row["family"] == "snn"}, key=lambda c: (c[0], int(c[1]))
    )
    heads = ["code", "pair", *(datasets := list(dict.fromkeys(row["dataset"] for row in rows)))]
    lines = []
    for encoding, steps in codes:
        ann_steps = "1" if encoding == "direct" else steps
        pairs = {
            "ANN, SNN": ({"family": "ann", "encoding": encoding, "T": ann_steps},
                         {"family": "snn", "encoding": encoding, "T": steps}),
        }  # fmt: skip
        if encoding == "rate":
            pairs |= {
                f"{family.upper()}: direct, rate": (
                    {"family": family, "encoding": "direct", "T": "1" if family == "ann" else steps},
                    {"family": family, "encoding": "rate", "T": steps},
                )
                for family in ("ann", "snn")
            }
        for head, (first, second) in pairs.items():
            found = [
                effects.compared(rows, known[d], {"dataset": d, **first}, {"dataset": d, **second}) for d in datasets
            ]
            shown_cells = [cells(one, level(len(datasets))) for one in found]
            lines.append([f"{encoding}, T = {steps}", head, *(f"{c[0]}: {c[-1]}".rstrip(": ") for c in shown_cells)])
    return [*parts, *table(heads, lines), ""]


def time_section(results: Path) -> list[str]:
    """Networks that are fed back, on speech: each against the recurrent ANN."""
    rows, known = effects.rows_of(results, "time"), effects.sets(results)
    if not rows:
        return []
    parts = ["## Over time: do recurrent spiking networks leak less than a recurrent ANN?", ""]
    heads = [
        "data set",
        "",
        "AUC(recurrent ANN) - AUC",
        "log10 TPR at 1 %",
        "AUC at .95, .98, 1 of the best",
        "verdict",
    ]
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    first, *others = design.NETWORKS
    for name in others:
        lines = []
        for d in datasets:
            pair = ({"dataset": d, "network": first}, {"dataset": d, "network": name})
            kind = "members are speakers" if d == "fsdd_speakers" else "members are recordings"
            lines.append([d, kind, *cells(effects.compared(rows, known[d], *pair), level(len(datasets)))])
        parts += [f"{name} against {first}.", "", *table(heads, lines), ""]
    return [*parts, "Four speakers are candidates: this says little of other speakers.", ""]


def ran(rows: effects.Rows, dataset: str, readout: str) -> bool:
    """Whether both families of a data set are there."""
    there = {(row["family"], row["readout"]) for row in rows if row["dataset"] == dataset}
    return ("snn", readout) in there and any(family == "ann" for family, _ in there)


def best_section(results: Path) -> list[str]:
    """What each condition reaches: its best mean accuracy, and the leak there."""
    rows = effects.rows_of(results, "frontiers")
    lines = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        for family, readout in (("ann", ""), ("snn", effects.LEAKY), ("snn", effects.LAST)):
            where = {"dataset": dataset, "family": family, "readout": readout}
            auc, tpr = (effects.condition(rows, f"strongest {metric}", **where) for metric in ("auc", "tpr@0.01"))
            if auc is None or tpr is None:
                continue
            mean = auc.accuracy.mean(0)
            best = np.unravel_index(np.nanargmax(mean), mean.shape)
            lines.append([
                dataset, family, readout, f"{mean[best]:.3f}", f"{auc.leak.mean(0)[best]:.3f}",
                "not resolved" if np.isnan(tpr.leak).all() else f"{100 * 10 ** tpr.leak.mean(0)[best]:.2f} %",
            ])  # fmt: skip
    if not lines:
        return []
    heads = ["data set", "family", "readout", "best test accuracy", "AUC there", "TPR at 1 % FPR there"]
    return ["## What each condition reaches", "", *table(heads, lines), ""]


SECTIONS = (best_section, b0_section, bits_section, coding_section, time_section)


def page(results: Path) -> str:
    lines = [
        "# Rows of the second study",
        "",
        "By the rules of `experiments/study/PROTOCOL_2.md`; `experiments.study.second.tables` made this page. "
        "An effect is positive where the second condition leaks less.",
        "",
    ]
    missing = [name for name in design.FRONTIERS if not (results / "frontiers" / f"{name}.csv").exists()]
    if missing:
        lines += [f"Under way: {', '.join(missing)} are not there yet, and nothing is decided before they are.", ""]
    for section in SECTIONS:
        lines += section(results)
    return "\n".join(lines).rstrip() + "\n"


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    results = parser.parse_args(argv).results
    results.mkdir(parents=True, exist_ok=True)
    (results / "README.md").write_text(page(results))


if __name__ == "__main__":
    main(sys.argv[1:])
