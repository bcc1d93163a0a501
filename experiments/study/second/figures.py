"""Figures of the second study."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from experiments.study.second import effects, frontier
from experiments.study.second.effects import Both
from experiments.study.second_look import Together

# black and grey too: each family has a marker and a line of its own
STYLES = {
    ("ann", ""): {"color": "#1b6ca8", "marker": "o", "linestyle": "-"},
    ("snn", effects.LEAKY): {"color": "#c1440e", "marker": "^", "linestyle": "--"},
    ("snn", effects.LAST): {"color": "#6b8e23", "marker": "s", "linestyle": ":"},
}
COLUMNS = 3
SAVED = {"metadata": {"Date": None}, "bbox_inches": "tight"}


def frontiers(rows: effects.Rows, known: Mapping[str, tuple[float, float]], path: Path) -> None:
    """A panel for each data set: every rate and stopping time as a point, mean over seeds, and the lower envelopes."""
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    height = -(-len(datasets) // COLUMNS)
    with plt.rc_context({"font.size": 8, "svg.hashsalt": "jaxsnn_mia"}):
        figure, axes = plt.subplots(height, COLUMNS, figsize=(7.2, 2.3 * height), squeeze=False)
        for axis in axes.ravel()[len(datasets) :]:
            axis.set_visible(False)
        for dataset, axis in zip(datasets, axes.ravel(), strict=False):
            panel(axis, rows, dataset, frontier.start(*known[dataset]))
        axes[0][0].legend(fontsize=6, frameon=False)
        figure.tight_layout()
        figure.savefig(path, **SAVED)
        plt.close(figure)


def panel(axis, rows: effects.Rows, dataset: str, least: float) -> None:
    for (family, readout), style in STYLES.items():
        of = effects.condition(rows, "strongest auc", dataset=dataset, family=family, readout=readout)
        if of is None:
            continue
        accuracy, leak = of.accuracy.mean(0).ravel(), of.leak.mean(0).ravel()
        marks = {name: style[name] for name in ("color", "marker")}
        axis.plot(accuracy, leak, linestyle="none", markersize=2, alpha=0.4, **marks)
        corners = frontier.corners(of.accuracy.mean(0), of.leak.mean(0))
        name = f"{family.upper()} {readout.replace('_', ' ')}".strip()
        axis.plot(accuracy[corners], leak[corners], label=name, markersize=3, linewidth=1, **style)
    axis.axvline(least, color="0.6", linewidth=0.6)
    axis.set_title(dataset)
    axis.set_xlabel("test accuracy")
    axis.set_ylabel("AUC")


def forest(by_dataset: Mapping[str, Both | None], over: Sequence[Together], level: float, path: Path) -> None:
    """The effect of each data set with its interval, their mean and the prediction interval, in AUC and log10 TPR."""
    known = {name: both for name, both in by_dataset.items() if both is not None}
    if not known:
        return
    names, margins = list(known), (0.02, frontier.RATIO)
    with plt.rc_context({"font.size": 8, "svg.hashsalt": "jaxsnn_mia"}):
        figure, axes = plt.subplots(1, 2, figsize=(7.2, 0.6 + 0.24 * (len(names) + 2)), sharey=True)
        for k, (axis, head) in enumerate(zip(axes, ("AUC", "log10 TPR at 1 % FPR"), strict=True)):
            for y, name in enumerate(names):
                effect = known[name][k]
                if effect is None:
                    continue
                axis.plot(effect.interval(level), [y, y], color="0.3", linewidth=1)
                axis.plot(effect.mean, y, "o", color="black", markersize=3)
            if over:
                t, y = over[k], len(names)
                axis.plot([t.predicted_low, t.predicted_high], [y, y], color="0.6", linewidth=1, linestyle=":")
                axis.plot([t.low, t.high], [y, y], color="black", linewidth=2)
                axis.plot(t.mean, y, "D", color="black", markersize=4)
            axis.axvspan(-margins[k], margins[k], color="0.9", zorder=0)
            axis.axvline(0, color="0.6", linewidth=0.6)
            axis.set_xlabel(f"{head}, ANN less SNN")
        axes[0].set_yticks(np.arange(len(names) + bool(over)), [*names, *(["over data sets"] if over else [])])
        axes[0].invert_yaxis()
        figure.tight_layout()
        figure.savefig(path, **SAVED)
        plt.close(figure)
