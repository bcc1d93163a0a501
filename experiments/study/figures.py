"""The figures of the study, as SVG with text that can be searched."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from experiments.study import conditions, decide, effects, series

mpl.use("agg")
mpl.rcParams.update({"svg.hashsalt": "study", "svg.fonttype": "none", "font.size": 8, "axes.spines.top": False,
                     "axes.spines.right": False, "legend.frameon": False})  # fmt: skip
COLOURS = {"ann": "#0072b2", effects.LEAKY: "#d55e00", effects.LAST: "#e69f00", "snn": "#d55e00"}
# Okabe and Ito's, told apart by colour-blind readers; beside them each has a marker of its own
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000", "#999999")
MARKERS = "osD^vP*X"


def panels(names: Sequence[str], height: float = 3.2) -> tuple[Any, list[Any]]:
    figure, axes = plt.subplots(1, len(names), figsize=(0.5 + 2.9 * len(names), height), squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title(name)
    return figure, list(axes[0])


def save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def present(rows: series.Rows) -> list[str]:
    there = {row["dataset"] for row in rows}
    return [dataset for dataset in conditions.DATASETS if dataset in there]


def over_accuracy(axes: Iterable[Any]) -> None:
    for ax in axes:
        ax.axhline(0.5, color="grey", linewidth=0.8, linestyle="--")
        ax.set_xlabel("test accuracy")


def along_training(rows: series.Rows, path: Path) -> None:
    """AUC of online LiRA over test accuracy along training: a thin line for each seed, a thick one for their mean."""
    rows = list(rows)
    figure, axes = panels(present(rows))
    for ax, dataset in zip(axes, present(rows), strict=True):
        for family, readout in (("ann", ""), *(("snn", readout) for readout in conditions.READOUTS)):
            curves = series.curves(rows, dataset, family, readout).values()
            colour = COLOURS[readout or family]
            for curve in curves:
                ax.plot(curve["test_accuracy"], curve["auc"], color=colour, linewidth=0.4, alpha=0.5)
            if curves:
                accuracy, auc = (np.mean([curve[name] for curve in curves], 0) for name in ("test_accuracy", "auc"))
                label = "ANN" if family == "ann" else f"SNN, {readout}"
                ax.plot(accuracy, auc, "o-", markersize=3, color=colour, label=label)
    over_accuracy(axes)
    axes[0].set_ylabel("AUC of online LiRA (lower leaks less)")
    axes[0].legend()
    save(figure, path)


def quantization(rows: series.Rows, path: Path) -> None:
    """Weights and activations of each width, QAT: AUC over test accuracy, means over seeds, lines from float to 2
    bits."""
    rows = list(rows)
    figure, axes = panels(present(rows))
    for ax, dataset in zip(axes, present(rows), strict=True):
        for family in ("ann", "snn"):
            points = []
            for bits in conditions.WIDTHS:
                accuracy, auc = series.accuracy_and_auc(rows, **effects.width(dataset, family, bits))
                if accuracy and auc:
                    points.append((np.mean(list(accuracy.values())), np.mean(list(auc.values())), bits))
            x, y = [point[0] for point in points], [point[1] for point in points]
            ax.plot(x, y, "o-", markersize=3, color=COLOURS[family], label=family.upper())
            for a, b, bits in points:
                ax.annotate("float" if bits == 32 else str(bits), (a, b), textcoords="offset points", xytext=(3, 3))
    over_accuracy(axes)
    axes[0].set_ylabel("AUC of online LiRA (lower leaks less)")
    axes[0].legend()
    save(figure, path)


def around(e: decide.Effect) -> list[list[float]]:
    """An interval as error bars: below, above."""
    return [[e.mean - e.low], [e.high - e.mean]]


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (accuracy, AUC) that no other beats in both, by accuracy."""
    order = sorted(range(len(points)), key=lambda i: (-points[i][0], points[i][1]))
    best, kept = float("inf"), []
    for i in order:
        if points[i][1] < best:
            best = points[i][1]
            kept.append(i)
    return kept[::-1]


def surrogates(tables: Mapping[str, series.Rows], path: Path) -> None:
    """AUC over test accuracy of each surrogate, means and 95 % intervals over seeds, with the Pareto front: a row of
    panels for each table (architecture)."""
    tables = {title: list(rows) for title, rows in tables.items() if rows}
    datasets = present([row for rows in tables.values() for row in rows])
    names = sorted({row["surrogate"] for rows in tables.values() for row in rows}, key=order)
    size = (0.5 + 2.9 * len(datasets), 0.6 + 2.7 * len(tables))
    figure, axes = plt.subplots(len(tables), len(datasets), figsize=size, squeeze=False)
    for line, (title, rows) in zip(axes, tables.items(), strict=True):
        for ax, dataset in zip(line, datasets, strict=True):
            points = []
            for i, name in enumerate(names):
                both = series.accuracy_and_auc(rows, dataset=dataset, surrogate=name)
                if not all(both):
                    continue
                x, y = (decide.effect(list(by_seed.values())) for by_seed in both)
                points.append((x.mean, y.mean))
                style = {"color": PALETTE[i % 8], "marker": MARKERS[i % 8], "markersize": 4, "linewidth": 0.8}
                ax.errorbar(x.mean, y.mean, yerr=around(y), xerr=around(x), label=name, **style)
            if points:
                kept = front(points)
                ax.step(
                    [points[i][0] for i in kept], [points[i][1] for i in kept], where="pre", color="grey", linewidth=0.8
                )
                ax.set_title(f"{dataset}, {title}")
            else:
                ax.axis("off")
        over_accuracy(ax for ax in line if ax.has_data())
        line[0].set_ylabel("AUC of online LiRA")
    handles = {label: handle for ax in axes.flat for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="lower center", ncol=4)
    figure.tight_layout(rect=(0, 0.35 / size[1] * 1.6, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def order(name: str) -> tuple[int, str]:
    """The protocol's surrogates in their order, then others by name."""
    known = conditions.SURROGATES
    return known.index(name) if name in known else len(known), name


def ablation(estimates: Mapping[str, Mapping[str, decide.Effect]], path: Path) -> None:
    """The effects on the AUC of online LiRA with their intervals, a panel for each data set."""
    figure, axes = panels(list(estimates), 3.6)
    for k, (ax, by_term) in enumerate(zip(axes, estimates.values(), strict=True)):
        for i, e in enumerate(by_term.values()):
            ax.errorbar(e.mean, -i, xerr=around(e), color="black", marker="o", markersize=3)
        ax.axvspan(-decide.MARGIN, decide.MARGIN, color="#eeeeee")
        ax.axvline(0, color="grey", linewidth=0.8)
        ax.set_yticks([-i for i in range(len(by_term))], list(by_term) if k == 0 else [])
        ax.set_xlabel("change of AUC")
    save(figure, path)
