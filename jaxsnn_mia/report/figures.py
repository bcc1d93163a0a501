"""Figures as inline SVG: privacy against accuracy, and log-log ROC curves."""

import io
from typing import Any

import numpy as np

# Okabe and Ito's palette: told apart by colour-blind readers; markers differ as well
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX*"


def pyplot():
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "jaxsnn_mia", "font.family": "sans-serif",
                         "axes.spines.top": False, "axes.spines.right": False})  # fmt: skip
    return plt


def as_svg(figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    pyplot().close(figure)
    return out.getvalue()[out.getvalue().index("<svg") :]


def privacy_against_accuracy(rows: list[dict[str, Any]]) -> str:
    """A curve per family over the bit widths where they vary, else a point per variant and attack."""
    return over_bit_widths(rows) if len({row["bits"] for row in rows}) > 1 else over_variants(rows)


def over_bit_widths(rows: list[dict[str, Any]]) -> str:
    """Test accuracy against AUC with intervals: a panel for each data set and each thing that is quantized, a curve for
    each family, a marker and a number for each bit width. The attack is online LiRA, or the first of the config."""
    plt = pyplot()
    names = list(dict.fromkeys(row["attack"] for row in rows if row["attack"]))
    attack = "lira" if "lira" in names else names[0]
    by_variant = {row["variant"]: {"accuracy": row} for row in rows if row["metric"] == "test_accuracy"}
    for row in rows:
        if (row["metric"], row["attack"]) == ("auc", attack):
            by_variant[row["variant"]]["auc"] = row
    panels = list(dict.fromkeys((row["dataset"], row["quantized"]) for row in rows))
    families, widths = (list(dict.fromkeys(row[key] for row in rows)) for key in ("family", "bits"))
    columns = min(len(panels), 2)
    lines = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(4.6 * columns, 3.8 * lines), sharex=True, sharey=True, squeeze=False, layout="tight"
    )
    for ax, (dataset, quantized) in zip(axes.flat, panels, strict=False):
        for i, family in enumerate(families):
            there = [
                point
                for point in by_variant.values()
                if [point["auc"][key] for key in ("dataset", "quantized", "family")] == [dataset, quantized, family]
            ]
            there.sort(key=lambda point: point["auc"]["bits"])
            colour = COLOURS[i % len(COLOURS)]
            x, y = ([point[key]["value"] for point in there] for key in ("accuracy", "auc"))
            ax.plot(x, y, color=colour, linewidth=1, label=family if there else None)
            for point, at in zip(there, zip(x, y, strict=True), strict=True):
                bits = point["auc"]["bits"]
                ax.errorbar(
                    *at, xerr=bars(point["accuracy"]), yerr=bars(point["auc"]), color=colour, capsize=2, alpha=0.85,
                    fmt=MARKERS[widths.index(bits) % len(MARKERS)],
                )  # fmt: skip
                ax.annotate("float" if bits == 32 else str(bits), at, (4, 4), textcoords="offset points", fontsize=8)
        ax.axhline(0.5, color="grey", linewidth=0.8, linestyle="--")
        ax.set_title(f"{dataset}: {'weights and activations' if quantized == 'both' else quantized}", fontsize=10)
        ax.legend(fontsize=8, loc="lower left", frameon=False)
    for ax in axes[:, 0]:
        ax.set_ylabel(f"AUC of {attack} (lower leaks less)")
    for ax in axes[-1]:
        ax.set_xlabel("test accuracy (right is better)")
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    return as_svg(figure)


def over_variants(rows: list[dict[str, Any]]) -> str:
    """Test accuracy against the mean AUC of every attack, with intervals: a colour per variant, a marker per attack.
    No attack is picked out by its own result."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6.2, 4.2))
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    names = list(dict.fromkeys(row["attack"] for row in rows if row["attack"]))
    accuracies = {row["variant"]: row for row in rows if row["metric"] == "test_accuracy"}
    for row in rows:
        if row["metric"] == "auc":
            i, j = variants.index(row["variant"]), names.index(row["attack"])
            accuracy = accuracies[row["variant"]]
            axes.errorbar(
                accuracy["value"], row["value"], xerr=bars(accuracy), yerr=bars(row), capsize=2, alpha=0.85,
                fmt=MARKERS[j % len(MARKERS)], color=COLOURS[i % len(COLOURS)],
            )  # fmt: skip
    axes.axhline(0.5, color="grey", linewidth=0.8, linestyle="--")
    axes.set(xlabel="test accuracy (right is better)", ylabel="AUC of the attack (lower leaks less)")
    for i, variant in enumerate(variants):
        axes.plot([], [], "s", color=COLOURS[i % len(COLOURS)], label=variant)
    for j, name in enumerate(names):
        axes.plot([], [], MARKERS[j % len(MARKERS)], color="grey", label=name)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.16), ncols=2, frameon=False)
    return as_svg(figure)


def bars(row: dict[str, Any]) -> np.ndarray:
    """[2, 1] distances to the ends of an interval; a percentile interval need not hold the value."""
    return np.maximum([[row["value"] - row["low"]], [row["high"] - row["value"]]], 0)


def log_log_roc(variant: str, curves: dict[str, np.ndarray]) -> str:
    """TPR against FPR on log axes with the diagonal of guessing; curves hold [2, K]."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(4.4, 4.0))
    lowest = min(curve[0][curve[0] > 0].min() for curve in curves.values())
    for i, (attack, (fpr, tpr)) in enumerate(curves.items()):
        axes.step(np.maximum(fpr, lowest / 2), tpr, where="post", color=COLOURS[i % len(COLOURS)], label=attack)
    axes.plot([lowest, 1], [lowest, 1], color="grey", linewidth=0.8, linestyle="--", label="guessing")
    axes.set(xscale="log", yscale="log", xlim=(lowest, 1), ylim=(lowest, 1),
             xlabel="false positive rate", ylabel="true positive rate", title=variant)  # fmt: skip
    axes.legend(fontsize=8)
    return as_svg(figure)
