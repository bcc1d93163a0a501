"""The effect of each claim of PROTOCOL.md on each data set, and its verdict, from the rows of the tables.

The result of a claim is {data set: `Judged`}. It is empty where a table of the claim is not there.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from experiments.study import conditions, decide, plan
from experiments.study.series import BySeed, Rows, above, accuracy_and_auc, at, by_seed, curves, less, matching

LEVEL = 1 - 0.05 / len(conditions.DATASETS)  # of an interval: all data sets together have 95 %
VOLUME = 2 * decide.MARGIN  # smallest change of a dominated volume that matters
ESCAPE = {"controlled": "spike_rate_escape", "as released": "spike_rate_escape_snntorch"}
LEAKY, LAST = conditions.READOUTS
FEW = "too few seeds"


class Judged(NamedTuple):
    """An effect on one data set, what it says of the claim, and a remark: what it is compared with, what is amiss."""

    effect: decide.Effect
    verdict: str
    remark: str = ""


ByDataset = dict[str, Judged]


def judged(values: Iterable[float], margin: float = decide.MARGIN, remark: str = "", questions: int = 1) -> Judged:
    """An effect and its verdict, as one of several `questions` that are all to hold together."""
    e = decide.effect(list(values), 1 - (1 - LEVEL) / questions)
    verdict = decide.verdict(e, margin) if e.seeds >= len(conditions.SEEDS) else FEW
    return Judged(e, verdict, remark)


def against_all(comparisons: list[Judged]) -> Judged:
    """The result of a claim that compares with several. It holds where it holds against each, and does not hold where
    it fails against one. Shown is the least effect."""
    least = min(comparisons, key=lambda one: one.effect.mean)
    verdicts = [one.verdict for one in comparisons]
    return least._replace(verdict=FEW if FEW in verdicts else decide.overall(verdicts))


def deciding(claim: str, how: str) -> tuple[str, ...]:
    """The data sets that decide a claim. Location-30 does not decide on surrogates at their defaults, which were not
    run there."""
    without_location = claim.startswith(("c:", "d:")) and how == "as released"
    return tuple(d for d in conditions.DATASETS if not (without_location and d == "location30"))


def overall(by_dataset: Mapping[str, Judged], datasets: tuple[str, ...] = conditions.DATASETS) -> str:
    """The verdict over the deciding data sets; "" where one is missing or has too few seeds."""
    verdicts = [by_dataset[name].verdict for name in datasets if name in by_dataset]
    if len(verdicts) < len(datasets) or FEW in verdicts:
        return ""
    return decide.overall(verdicts)


def on_each(rows: Rows, judge: Callable[[str, list], Judged | None]) -> ByDataset:
    """`judge(dataset, rows of it)` on each deciding data set; those without a result are left out."""
    own: dict[str, list] = {dataset: [] for dataset in conditions.DATASETS}
    for row in rows:
        own.setdefault(row["dataset"], []).append(row)
    results = {dataset: judge(dataset, own[dataset]) for dataset in conditions.DATASETS}
    return {dataset: result for dataset, result in results.items() if result}


def more_private(rows: Rows, readout: str = LEAKY, how: str = "test_accuracy") -> ByDataset:
    """b0: AUC(ANN) - AUC(SNN), both in float."""

    def judge(dataset: str, rows: list) -> Judged | None:
        ann, snn = (curves(rows, dataset, family, readout) for family in ("ann", "snn"))
        return judged(at(ann, snn, how), remark=above(ann, snn, how)) if ann and snn else None

    return on_each(rows, judge)


def than_quantized(ann_rows: Rows, snn_rows: Rows, readout: str = LEAKY, how: str = "test_accuracy") -> ByDataset:
    """b: AUC(ANN at b bits) - AUC(float SNN), against both widths of {8, 4}."""
    snn_rows = [row for row in snn_rows if row["family"] == "snn" and row["bits_weight"] == "32"]

    def judge(dataset: str, rows: list) -> Judged | None:
        snn = curves(snn_rows, dataset, "snn", readout)
        ann = {b: curves(rows, dataset, "ann", "", bits_weight=str(b)) for b in conditions.DECIDING}
        if not (snn and all(ann.values())):
            return None
        return against_all(
            [judged(at(curve, snn, how), remark=f"{b} bits", questions=len(ann)) for b, curve in ann.items()]
        )

    return on_each(ann_rows, judge)


def width(dataset: str, family: str, bits: int) -> dict[str, str]:
    """The columns of networks whose weights and activations have so many bits, by training with quantization."""
    columns = {"dataset": dataset, "family": family, "quantized": "both", "bits_weight": str(bits)}
    return columns if bits == 32 else columns | {"mode": "qat"}


def quantization_helps(rows: Rows, family: str, bits: int) -> ByDataset:
    """a: AUC(float) - AUC(b bits) of online LiRA."""

    def judge(dataset: str, rows: list) -> Judged | None:
        wide, narrow = (by_seed(rows, "auc", "lira", **width(dataset, family, b)) for b in (32, bits))
        return judged(less(wide, narrow)) if wide and narrow else None

    return on_each(rows, judge)


def little_loss(rows: Rows, family: str, bits: int) -> ByDataset:
    """The second half of a: test accuracy(float) - test accuracy(b bits), which must stay below the margin."""
    reversed_verdict = {decide.HOLDS: decide.FAILS, decide.FAILS: decide.HOLDS}

    def judge(dataset: str, rows: list) -> Judged | None:
        wide, narrow = (by_seed(rows, "test_accuracy", **width(dataset, family, b)) for b in (32, bits))
        if not (wide and narrow):
            return None
        loss = judged(less(wide, narrow))
        return loss._replace(verdict=reversed_verdict.get(loss.verdict, loss.verdict))

    return on_each(rows, judge)


def best_width(rows: Rows, family: str) -> ByDataset:
    """The parenthesis of a: the dominated volume of 8 and of 4 bits, each less that of every other width that ran."""

    def judge(dataset: str, rows: list) -> Judged | None:
        volumes = {}
        for bits in conditions.WIDTHS:
            accuracy, auc = accuracy_and_auc(rows, **width(dataset, family, bits))
            if accuracy and auc:
                volumes[bits] = dominated(accuracy, auc, dataset)
        needed = conditions.OF_LOCATION if dataset == "location30" else conditions.WIDTHS
        if not set(needed) <= set(volumes):
            return None
        others = [bits for bits in volumes if bits not in conditions.DECIDING]
        pairs = [(bits, other) for bits in conditions.DECIDING for other in others]
        named = {bits: f"{bits} bits" if bits < 32 else "float" for bits in volumes}
        return against_all([
            judged(less(volumes[a], volumes[b]), VOLUME, f"{named[a]} to {named[b]}", questions=len(pairs))
            for a, b in pairs
        ])  # fmt: skip

    return on_each(rows, judge)


def dominated(accuracy: BySeed, auc: BySeed, dataset: str) -> BySeed:
    """seed -> the dominated volume."""
    chance = 1 / conditions.CLASSES[dataset]
    return {seed: decide.dominated_volume(accuracy[seed], auc[seed], chance) for seed in accuracy}


def volume(rows: Rows, dataset: str, name: str) -> BySeed:
    """seed -> the dominated volume of a surrogate."""
    return dominated(*accuracy_and_auc(rows, dataset=dataset, surrogate=name), dataset)


def beats(values: Mapping[str, BySeed], name: str, margin: float) -> Judged | None:
    """How far a surrogate is above each of the others; shown is the one it is the least above."""
    others = {n: v for n, v in values.items() if v and n != name}
    if not (values.get(name) and others):
        return None
    return against_all(
        [judged(less(values[name], v), margin, f"to {n}", questions=len(others)) for n, v in others.items()]
    )


def best_balance(rows: Rows, how: str = "controlled") -> ByDataset:
    """c: the dominated volume of spike rate escape less that of each other of the paper's five."""

    def judge(dataset: str, rows: list) -> Judged | None:
        values = {name: volume(rows, dataset, name) for name in (ESCAPE[how], *conditions.FIVE)}
        return beats(values, ESCAPE[how], VOLUME)

    return on_each(rows, judge)


def most_vulnerable(rows: Rows, how: str = "controlled") -> ByDataset:
    """d: AUC(arctangent) less that of each other of the paper's five."""

    def judge(dataset: str, rows: list) -> Judged | None:
        names = (ESCAPE[how], *conditions.FIVE)
        values = {name: by_seed(rows, "auc", "lira", surrogate=name) for name in names}
        return beats(values, "arctan", decide.MARGIN)

    return on_each(rows, judge)


def by_their_attack(rows: Rows) -> ByDataset:
    """b0 under the released attack itself, the rows of as_released.csv with nothing replaced."""

    def judge(dataset: str, rows: list) -> Judged | None:
        auc: dict[str, BySeed] = {}
        for family in ("ann", "snn"):
            own = matching(rows, {"family": family, "replaced": "none"})
            auc[family] = {int(row["seed"]): float(row["auc"]) for row in own}
        return judged(less(auc["ann"], auc["snn"])) if all(auc.values()) else None

    return on_each(rows, judge)


def claims(tables: Mapping[str, Rows]) -> dict[tuple[str, str], ByDataset]:
    """(claim, way) -> {data set: result}; claim a of each family and width. "as released" is with the predecessor's
    learning rates, readout and surrogates, "and its attack" with its attack as well."""
    t = {name: list(tables.get(name, ())) for name in plan.TABLES}
    results = {}
    for family in ("snn", "ann"):
        for bits in conditions.DECIDING:
            for how, rows in (("as released", t["quantization_as_released"]), ("controlled", t["quantization"])):
                of = f"{family.upper()}, {bits} bits"
                results[f"a: {of} leak less", how] = quantization_helps(rows, family, bits)
                results[f"a: {of} lose little accuracy", how] = little_loss(rows, family, bits)
        results[f"a: {family.upper()}, 8 and 4 bits the best", "controlled"] = best_width(t["quantization"], family)
    released = t["quantization_as_released"]
    b, b0 = "b: float SNN leaks less than quantized ANN", "b0: SNN leaks less than ANN"
    results[b, "as released"] = than_quantized(released, released, LAST, "last")
    results[b, "controlled"] = than_quantized(t["curves_quantized"], t["curves"])
    results[b0, "as released"] = more_private(t["curves_as_released"], LAST, "last")
    results[b0, "as released, and its attack"] = by_their_attack(tables.get("as_released", ()))
    results[b0, "controlled"] = more_private(t["curves"])
    for how, rows in (("as released", t["surrogates_as_released"]), ("controlled", t["surrogates"])):
        results["c: spike rate escape has the best balance", how] = best_balance(rows, how)
        results["d: arctangent is the most vulnerable", how] = most_vulnerable(rows, how)
    return results
