"""Tables and figures of the study from the rows that `run.py` and `as_released.py` wrote.

    python -m experiments.study.tables [--results=FOLDER]

Reads FOLDER/*.csv (experiments/results/study by default) and writes README.md and the figures beside them. What is
missing is left out. A claim is judged over all data sets only where all are there.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from scipy import stats

from experiments.study import ablation, conditions, decide, effects, figures, lines, plan, series, sheet, waterfall
from experiments.study.lines import Lines, header, interval, line

RATIO = 1.25  # of TPR, the smallest that matters
SECONDARY = ("train_accuracy", "gap")
WHERE = {"last": "last epoch"} | {how: f"matched {how.replace('_', ' ')}" for how in ("test_accuracy", *SECONDARY)}
WAYS = ("as released", "as released, and its attack", "controlled")

Tables = Mapping[str, list[dict[str, str]]]  # rows by the name of their CSV file
Claims = Mapping[tuple[str, str], Mapping[str, effects.Judged]]  # as `effects.claims`


def cell(result: effects.Judged) -> str:
    remark = f" ({result.remark})" if result.remark else ""
    return f"{interval(result.effect)}{remark}: {result.verdict}"


def on_all(by_dataset: Mapping[str, effects.Judged]) -> list[str]:
    """A cell for each data set."""
    return [cell(by_dataset[name]) if name in by_dataset else "not run" for name in conditions.DATASETS]


def verdict_of(claim: str, how: str, by_dataset: Mapping[str, effects.Judged]) -> str:
    """The verdict over the deciding data sets, in bold."""
    return f"**{effects.overall(by_dataset, effects.deciding(claim, how)) or 'not judged'}**"


def verdict_lines(claims: Claims) -> Lines:
    """A line for each claim and way, with the verdict over the deciding data sets."""
    yield header("claim", "", *conditions.DATASETS, "over all")
    for (claim, how), by_dataset in claims.items():
        if by_dataset:
            yield line(claim, how, *on_all(by_dataset), verdict_of(claim, how, by_dataset))


def short_lines(claims: Claims) -> Lines:
    """A line for each claim: its verdict in each way, the least and the greatest effect on a data set."""
    yield header("claim", *WAYS)
    for claim in dict.fromkeys(claim for claim, _ in claims):
        cells = [short_cell(claim, how, claims.get((claim, how), {})) for how in WAYS]
        yield line(claim, *cells)


def short_cell(claim: str, how: str, by_dataset: Mapping[str, effects.Judged]) -> str:
    if not by_dataset:
        return "-"
    by_effect = sorted(by_dataset, key=lambda name: by_dataset[name].effect.mean)
    ends = [by_effect[0]]
    if len(by_effect) > 1:
        ends.append(by_effect[-1])
    shown = [f"{interval(by_dataset[name].effect)} ({name})" for name in ends]
    return f"{verdict_of(claim, how, by_dataset)}: {' to '.join(shown)}"


def detectable_lines(claims: Claims) -> Lines:
    """The smallest effect on one data set that 80 of 100 studies of this size would find, from the deviations seen."""
    yield header("claim", "", *conditions.DATASETS)
    for (claim, how), by_dataset in claims.items():
        if "accuracy" in claim or not by_dataset:  # of a loss of accuracy, less is right
            continue
        cells = []
        for dataset in conditions.DATASETS:
            cells.append(f"{detectable(by_dataset[dataset].effect):.3f}" if dataset in by_dataset else "-")
        yield line(claim, how, *cells)


def detectable(e: decide.Effect) -> float:
    """The smallest detectable effect where paired differences are spread as those of `e`."""
    half_width = (e.high - e.low) / 2
    deviation = half_width * e.seeds**0.5 / stats.t.ppf((1 + effects.LEVEL) / 2, e.seeds - 1)
    return decide.detectable(deviation, e.seeds, effects.LEVEL)


def comparison_lines(rows: series.Rows, readouts: Iterable[str], hows: Iterable[str]) -> Lines:
    """A line for each data set, readout and way of matching; then the verdict over all data sets."""
    yield header("SNN readout", "compared at", *conditions.DATASETS, "over all")
    for readout in readouts:
        for how in hows:
            by_dataset = effects.more_private(rows, readout, how)
            verdict = effects.overall(by_dataset) or "not judged"
            yield line(readout, WHERE[how], *on_all(by_dataset), f"**{verdict}**")


def secondary_lines(rows: series.Rows) -> Lines:
    """Other attacks than online LiRA at the last epoch. They describe and decide nothing."""
    names = ("rmia", "lira_offline", "loss", "strongest")
    yield header("data", "SNN readout", *(f"AUC(ANN) - AUC(SNN), {name}" for name in names),
                 "TPR at 1 % FPR of LiRA, ANN / SNN", "best of steps, longer, dropout less LiRA, SNN")  # fmt: skip
    for dataset in conditions.DATASETS:
        for readout in conditions.READOUTS:
            ann, snn = (conditions.network(dataset, family, readout) for family in ("ann", "snn"))
            cells = []
            for name in names:
                of_ann, of_snn = (series.by_seed(rows, "auc", name, **network) for network in (ann, snn))
                cells.append(mean_difference(of_ann, of_snn) if of_ann and of_snn else "-")
            if cells[0] == "-":
                continue
            tpr = [series.by_seed(rows, "tpr@0.01", "lira", **network) for network in (ann, snn)]
            yield line(dataset, readout, *cells, ratio(*tpr), best_of_time(rows, snn))


def mean_difference(a: series.BySeed, b: series.BySeed) -> str:
    return interval(decide.effect(series.less(a, b), effects.LEVEL))


def best_of_time(rows: series.Rows, network: Mapping[str, str]) -> str:
    """AUC of the best attack on spiking networks less that of online LiRA; "-" where none was run."""
    lira = series.by_seed(rows, "auc", "lira", **network)
    attacks = [series.by_seed(rows, "auc", name, **network) for name in conditions.OF_TIME]
    known = [auc for auc in attacks if series.less(auc, lira)]
    if not known:
        return "-"
    return mean_difference(max(known, key=lambda auc: np.mean(series.less(auc, lira))), lira)


def ratio(a: series.BySeed, b: series.BySeed) -> str:
    """The mean ratio of two rates with its interval and its verdict, on a log scale; "-" where one is 0."""
    pairs = [(a[seed], b[seed]) for seed in a if seed in b]
    if not pairs or not all(rate > 0 for pair in pairs for rate in pair):  # nor a rate that is not resolved
        return "-"
    result = effects.judged([np.log(x / y) for x, y in pairs], np.log(RATIO))
    return "{:.2f} [{:.2f}, {:.2f}]: {}".format(*np.exp(result.effect[:3]), result.verdict)


def text(title: str, of: Iterable[str], said: str = "") -> str:
    """A section: its title, what is said first, its lines."""
    return "\n\n".join(part for part in (f"## {title}", said, "\n".join(of)) if part)


def introduction(tables: Tables, results: Path) -> list[str]:
    claims = effects.claims(tables)
    return [
        "# Results of the study",
        "The rules are those of `experiments/study/PROTOCOL.md`; `experiments/study/tables.py` made this page. Means "
        "and intervals are over seeds of roles, splits and initial weights; an interval of an effect on one data set "
        f"is of {100 * effects.LEVEL:g} %, so that those of all data sets hold together with 95 %. An effect is "
        'positive where it speaks for the claim, but for "lose little accuracy", where the loss is shown. "As '
        'released" is with the predecessor\'s learning rates, readout and surrogates; "and its attack" is one shadow '
        "on overlapping data and a support vector machine. A claim that compares with several must hold against each, "
        'at a level that counts them. "Begin above": the first snapshot is already past the value that is matched.',
        text("In short", short_lines(claims), lines.spent(tables["cost"])),
        text("Verdicts", verdict_lines(claims)),
        text("Smallest detectable effects", detectable_lines(claims)),
    ]


def ann_against_snn(tables: Tables, results: Path) -> list[str]:
    rows = tables["curves"]
    if not rows:
        return []
    figures.along_training(rows, results / "curves.svg")
    compared = comparison_lines(rows, conditions.READOUTS, ("test_accuracy", "last", *SECONDARY))
    return [
        text("Baselines, learning rates that were searched", lines.baselines(rows)),
        text("ANN against SNN, controlled", compared, "![AUC along training](curves.svg)"),
        text("Other attacks, last epoch", secondary_lines(rows)),
    ]


def ann_against_snn_as_released(tables: Tables, results: Path) -> list[str]:
    rows = tables["curves_as_released"]
    if not rows:
        return []
    return [
        text("ANN against SNN, learning rates as released", lines.baselines(rows)),
        "\n".join(comparison_lines(rows, ("membrane_last",), ("last",))),
    ]


def confounders(tables: Tables, results: Path) -> list[str]:
    rows = tables["as_released"]
    if not rows:
        return []
    steps = {name: waterfall.waterfall(rows, name) for name in dict.fromkeys(row["dataset"] for row in rows)}
    waterfall.figure(steps, results / "waterfall.svg")
    return [text("As released, and each confounder", waterfall.table(rows, steps), "![Confounders](waterfall.svg)")]


def quantization(tables: Tables, results: Path) -> list[str]:
    rows = tables["quantization"]
    if not rows:
        return []
    figures.quantization(rows, results / "quantization.svg")
    said = "Test accuracy and AUC of online LiRA.\n\n![AUC over accuracy by width](quantization.svg)"
    return [text("Quantization", lines.quantization(rows), said)]


def surrogates(tables: Tables, results: Path) -> list[str]:
    """The surrogates of both architectures at the settings that were chosen, and with their defaults."""
    if not tables["surrogates"]:
        return []
    settings = plan.chosen_settings(results / "surrogates_search.csv")
    both = {"dense": tables["surrogates"], "recurrent": tables["surrogates_recurrent"]}
    figures.surrogates(both, results / "surrogates.svg")
    parts = ["![Privacy against accuracy of each surrogate](surrogates.svg)"]
    for title, rows in both.items():
        if rows:
            parts.append(text(f"Surrogates, {title}", lines.surrogates(rows, settings)))
    there = {row["dataset"] for row in tables["surrogates"]}
    described = [dataset for dataset in conditions.DESCRIBED if dataset in there]
    if described:
        said = "Accuracy, AUC, volume; this decides nothing."
        parts.append(text("Surrogates, one seed", lines.described(tables["surrogates"], described), said))
    if tables["surrogates_as_released"]:
        parts.append(text("Surrogates as released", lines.surrogates(tables["surrogates_as_released"], {})))
    return parts


def ablations(tables: Tables, results: Path) -> list[str]:
    rows = tables["ablation"]
    if not rows:
        return []
    datasets = figures.present(rows)
    auc = {dataset: ablation.estimated(rows, dataset) for dataset in datasets}
    accuracy = {dataset: ablation.estimated(rows, dataset, "test_accuracy", "") for dataset in datasets}
    figures.ablation(auc, results / "ablation.svg")
    both = {dataset: (auc[dataset], accuracy[dataset]) for dataset in datasets}
    return [text("Ablation", lines.ablation(both), "![Effects on the AUC](ablation.svg)")]


def attacks(tables: Tables, results: Path) -> list[str]:
    if not tables["baselines"]:
        return []
    said = "One seed, 64 shadows: AUC, TPR at 1 % FPR."
    return [text("Every attack", lines.every_attack(tables["baselines"]), said)]


def cost(tables: Tables, results: Path) -> list[str]:
    return [text("What it cost", lines.costs(tables["cost"]))]


# each gives markdown and writes its figures to `results`; empty where its table is not there
SECTIONS = (
    introduction, ann_against_snn, ann_against_snn_as_released, confounders, quantization, surrogates, ablations,
    attacks, cost,
)  # fmt: skip


def write(results: Path) -> None:
    """README.md and the figures of a folder of rows."""
    tables = {name: sheet.read(results / f"{name}.csv") for name in (*plan.TABLES, "as_released", "cost")}
    parts = [part for section in SECTIONS for part in section(tables, results)]
    (results / "README.md").write_text("\n\n".join(parts) + "\n")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=sheet.RESULTS)
    write(parser.parse_args(argv).results)


if __name__ == "__main__":
    main(sys.argv[1:])
