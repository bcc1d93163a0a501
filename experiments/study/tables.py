"""Tables and figures of the study from the rows that `run.py` and `as_released.py` wrote.

    python -m experiments.study.tables [--results=FOLDER]

Reads FOLDER/*.csv (experiments/results/study by default), writes README.md and the figures beside them. What is missing
is left out; a claim is judged over all data sets only where all are there.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from experiments.study import ablation, conditions, decide, effects, figures, run, sheet, waterfall

Lines = Iterator[str]
RATIO = 1.25  # of TPR, the smallest that matters
SECONDARY = ("train_accuracy", "gap")
WHERE = {"last": "last epoch"} | {how: f"matched {how.replace('_', ' ')}" for how in ("test_accuracy", *SECONDARY)}


def header(*heads: str) -> str:
    return f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}"


def line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def mean(values: Iterable[float]) -> str:
    values = list(values)
    return f"{np.mean(values):.3f}" if values else "-"


def interval(e: decide.Effect) -> str:
    return f"{e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"


def cell(found: effects.Found) -> str:
    remark = f" ({found.remark})" if found.remark else ""
    return f"{interval(found.effect)}{remark}: {found.verdict}"


def verdict_lines(found: Mapping[tuple[str, str], Mapping[str, effects.Found]]) -> Lines:
    """A line for each claim and way, with the verdict over the deciding data sets."""
    yield header("claim", "", *conditions.DATASETS, "over all")
    for (claim, how), by_dataset in found.items():
        if by_dataset:
            cells = [cell(by_dataset[d]) if d in by_dataset else "not run" for d in conditions.DATASETS]
            said = effects.overall(by_dataset, effects.deciding(claim, how)) or "not judged"
            yield line(claim, how, *cells, f"**{said}**")


def short_lines(found: Mapping[tuple[str, str], Mapping[str, effects.Found]]) -> Lines:
    """A line for each claim: its verdict in each way, the least and the greatest effect on a data set."""
    ways = ("as released", "as released, and its attack", "controlled")
    yield header("claim", *ways)
    for claim in dict.fromkeys(claim for claim, _ in found):
        cells = []
        for how in ways:
            by_dataset = found.get((claim, how), {})
            ends = sorted(by_dataset, key=lambda name, of=by_dataset: of[name].effect.mean)
            said = effects.overall(by_dataset, effects.deciding(claim, how)) or "not judged"
            shown = [f"{interval(by_dataset[name].effect)} ({name})" for name in ends[:1] + ends[1:][-1:]]
            cells.append(f"**{said}**: {' to '.join(shown)}" if shown else "-")
        yield line(claim, *cells)


def baseline_lines(rows: effects.Rows) -> Lines:
    """Means over seeds at the last epoch."""
    attacks = (("loss", "auc"), ("lira", "auc"), ("rmia", "auc"), ("strongest", "auc"), ("lira", "tpr@0.01"))
    yield header("data", "network", "rate", "train acc.", "test acc.", "loss AUC", "LiRA AUC", "RMIA AUC",
                 "strongest AUC", "LiRA TPR at 1 % FPR")  # fmt: skip
    for dataset, family, readout in sorted(conditions.kinds(conditions.DATASETS)):
        where = dict(zip(("dataset", "family", "readout"), run.key(dataset, family, readout), strict=True))
        rate = {row["lr"] for row in rows if all(row[name] == value for name, value in where.items())}
        if rate:
            values = [effects.by_seed(rows, metric, **where) for metric in ("train_accuracy", "test_accuracy")]
            values += [effects.by_seed(rows, metric, attack, **where) for attack, metric in attacks]
            network = family if family == "ann" else f"{family}, {readout}"
            edge = " (edge)" if any(float(r) in (min(conditions.RATES), max(conditions.RATES)) for r in rate) else ""
            yield line(dataset, network, ", ".join(rate) + edge, *(mean(v.values()) for v in values))


def attack_lines(rows: effects.Rows) -> Lines:
    """AUC and TPR at 1 % FPR of every attack, one seed."""
    networks = sorted({(row["dataset"], row["family"]) for row in rows})
    yield header("attack", *(f"{dataset}, {family}" for dataset, family in networks))
    for metric in ("train_accuracy", "test_accuracy"):
        found = [effects.by_seed(rows, metric, dataset=d, family=f) for d, f in networks]
        yield line(metric.replace("_", " "), *(mean(one.values()) for one in found))
    for attack in dict.fromkeys(row["attack"] for row in sorted(rows, key=lambda r: r["attack"]) if row["attack"]):
        cells = []
        for dataset, family in networks:
            both = [effects.by_seed(rows, m, attack, dataset=dataset, family=family) for m in ("auc", "tpr@0.01")]
            cells.append(", ".join(mean(one.values()) for one in both) if both[0] else "-")
        yield line(attack, *cells)


def comparison_lines(rows: effects.Rows, readouts: Iterable[str], hows: Iterable[str]) -> Lines:
    """A line for each data set, readout and way of matching; then the verdict over all data sets."""
    yield header("SNN readout", "compared at", *conditions.DATASETS, "over all")
    for readout in readouts:
        for how in hows:
            found = effects.more_private(rows, readout, how)
            cells = [cell(found[d]) if d in found else "not run" for d in conditions.DATASETS]
            yield line(readout, WHERE[how], *cells, f"**{effects.overall(found) or 'not judged'}**")


def secondary_lines(rows: effects.Rows) -> Lines:
    """Other attacks than online LiRA at the last epoch; described, never deciding."""
    names = ("rmia", "lira_offline", "loss", "strongest")
    yield header("data", "SNN readout", *(f"AUC(ANN) - AUC(SNN), {name}" for name in names),
                 "TPR at 1 % FPR of LiRA, ANN / SNN", "best of steps, longer, dropout less LiRA, SNN")  # fmt: skip
    for dataset in conditions.DATASETS:
        for readout in conditions.READOUTS:
            ann = dict(zip(("dataset", "family", "readout"), run.key(dataset, "ann", ""), strict=True))
            snn = {"dataset": dataset, "family": "snn", "readout": readout}
            cells = []
            for name in names:
                a, b = (effects.by_seed(rows, "auc", name, **where) for where in (ann, snn))
                cells.append(interval(decide.effect(effects.less(a, b), effects.LEVEL)) if a and b else "-")
            if cells[0] == "-":
                continue
            tpr = [effects.by_seed(rows, "tpr@0.01", "lira", **where) for where in (ann, snn)]
            lira = effects.by_seed(rows, "auc", "lira", **snn)
            of_time = [effects.less(effects.by_seed(rows, "auc", n, **snn), lira) for n in conditions.OF_TIME]
            best = max((values for values in of_time if values), key=np.mean, default=None)
            shown = interval(decide.effect(best, effects.LEVEL)) if best else "-"
            yield line(dataset, readout, *cells, ratio(*tpr), shown)


def ratio(a: effects.BySeed, b: effects.BySeed) -> str:
    """The mean ratio of two rates with its interval and its verdict, on a log scale; "-" where one is 0."""
    pairs = [(a[seed], b[seed]) for seed in a if seed in b]
    if not pairs or not all(rate > 0 for pair in pairs for rate in pair):  # nor a rate that is not resolved
        return "-"
    found = effects.judged([np.log(x / y) for x, y in pairs], np.log(RATIO))
    return "{:.2f} [{:.2f}, {:.2f}]: {}".format(*np.exp(found.effect[:3]), found.verdict)


def quantization_lines(rows: effects.Rows) -> Lines:
    """Mean test accuracy and AUC of every cell."""
    cells: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for row in rows:
        bits = {name: row[f"bits_{name}"] for name in ("weight", "activation", "state")}
        if (row["metric"], row["attack"]) in (("auc", "lira"), ("test_accuracy", "")):
            width = min(bits.values(), key=int)
            key = (row["dataset"], row["family"], row["quantized"], row["mode"] or "float")
            cells.setdefault(key, {}).setdefault(width, {}).setdefault(row["metric"], []).append(
                effects.number(row["value"])
            )
    yield header(
        "data", "network", "quantized", "mode", *(f"{w} bits" if w < 32 else "float" for w in conditions.WIDTHS)
    )
    for (dataset, family, what, mode), by_width in sorted(cells.items()):
        if mode != "float":
            wide = {**cells.get((dataset, family, what, "float"), {}), **by_width}
            shown = [wide.get(str(w)) for w in conditions.WIDTHS]
            texts = [f"{mean(one['test_accuracy'])}, {mean(one['auc'])}" if one else "-" for one in shown]
            yield line(dataset, family, what, mode.upper(), *texts)


def surrogate_lines(rows: effects.Rows, settings: Mapping[str, tuple[float, float]]) -> Lines:
    """Test accuracy, AUC and dominated volume on each data set, and the mean volume over them with its interval."""
    datasets = figures.present(rows)
    yield header("surrogate", "slope, rate", *(f"{d}: acc., AUC, volume" for d in datasets), "mean volume [95 %]")
    lines = []
    for name in sorted({row["surrogate"] for row in rows}, key=figures.order):
        cells, volumes = [], []
        for dataset in datasets:
            of = {"dataset": dataset, "surrogate": name}
            values = [effects.by_seed(rows, m, a, **of) for m, a in (("test_accuracy", ""), ("auc", "lira"))]
            volumes.append(effects.volume(rows, dataset, name))
            cells.append(", ".join(mean(one.values()) for one in (*values, volumes[-1])))
        slope, lr = settings.get(name, (float("nan"), float("nan")))
        shown = f"{slope:g}, {lr:g}" if settings else "default, 0.001"
        volumes = [v for v in volumes if v]
        common = [seed for seed in volumes[0] if all(seed in v for v in volumes)]
        e = decide.effect([float(np.mean([v[seed] for v in volumes])) for seed in common])
        lines.append((-e.mean, line(name, shown, *cells, f"{e.mean:.3f} [{e.low:.3f}, {e.high:.3f}]")))
    yield from (text for _, text in sorted(lines))


def described_lines(rows: effects.Rows, datasets: Iterable[str]) -> Lines:
    """Test accuracy, AUC and dominated volume where there is one seed."""
    yield header("surrogate", *datasets)
    for name in sorted({row["surrogate"] for row in rows}, key=figures.order):
        cells = []
        for dataset in datasets:
            of = {"dataset": dataset, "surrogate": name}
            values = [effects.by_seed(rows, m, a, **of) for m, a in (("test_accuracy", ""), ("auc", "lira"))]
            cells.append(", ".join(mean(one.values()) for one in (*values, effects.volume(rows, dataset, name))))
        yield line(name, *cells)


def ablation_lines(found: Mapping[str, tuple[dict[str, decide.Effect], dict[str, decide.Effect]]]) -> Lines:
    yield header("term", *(f"{d}: {of}" for d in found for of in ("AUC", "test accuracy")))
    terms = next(iter(found.values()))[0]
    for term in terms:
        yield line(term, *(interval(part[term]) for both in found.values() for part in both))


def cost_lines(rows: list[dict[str, str]]) -> Lines:
    """Models, their epochs and the seconds of each table."""
    yield header(
        "table", "models", "model-epochs", "training, s", "model-epochs per second of training", "everything, s"
    )
    total: dict[str, np.ndarray] = {}
    for row in rows:
        numbers = np.array([float(row[n]) for n in ("models", "model_epochs", "train_seconds", "seconds")])
        for name in (row["table"], "**all**"):
            total[name] = total.get(name, np.zeros(4)) + numbers
    for name in sorted(total, key=lambda n: (n == "**all**", n)):
        models, epochs, training, everything = total[name]
        yield line(
            name,
            f"{models:,.0f}",
            f"{epochs:,.0f}",
            f"{training:,.0f}",
            f"{epochs / training:,.0f}",
            f"{everything:,.0f}",
        )


def spent(rows: list[dict[str, str]]) -> str:
    """Models and hours of all runs in a sentence."""
    if not rows:
        return ""
    models, seconds = (sum(float(row[name]) for row in rows) for name in ("models", "seconds"))
    devices = ", ".join(sorted({f"{row['device']}, jax {row['jax']}" for row in rows}))
    hours = f"{seconds / 3600:.1f} hours, summed over runs that may share the cores"
    return f"{models:,.0f} shadow models, {hours} ({devices})."


def detectable_lines(found: Mapping[tuple[str, str], Mapping[str, effects.Found]]) -> Lines:
    """The smallest effect on one data set that 80 of 100 studies of this size would find, from the deviations seen."""
    yield header("claim", "", *conditions.DATASETS)
    for (claim, how), by_dataset in found.items():
        cells: list[str] = []
        if "accuracy" in claim:  # a loss, where smaller is right
            continue
        for dataset in conditions.DATASETS if by_dataset else ():
            e = by_dataset[dataset].effect if dataset in by_dataset else None
            cells.append(f"{detectable(e):.3f}" if e else "-")
        if cells:
            yield line(claim, how, *cells)


def detectable(e: decide.Effect) -> float:
    """Of paired differences as spread as those of an effect."""
    from scipy import stats

    half = (e.high - e.low) / 2
    deviation = half * e.seeds**0.5 / stats.t.ppf((1 + effects.LEVEL) / 2, e.seeds - 1)
    return decide.detectable(deviation, e.seeds, effects.LEVEL)


def text(title: str, lines: Callable[[], Lines] | Lines, said: str = "") -> str:
    return "\n\n".join(part for part in (f"## {title}", said, "\n".join(lines)) if part)


def write(results: Path) -> None:
    """README.md and the figures of a folder of rows."""
    tables = {name: sheet.read(results / f"{name}.csv") for name in run.TABLES}
    released = sheet.read(results / "as_released.csv")
    claims = effects.claims({**tables, "as_released": released})
    parts = [
        "# Results of the study",
        "The rules are those of `experiments/study/PROTOCOL.md`; `experiments/study/tables.py` made this page. Means "
        "and intervals are over seeds of roles, splits and initial weights; an interval of an effect on one data set "
        f"is of {100 * effects.LEVEL:g} %, so that those of all data sets hold together with 95 %. An effect is "
        'positive where it speaks for the claim, but for "lose little accuracy", where the loss is shown. "As '
        'released" is with the predecessor\'s learning rates, readout and surrogates; "and its attack" is one shadow '
        "on overlapping data and a support vector machine. A claim that compares with several must hold against each, "
        'at a level that counts them. "Begin above": the first snapshot is already past the value that is matched.',
        text("In short", short_lines(claims), spent(sheet.read(results / "cost.csv"))),
        text("Verdicts", verdict_lines(claims)),
        text("Smallest detectable effects", detectable_lines(claims)),
    ]
    if tables["curves"]:
        rows = tables["curves"]
        figures.along_training(rows, results / "curves.svg")
        parts.append(text("Baselines, learning rates that were searched", baseline_lines(rows)))
        how = ("test_accuracy", "last", *SECONDARY)
        lines = comparison_lines(rows, conditions.READOUTS, how)
        parts.append(text("ANN against SNN, controlled", lines, "![AUC along training](curves.svg)"))
        parts.append(text("Other attacks, last epoch", secondary_lines(rows)))
    if tables["curves_as_released"]:
        rows = tables["curves_as_released"]
        parts.append(text("ANN against SNN, learning rates as released", baseline_lines(rows)))
        parts.append("\n".join(comparison_lines(rows, ("membrane_last",), ("last",))))
    if released:
        found = {
            name: waterfall.waterfall(released, name) for name in dict.fromkeys(row["dataset"] for row in released)
        }
        waterfall.figure(found, results / "waterfall.svg")
        lines = waterfall.table(released, found)
        parts.append(text("As released, and each confounder", lines, "![Confounders](waterfall.svg)"))
    if tables["quantization"]:
        figures.quantization(tables["quantization"], results / "quantization.svg")
        said = "Test accuracy and AUC of online LiRA.\n\n![AUC over accuracy by width](quantization.svg)"
        parts.append(text("Quantization", quantization_lines(tables["quantization"]), said))
    if tables["surrogates"]:
        parts += surrogate_parts(tables, results)
    if tables["ablation"]:
        rows = tables["ablation"]
        both = {
            d: (ablation.estimated(rows, d), ablation.estimated(rows, d, "test_accuracy", ""))
            for d in figures.present(rows)
        }
        figures.ablation({d: auc for d, (auc, _) in both.items()}, results / "ablation.svg")
        parts.append(text("Ablation", ablation_lines(both), "![Effects on the AUC](ablation.svg)"))
    if tables["baselines"]:
        said = "One seed, 64 shadows: AUC, TPR at 1 % FPR."
        parts.append(text("Every attack", attack_lines(tables["baselines"]), said))
    parts.append(text("What it cost", cost_lines(sheet.read(results / "cost.csv"))))
    (results / "README.md").write_text("\n\n".join(parts) + "\n")


def surrogate_parts(tables: Mapping[str, list[dict[str, str]]], results: Path) -> list[str]:
    """The surrogates of both architectures at the settings that were chosen, and with their defaults."""
    settings = run.chosen_settings(results / "surrogates_search.csv")
    both = {"dense": tables["surrogates"], "recurrent": tables["surrogates_recurrent"]}
    figures.surrogates(both, results / "surrogates.svg")
    parts = ["![Privacy against accuracy of each surrogate](surrogates.svg)"]
    parts += [text(f"Surrogates, {title}", surrogate_lines(rows, settings)) for title, rows in both.items() if rows]
    described = [d for d in conditions.DESCRIBED if any(row["dataset"] == d for row in tables["surrogates"])]
    if described:
        lines = described_lines(tables["surrogates"], described)
        parts.append(text("Surrogates, one seed", lines, "Accuracy, AUC, volume; this decides nothing."))
    if tables["surrogates_as_released"]:
        parts.append(text("Surrogates as released", surrogate_lines(tables["surrogates_as_released"], {})))
    return parts


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=run.RESULTS)
    write(parser.parse_args(argv).results)


if __name__ == "__main__":
    main(sys.argv[1:])
