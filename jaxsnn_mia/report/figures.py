"""Figures of the report: ROC curves, training curves, exposed examples, reconstructions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxsnn_mia.report.plots import (
    COLOURS,
    GREY,
    LINES,
    SIZE,
    Figure,
    as_csv,
    as_svg,
    below,
    decades,
    logarithmic,
    pyplot,
    styled,
    tip,
)

MOST = 7  # curves in a figure
RATES = (0.001, 0.01, 0.1)  # false positive rates at which a curve says its value
IMAGES = ("target", "found")  # the rows of a grid of reconstructions


def in_several(curves: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The curves by name in as many figures as it takes to tell them apart."""
    names = list(curves)
    return [{name: curves[name] for name in names[i : i + MOST]} for i in range(0, len(names), MOST)]


def short(variant: str, dataset: str) -> str:
    """The name of a variant where the data set is known."""
    return variant.replace(f"{dataset}-", "", 1)


@styled
def log_log_roc(variant: str, curves: Mapping[str, np.ndarray]) -> Figure:
    """TPR against FPR on log axes with the diagonal of guessing; curves [2, K] of attacks, or of variants."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=SIZE)
    lowest = min(curve[0][curve[0] > 0].min() for curve in curves.values())
    table = []
    for i, (attack, (fpr, tpr)) in enumerate(curves.items()):
        axes.step(np.maximum(fpr, lowest / 2), tpr, where="post", color=COLOURS[i % len(COLOURS)], label=attack,
                  linestyle=LINES[i % len(LINES)], linewidth=1.3)  # fmt: skip
        for rate in RATES:
            reached = float(tpr[fpr <= rate].max(initial=0.0))
            if lowest <= rate and reached >= lowest:
                (dot,) = axes.plot(rate, reached, "o", markersize=4, color=COLOURS[i % len(COLOURS)])
                tip(dot, f"{attack}: {100 * reached:.2f} % of members at {100 * rate:g} % false positives")
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
def score_histogram(variant: str, attack: str, counts: np.ndarray) -> Figure:
    """The scores of members and of others, `counts` [3, bins]: left edges, members, others, of one attack."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(SIZE[0], 2.6))
    edges, shares = counts[0], 100 * counts[1:] / np.maximum(counts[1:].sum(1, keepdims=True), 1)
    width = edges[1] - edges[0]
    table = []
    for i, (who, share) in enumerate(zip(("members", "others"), shares, strict=True)):
        bars = axes.bar(edges, share, width, align="edge", alpha=0.5, color=COLOURS[i], label=who)
        for edge, height, bar in zip(edges, share, bars, strict=True):
            tip(bar, f"{height:.2f} % of {who} score {edge:.3g} to {edge + width:.3g}")
            table.append({"who": who, "from": float(edge), "to": float(edge + width), "percent": float(height)})
    axes.set(xlabel=f"score of {attack}", ylabel="% of them")
    below(axes, down=-0.25)
    words = f"How the scores of {attack} lie: members above, others below, where the attack works."
    return Figure(f"{variant}: scores of members and others", words, as_svg(figure), as_csv(table))


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
    for line, row, said in zip(axes, images, IMAGES, strict=True):
        for ax, image in zip(line, row, strict=True):
            ax.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(said, fontsize=8)
    table = [
        {"image": i, "row": said, "values": " ".join(map(str, image.ravel().tolist()))}
        for said, row in zip(IMAGES, images, strict=True)
        for i, image in enumerate(row)
    ]
    return Figure(name, "Targets above their reconstructions.", as_svg(figure), as_csv(table))
