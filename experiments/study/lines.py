"""Lines of markdown about the networks, attacks, widths, surrogates, the ablation and the cost."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from experiments.study import conditions, decide, effects, figures, series

Lines = Iterator[str]


def header(*heads: str) -> str:
    return f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}"


def line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def mean(values: Iterable[float]) -> str:
    values = list(values)
    return f"{np.mean(values):.3f}" if values else "-"


def means(*measures: series.BySeed) -> str:
    """The mean over seeds of each measure."""
    return ", ".join(mean(values.values()) for values in measures)


def interval(e: decide.Effect) -> str:
    return f"{e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"


def baselines(rows: series.Rows) -> Lines:
    """Means over seeds at the last epoch."""
    attacks = (("loss", "auc"), ("lira", "auc"), ("rmia", "auc"), ("strongest", "auc"), ("lira", "tpr@0.01"))
    yield header("data", "network", "rate", "train acc.", "test acc.", "loss AUC", "LiRA AUC", "RMIA AUC",
                 "strongest AUC", "LiRA TPR at 1 % FPR")  # fmt: skip
    for dataset, family, readout in sorted(conditions.kinds(conditions.DATASETS)):
        where = conditions.network(dataset, family, readout)
        rates = {row["lr"] for row in series.matching(rows, where)}
        if not rates:
            continue
        values = [series.by_seed(rows, metric, **where) for metric in ("train_accuracy", "test_accuracy")]
        values += [series.by_seed(rows, metric, attack, **where) for attack, metric in attacks]
        network = family if family == "ann" else f"{family}, {readout}"
        on_edge = any(float(rate) in (min(conditions.RATES), max(conditions.RATES)) for rate in rates)
        shown = ", ".join(rates) + (" (edge)" if on_edge else "")
        yield line(dataset, network, shown, *(mean(by_seed.values()) for by_seed in values))


def every_attack(rows: series.Rows) -> Lines:
    """AUC and TPR at 1 % FPR of every attack, one seed."""
    networks = sorted({(row["dataset"], row["family"]) for row in rows})
    yield header("attack", *(f"{dataset}, {family}" for dataset, family in networks))
    for metric in ("train_accuracy", "test_accuracy"):
        accuracies = [series.by_seed(rows, metric, dataset=dataset, family=family) for dataset, family in networks]
        yield line(metric.replace("_", " "), *(means(accuracy) for accuracy in accuracies))
    for attack in sorted({row["attack"] for row in rows if row["attack"]}):
        cells = []
        for dataset, family in networks:
            of = {"dataset": dataset, "family": family}
            auc, tpr = (series.by_seed(rows, metric, attack, **of) for metric in ("auc", "tpr@0.01"))
            cells.append(means(auc, tpr) if auc else "-")
        yield line(attack, *cells)


def quantization(rows: series.Rows) -> Lines:
    """Mean test accuracy and AUC of every cell."""
    measures = {("test_accuracy", ""): "accuracy", ("auc", "lira"): "auc"}
    # (data set, family, what is quantized, mode) -> bits -> measure -> values
    cells: dict[tuple[str, ...], dict[str, dict[str, list[float]]]] = {}
    for row in rows:
        measure = measures.get((row["metric"], row["attack"]))
        if measure is None:
            continue
        key = (row["dataset"], row["family"], row["quantized"], row["mode"] or "float")
        bits = min((row[f"bits_{part}"] for part in ("weight", "activation", "state")), key=int)
        values = cells.setdefault(key, {}).setdefault(bits, {}).setdefault(measure, [])
        values.append(series.number(row["value"]))
    widths = [f"{width} bits" if width < 32 else "float" for width in conditions.WIDTHS]
    yield header("data", "network", "quantized", "mode", *widths)
    for (dataset, family, what, mode), by_width in sorted(cells.items()):
        if mode == "float":
            continue
        every_width = {**cells.get((dataset, family, what, "float"), {}), **by_width}
        texts = []
        for width in conditions.WIDTHS:
            cell = every_width.get(str(width))
            texts.append(f"{mean(cell['accuracy'])}, {mean(cell['auc'])}" if cell else "-")
        yield line(dataset, family, what, mode.upper(), *texts)


def surrogates(rows: series.Rows, settings: Mapping[str, tuple[float, float]]) -> Lines:
    """Test accuracy, AUC and dominated volume on each data set, and the mean volume over them with its interval; the
    largest mean volume first. `settings`: the slope and rate of each surrogate, or none at their defaults."""
    datasets = figures.present(rows)
    yield header("surrogate", "slope, rate", *(f"{d}: acc., AUC, volume" for d in datasets), "mean volume [95 %]")
    lines = []
    for name in sorted({row["surrogate"] for row in rows}, key=figures.order):
        cells, volumes = [], []
        for dataset in datasets:
            volume = effects.volume(rows, dataset, name)
            cells.append(means(*series.accuracy_and_auc(rows, dataset=dataset, surrogate=name), volume))
            if volume:
                volumes.append(volume)
        slope, lr = settings.get(name, (float("nan"), float("nan")))
        shown = f"{slope:g}, {lr:g}" if settings else "default, 0.001"
        common = [seed for seed in volumes[0] if all(seed in volume for volume in volumes)]
        e = decide.effect([float(np.mean([volume[seed] for volume in volumes])) for seed in common])
        lines.append((-e.mean, line(name, shown, *cells, f"{e.mean:.3f} [{e.low:.3f}, {e.high:.3f}]")))
    yield from (text for _, text in sorted(lines))


def described(rows: series.Rows, datasets: Iterable[str]) -> Lines:
    """Test accuracy, AUC and dominated volume where there is one seed."""
    yield header("surrogate", *datasets)
    for name in sorted({row["surrogate"] for row in rows}, key=figures.order):
        cells = []
        for dataset in datasets:
            both = series.accuracy_and_auc(rows, dataset=dataset, surrogate=name)
            cells.append(means(*both, effects.volume(rows, dataset, name)))
        yield line(name, *cells)


def ablation(estimates: Mapping[str, tuple[dict[str, decide.Effect], dict[str, decide.Effect]]]) -> Lines:
    """A line for each term: its effect on the AUC and on the test accuracy of each data set."""
    yield header("term", *(f"{dataset}: {measure}" for dataset in estimates for measure in ("AUC", "test accuracy")))
    for term in next(iter(estimates.values()))[0]:
        yield line(term, *(interval(by_term[term]) for both in estimates.values() for by_term in both))


def costs(rows: list[dict[str, str]]) -> Lines:
    """Models, their epochs and the seconds of each table."""
    yield header(
        "table", "models", "model-epochs", "training, s", "model-epochs per second of training", "everything, s"
    )
    total: dict[str, np.ndarray] = {}
    everything = "**all**"
    for row in rows:
        numbers = np.array([float(row[n]) for n in ("models", "model_epochs", "train_seconds", "seconds")])
        for name in (row["table"], everything):
            total[name] = total.get(name, np.zeros(4)) + numbers
    for name in sorted(total, key=lambda name: (name == everything, name)):
        models, epochs, training, seconds = total[name]
        shown = (models, epochs, training, epochs / training, seconds)
        yield line(name, *(f"{number:,.0f}" for number in shown))


def spent(rows: list[dict[str, str]]) -> str:
    """Models and hours of all runs in a sentence."""
    if not rows:
        return ""
    models, seconds = (sum(float(row[name]) for row in rows) for name in ("models", "seconds"))
    devices = ", ".join(sorted({f"{row['device']}, jax {row['jax']}" for row in rows}))
    hours = f"{seconds / 3600:.1f} hours, summed over runs that may share the cores"
    return f"{models:,.0f} shadow models, {hours} ({devices})."
