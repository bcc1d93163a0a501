"""Figures as inline SVG: privacy against accuracy, and log-log ROC curves."""

import io
from typing import Any

import numpy as np

from jaxsnn_mia import results

# Okabe and Ito's palette: told apart by colour-blind readers; markers differ as well
UNKNOWN = {"value": float("nan"), "low": float("nan"), "high": float("nan")}
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


def attack_names(rows: list[dict[str, Any]]) -> list[str]:
    shown = (row["attack"] for row in rows if results.is_membership(row["attack"]))
    return list(dict.fromkeys(name for name in shown if name != "strongest"))


def over_bit_widths(rows: list[dict[str, Any]]) -> str:
    """Test error on a log axis against AUC, with intervals: a panel for each data set and each thing that is quantized,
    a curve for each family, a marker for each bit width. The attack is online LiRA, or the first of the config."""
    plt = pyplot()
    names = attack_names(rows)
    attack = "lira" if "lira" in names else names[0]
    accuracy = {row["variant"]: row for row in rows if row["metric"] == "test_accuracy"}
    aucs = [row for row in rows if (row["metric"], row["attack"]) == ("auc", attack)]
    panels = list(dict.fromkeys((row["dataset"], row["quantized"]) for row in aucs))
    families = list(dict.fromkeys(map(curve_of, aucs)))
    widths = sorted({row["bits"] for row in aucs}, reverse=True)
    lines, columns = -(-len(panels) // 2), min(len(panels), 2)
    figure, axes = plt.subplots(
        lines, columns, figsize=(4.6 * columns, 3.6 * lines), sharex=True, sharey=True, squeeze=False
    )
    for ax, panel in zip(axes.flat, panels, strict=False):
        for i, family in enumerate(families):
            there = [row for row in aucs if (row["dataset"], row["quantized"], curve_of(row)) == (*panel, family)]
            there.sort(key=lambda row: row["bits"])
            points = [(error_of(accuracy[row["variant"]]), row) for row in there]
            colour = COLOURS[i % len(COLOURS)]
            ax.plot([x["value"] for x, _ in points], [y["value"] for _, y in points], color=colour, linewidth=1)
            for x, y in points:
                ax.errorbar(
                    x["value"], y["value"], xerr=bars(x), yerr=bars(y), color=colour, capsize=2, alpha=0.85,
                    fmt=MARKERS[widths.index(y["bits"]) % len(MARKERS)],
                )  # fmt: skip
        ax.axhline(0.5, color="grey", linewidth=0.8, linestyle="--")
        what = {"both": "weights and activations", "all": "weights, activations and membranes"}
        names_of = {"weight": "weights", "activation": "activations", "state": "membranes"}
        ax.set_title(f"{panel[0]}: {(what | names_of)[panel[1]]}", fontsize=10)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    axes[0, 0].set_xscale("log")
    axes[0, 0].invert_xaxis()
    axes[0, 0].xaxis.set_major_locator(plt.LogLocator(subs=(1, 2, 5)))
    axes[0, 0].xaxis.set_minor_formatter(plt.NullFormatter())
    axes[0, 0].xaxis.set_major_formatter(lambda x, _: f"{100 * x:g} %")
    figure.supylabel(f"AUC of {attack} (lower leaks less)", fontsize=10)
    figure.supxlabel("test error (right is better)", fontsize=10)
    for i, family in enumerate(families):
        axes[0, 0].plot([], [], color=COLOURS[i % len(COLOURS)], label=family)
    for j, width in enumerate(widths):
        label = "float" if width == 32 else f"{width} bits"
        axes[0, 0].plot([], [], MARKERS[j % len(MARKERS)], color="grey", label=label)
    figure.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 0.9), frameon=False)
    figure.tight_layout()
    return as_svg(figure)


def curve_of(row: dict[str, Any]) -> str:
    """The family and whatever else the sweep varies beside the data, the width and what is quantized."""
    rest = row["variant"].partition(f"-{row['family']}")[2]
    return row["family"] + rest.replace(f"-bits{row['bits']}", "").replace(f"-quantize{row['quantized']}", "")


def error_of(accuracy: dict[str, Any]) -> dict[str, Any]:
    """1 - accuracy and its interval, kept above what a log axis can show."""
    ends = {"value": "value", "low": "high", "high": "low"}
    return {end: max(1 - accuracy[other], 1e-4) for end, other in ends.items()}


def over_variants(rows: list[dict[str, Any]]) -> str:
    """Test accuracy against the mean AUC of every attack, with intervals: a colour per variant, a marker per attack.
    No attack is picked out by its own result."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6.2, 4.2))
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    names = attack_names(rows)
    accuracies = {row["variant"]: row for row in rows if row["metric"] == "test_accuracy"}
    for row in rows:
        if row["metric"] == "auc" and row["attack"] in names:
            i, j = variants.index(row["variant"]), names.index(row["attack"])
            accuracy = accuracies.get(row["variant"], UNKNOWN)
            axes.errorbar(
                accuracy["value"], row["value"], xerr=bars(accuracy), yerr=bars(row), capsize=2, alpha=0.85,
                fmt=MARKERS[j % len(MARKERS)], **looks(i),
            )  # fmt: skip
    axes.axhline(0.5, color="grey", linewidth=0.8, linestyle="--")
    axes.set(xlabel="test accuracy (right is better)", ylabel="AUC of the attack (lower leaks less)")
    for i, variant in enumerate(variants):
        axes.plot([], [], "s", label=variant, **looks(i))
    for j, name in enumerate(names):
        axes.plot([], [], MARKERS[j % len(MARKERS)], color="grey", label=name)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.16), ncols=2, frameon=False)
    return as_svg(figure)


def looks(i: int) -> dict[str, str]:
    """The colour of the i-th variant; hollow once the colours begin again."""
    return {"color": COLOURS[i % len(COLOURS)]} | ({"markerfacecolor": "white"} if i >= len(COLOURS) else {})


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


def image_grid(images: np.ndarray) -> str:
    """Two rows of images, uint8 [2, K, H, W, channels]: what there was above what was reconstructed."""
    plt = pyplot()
    count = images.shape[1]
    figure, axes = plt.subplots(2, count, figsize=(0.7 * count + 0.6, 1.5), squeeze=False)
    for line, row, said in zip(axes, images, ("target", "found"), strict=True):
        for ax, image in zip(line, row, strict=True):
            ax.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(said, fontsize=8)
    return as_svg(figure)
