"""The figures of privacy against accuracy."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxsnn_mia.report import tables
from jaxsnn_mia.report.plots import (
    COLOURS,
    GREY,
    MARKERS,
    SIZE,
    Figure,
    as_csv,
    as_svg,
    bars,
    below,
    logarithmic,
    pyplot,
    styled,
    tip,
)

KINDS = {
    "weight": "weights", "activation": "activations", "state": "membranes", "both": "weights and activations",
    "weight_state": "weights and membranes", "all": "weights, activations and membranes",
}  # fmt: skip
ENDS = {"": "value", "_low": "low", "_high": "high"}  # of an interval, in columns of a CSV
WIDE = 4.0  # where the largest error is more than so many times the smallest, the axis is logarithmic
FLOAT = 32  # bits of a variant that is not quantized


class Point(NamedTuple):
    """One variant in a figure."""

    curve: str  # variants with one name are one curve
    auc: Mapping[str, Any]  # its row of the AUC
    accuracy: Mapping[str, Any]  # its row of the test accuracy
    error: Mapping[str, float]  # 1 - accuracy: "value", "low", "high"

    @property
    def variant(self) -> str:
        return self.auc["variant"]

    @property
    def bits(self) -> int:
        return self.auc["bits"]

    @property
    def place(self) -> tuple[float, float]:
        """(test error, AUC)."""
        return self.error["value"], self.auc["value"]


def privacy_against_accuracy(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """A figure for each data set: test error against the AUC of `tables.headline`, with intervals. Where the width
    varies, there is a figure for each thing that is quantized as well, and variants that differ in their width alone
    are one curve. A dotted line joins the points that no other point beats in both."""
    attack = tables.headline(tables.attack_names(rows))
    accuracy = {row["variant"]: row for row in rows if row["metric"] == "test_accuracy"}
    points = [
        Point(curve_of(row), row, accuracy[row["variant"]], error_of(accuracy[row["variant"]]))
        for row in rows
        if (row["metric"], row["attack"]) == ("auc", attack) and row["variant"] in accuracy
    ]
    swept = len({point.bits for point in points}) > 1
    panels: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        kind = point.auc["quantized"] if swept else ""
        panels.setdefault((point.auc["dataset"], kind), []).append(point)
    curves = list(dict.fromkeys(point.curve for point in points))  # of one colour in all panels
    return [panel(dataset, kind, attack, there, curves, swept) for (dataset, kind), there in panels.items()]


@styled
def panel(dataset: str, kind: str, attack: str, points: list[Point], curves: list[str], swept: bool) -> Figure:
    """One figure. `curves`: the names of the curves of all figures; `swept`: markers tell widths, not curves."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=SIZE)
    widths = sorted({point.bits for point in points}, reverse=True)
    for i, curve in enumerate(curves):
        of_curve = sorted((point for point in points if point.curve == curve), key=lambda point: point.bits)
        if of_curve:
            draw_curve(axes, of_curve, i, widths if swept else None)
    if swept:
        for j, width in enumerate(widths):
            name = "float" if width == FLOAT else f"{width} bits"
            axes.plot([], [], MARKERS[j % len(MARKERS)], color=GREY, label=name)
    best = front([point.place for point in points])
    if len(points) > 1:
        axes.plot(
            *zip(*best, strict=True), "o", markersize=13, markerfacecolor="none", color=GREY, linestyle=":",
            linewidth=1.2, zorder=0, label="Pareto front",
        )  # fmt: skip
    axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle="--")
    errors = [point.error["value"] for point in points]
    if max(errors) > WIDE * min(errors):
        axes.set_xscale("log")
        logarithmic(axes.xaxis)
    else:
        axes.xaxis.set_major_locator(plt.MaxNLocator(5))
    axes.xaxis.set_major_formatter(lambda x, _: f"{100 * x:g} %")
    axes.set(xlabel="test error (left is better)", ylabel=f"AUC of {attack} (lower leaks less)")
    below(axes)
    caption = f"{dataset}: {KINDS[kind]}: privacy against accuracy" if kind else f"{dataset}: privacy against accuracy"
    words = ", ".join(
        f"{point.variant}: test accuracy {point.accuracy['value']:.3f}, AUC {point.auc['value']:.3f}"
        for point in points
    )
    table = as_csv([numbers(point, attack, best) for point in points])
    return Figure(caption, f"Test error against the AUC of {attack}. {words}.", as_svg(figure), table)


def draw_curve(axes, points: Sequence[Point], i: int, widths: Sequence[int] | None) -> None:
    """Curve number `i` with the intervals of its points. A marker stands for a width where there are `widths`, and for
    the curve elsewhere."""
    colour = COLOURS[i % len(COLOURS)]
    filled = "none" if i >= len(COLOURS) else colour
    if len(points) > 1:
        axes.plot(*zip(*(point.place for point in points), strict=True), color=colour, linewidth=1)
    for point in points:
        marker = i if widths is None else widths.index(point.bits)
        drawn = axes.errorbar(
            *point.place, xerr=bars(point.error), yerr=bars(point.auc), capsize=2, alpha=0.9, color=colour,
            fmt=MARKERS[marker % len(MARKERS)], markerfacecolor=filled,
        )  # fmt: skip
        auc, error = tables.with_interval(point.auc), 100 * point.error["value"]
        tip(drawn[0], f"{point.variant}: AUC {auc}, test error {error:.2f} %")
    if widths is None:
        label = {"marker": MARKERS[i % len(MARKERS)], "linestyle": "none"}
    else:
        label = {"marker": "none", "linestyle": "-"}
    axes.plot([], [], color=colour, label=points[0].curve, markerfacecolor=filled, **label)


def numbers(point: Point, attack: str, best: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """A point as a row of the figure's CSV."""
    row = {"variant": point.variant, "bits": point.bits, "quantized": point.auc["quantized"]}
    row |= {f"test_accuracy{end}": point.accuracy[name] for end, name in ENDS.items()}
    row |= {f"auc_{attack}{end}": point.auc[name] for end, name in ENDS.items()}
    return row | {"on_front": point.place in best}


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


def error_of(accuracy: Mapping[str, Any]) -> dict[str, Any]:
    """1 - accuracy and its interval, kept above what a log axis can show."""
    ends = {"value": "value", "low": "high", "high": "low"}
    return {end: max(1 - accuracy[other], 1e-4) for end, other in ends.items()}
