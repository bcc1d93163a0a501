"""Figures of the report: privacy against accuracy, ROC curves, training curves, exposed examples, reconstructions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxsnn_mia.report import tables
from jaxsnn_mia.report.plots import (
    COLOURS,
    GREY,
    LINES,
    MARKERS,
    SIZE,
    Figure,
    as_csv,
    as_svg,
    bars,
    below,
    decades,
    logarithmic,
    pyplot,
    styled,
)

KINDS = {
    "weight": "weights", "activation": "activations", "state": "membranes", "both": "weights and activations",
    "all": "weights, activations and membranes",
}  # fmt: skip
ENDS = {"": "value", "_low": "low", "_high": "high"}  # of an interval, in columns of a CSV
MOST = 7  # curves in a figure
WIDE = 4.0  # errors that differ by more are shown on a log axis


def privacy_against_accuracy(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """A figure for each data set (and each thing that is quantized, where widths vary): test accuracy against the AUC
    of `tables.headline`, with intervals. Variants that differ in their width alone are one curve; the points that no
    other beats in both are joined by a dashed line."""
    attack = tables.headline(tables.attack_names(rows))
    accuracy = {row["variant"]: row for row in rows if row["metric"] == "test_accuracy"}
    points = [row for row in rows if (row["metric"], row["attack"]) == ("auc", attack) and row["variant"] in accuracy]
    swept = len({row["bits"] for row in points}) > 1
    panels: dict[tuple, list[dict[str, Any]]] = {}
    for row in points:
        panels.setdefault((row["dataset"], row["quantized"] if swept else ""), []).append(row)
    curves = list(dict.fromkeys(map(curve_of, points)))  # of one colour in all panels
    return [panel(of, kind, attack, there, accuracy, curves, swept) for (of, kind), there in panels.items()]


@styled
def panel(
    dataset: str, kind: str, attack: str, points: list[dict[str, Any]], accuracy: Mapping[str, dict[str, Any]],
    curves: list[str], swept: bool,
) -> Figure:  # fmt: skip
    plt = pyplot()
    figure, axes = plt.subplots(figsize=SIZE)
    errors = {row["variant"]: error_of(accuracy[row["variant"]]) for row in points}
    values = [error["value"] for error in errors.values()]
    widths = sorted({row["bits"] for row in points}, reverse=True)
    for i, curve in enumerate(curves):
        of_curve = sorted((row for row in points if curve_of(row) == curve), key=lambda row: row["bits"])
        if not of_curve:
            continue
        colour = COLOURS[i % len(COLOURS)]
        if len(of_curve) > 1:
            xs = [errors[row["variant"]]["value"] for row in of_curve]
            axes.plot(xs, [row["value"] for row in of_curve], color=colour, linewidth=1)
        for row in of_curve:
            error, j = errors[row["variant"]], widths.index(row["bits"]) if swept else i
            axes.errorbar(
                error["value"], row["value"], xerr=bars(error), yerr=bars(row), capsize=2, alpha=0.9, color=colour,
                fmt=MARKERS[j % len(MARKERS)], markerfacecolor="none" if i >= len(COLOURS) else colour,
            )  # fmt: skip
        label = {"marker": "none" if swept else MARKERS[i % len(MARKERS)], "linestyle": "-" if swept else "none"}
        axes.plot([], [], color=colour, label=curve, markerfacecolor="none" if i >= len(COLOURS) else colour, **label)
    for j, width in enumerate(widths if swept else ()):
        name = "float" if width == 32 else f"{width} bits"
        axes.plot([], [], MARKERS[j % len(MARKERS)], color=GREY, label=name)
    best = front([(errors[row["variant"]]["value"], row["value"]) for row in points])
    axes.plot(
        *zip(*best, strict=True),
        "o",
        markersize=13,
        markerfacecolor="none",
        color=GREY,
        linestyle=":",
        linewidth=1.2,
        zorder=0,
        label="Pareto front",
    )
    axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle="--")
    if max(values) > WIDE * min(values):
        axes.set_xscale("log")
        logarithmic(axes.xaxis)
    else:
        axes.xaxis.set_major_locator(plt.MaxNLocator(5))
    axes.xaxis.set_major_formatter(lambda x, _: f"{100 * x:g} %")
    axes.invert_xaxis()
    axes.set(xlabel="test error (right is better)", ylabel=f"AUC of {attack} (lower leaks less)")
    below(axes)
    table = [
        {
            "variant": row["variant"], "bits": row["bits"], "quantized": row["quantized"],
            **{f"test_accuracy{end}": accuracy[row["variant"]][name] for end, name in ENDS.items()},
            **{f"auc_{attack}{end}": row[name] for end, name in ENDS.items()},
            "on_front": (errors[row["variant"]]["value"], row["value"]) in best,
        }
        for row in points
    ]  # fmt: skip
    caption = f"{dataset}{': ' + KINDS[kind] if kind else ''}: privacy against accuracy"
    words = ", ".join(
        f"{row['variant']}: test accuracy {accuracy[row['variant']]['value']:.3f}, AUC {row['value']:.3f}"
        for row in points
    )
    return Figure(caption, f"Test error against the AUC of {attack}. {words}.", as_svg(figure), as_csv(table))


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (error, leak) that no other is below in one and not above in the other, in order."""
    best: list[tuple[float, float]] = []
    for point in sorted(set(points)):
        if not best or point[1] < best[-1][1]:
            best.append(point)
    return best


def curve_of(row: Mapping[str, Any]) -> str:
    """The family and whatever else the sweep varies beside the data, the width and what is quantized."""
    before, _, rest = row["variant"].partition(f"-{row['family']}")
    run = before.rpartition("/")[0]  # of several runs
    rest = rest.replace(f"-bits{row['bits']}", "").replace(f"-quantize{row['quantized']}", "")
    return f"{run}/{row['family']}{rest}" if run else row["family"] + rest


def short(variant: str, dataset: str) -> str:
    """The name of a variant where the data set is known."""
    return variant.replace(f"{dataset}-", "", 1)


def error_of(accuracy: Mapping[str, Any]) -> dict[str, Any]:
    """1 - accuracy and its interval, kept above what a log axis can show."""
    ends = {"value": "value", "low": "high", "high": "low"}
    return {end: max(1 - accuracy[other], 1e-4) for end, other in ends.items()}


def parts(curves: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The curves in as many figures as it takes to tell them apart."""
    names = list(curves)
    return [{name: curves[name] for name in names[i : i + MOST]} for i in range(0, len(names), MOST)]


@styled
def log_log_roc(variant: str, curves: Mapping[str, np.ndarray]) -> Figure:
    """TPR against FPR on log axes with the diagonal of guessing; curves hold [2, K]."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=SIZE)
    lowest = min(curve[0][curve[0] > 0].min() for curve in curves.values())
    table = []
    for i, (attack, (fpr, tpr)) in enumerate(curves.items()):
        axes.step(np.maximum(fpr, lowest / 2), tpr, where="post", color=COLOURS[i % len(COLOURS)], label=attack,
                  linestyle=LINES[i % len(LINES)], linewidth=1.3)  # fmt: skip
        table += [{"attack": attack, "fpr": float(x), "tpr": float(y)} for x, y in zip(fpr, tpr, strict=True)]
    axes.plot([lowest, 1], [lowest, 1], color=GREY, linewidth=0.8, linestyle="--", label="guessing")
    axes.set(xscale="log", yscale="log", xlim=(lowest, 1), ylim=(lowest, 1),
             xlabel="false positive rate", ylabel="true positive rate")  # fmt: skip
    decades(axes.xaxis)
    decades(axes.yaxis)
    below(axes)
    words = f"ROC curves of {', '.join(curves)} on log axes; their values at fixed rates are in the table of results."
    return Figure(f"{variant}: ROC curves", words, as_svg(figure), as_csv(table))


@styled
def training_curves(dataset: str, histories: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Mean loss and accuracy on its own rows of each variant's models, epoch by epoch, with the middle 90 % of them;
    histories hold "loss" and "accuracy" [S, E]."""
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(SIZE[0], 2.6))
    table, words = [], []
    for i, (variant, history) in enumerate(histories.items()):
        for axes, measure in ((left, "loss"), (right, "accuracy")):
            values_se = np.asarray(history[measure], np.float64)
            values_se = values_se[np.isfinite(values_se).all(1)]
            if not len(values_se):
                continue
            epochs = np.arange(1, values_se.shape[1] + 1)
            low, high = np.percentile(values_se, (5, 95), axis=0)
            mean = values_se.mean(0)
            axes.plot(epochs, mean, color=COLOURS[i % len(COLOURS)], label=short(variant, dataset), linewidth=1.3,
                      linestyle=LINES[i % len(LINES)])  # fmt: skip
            axes.fill_between(epochs, low, high, color=COLOURS[i % len(COLOURS)], alpha=0.2, linewidth=0)
            table += [
                {"variant": variant, "measure": measure, "epoch": int(e), "mean": m, "low": a, "high": b}
                for e, m, a, b in zip(epochs, mean.tolist(), low.tolist(), high.tolist(), strict=True)
            ]
            words.append(f"{variant}: {measure} {mean[-1]:.3g} after {len(epochs)} epochs")
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    logarithmic(left.yaxis)
    right.set(xlabel="epoch", ylabel="training accuracy")
    below(left, -0.25, -0.25)
    figure.subplots_adjust(wspace=0.45)
    return Figure(f"{dataset}: training curves", f"{'; '.join(words)}.", as_svg(figure), as_csv(table))


@styled
def vulnerability(dataset: str, aucs: Mapping[str, np.ndarray], luck: Mapping[str, float]) -> Figure:
    """The share of examples at most as exposed, a curve for each variant; `luck`: the deviation without any leak."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=SIZE)
    table, words = [], []
    for i, (variant, auc_n) in enumerate(aucs.items()):
        ordered = np.sort(auc_n[~np.isnan(auc_n)])
        if not len(ordered):
            continue
        share = np.linspace(0, 1, 201)
        values = np.quantile(ordered, share)
        axes.plot(values, share, color=COLOURS[i % len(COLOURS)], label=short(variant, dataset),
                  linestyle=LINES[i % len(LINES)], linewidth=1.3)  # fmt: skip
        table += [
            {"variant": variant, "share": s, "auc": v} for s, v in zip(share.tolist(), values.tolist(), strict=True)
        ]
        words.append(f"{variant}: median {np.median(ordered):.3f}, the most exposed hundredth above {values[198]:.3f}")
    spread = max(luck.values(), default=0.0)
    axes.axvspan(0.5 - 2 * spread, 0.5 + 2 * spread, color=GREY, alpha=0.15, linewidth=0, label="luck (2 deviations)")
    axes.axvline(0.5, color=GREY, linewidth=0.8, linestyle="--")
    axes.set(xlabel="AUC of one example, member against not", ylabel="share of examples", ylim=(0, 1))
    below(axes)
    return Figure(f"{dataset}: exposure of single examples", f"{'; '.join(words)}.", as_svg(figure), as_csv(table))


@styled
def image_grid(name: str, images: np.ndarray) -> Figure:
    """Two rows of images, uint8 [2, K, H, W, channels]: what there was above what was reconstructed."""
    plt = pyplot()
    count = images.shape[1]
    figure, axes = plt.subplots(2, count, figsize=(0.7 * count + 0.6, 1.5), squeeze=False)
    for line, row, said in zip(axes, images, ("target", "found"), strict=True):
        for ax, image in zip(line, row, strict=True):
            ax.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(said, fontsize=8)
    table = [
        {"image": i, "row": said, "values": " ".join(map(str, image.ravel().tolist()))}
        for said, row in zip(("target", "found"), images, strict=True)
        for i, image in enumerate(row)
    ]
    return Figure(name, "Targets above their reconstructions.", as_svg(figure), as_csv(table))
