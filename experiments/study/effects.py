"""The effect of each claim of PROTOCOL.md on each data set, and its verdict, from the rows of the tables.

A claim is {data set: `Found`}; tables that are not there give none of them.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from experiments.study import conditions, decide, run

LEVEL = 1 - 0.05 / len(conditions.DATASETS)  # of an interval: all data sets together have 95 %
VOLUME = 2 * decide.MARGIN  # smallest change of a dominated volume that matters
ESCAPE = {"controlled": "spike_rate_escape", "as released": "spike_rate_escape_snntorch"}
LEAKY, LAST = conditions.READOUTS

Rows = Iterable[Mapping[str, str]]
BySeed = dict[int, float]


class Found(NamedTuple):
    """An effect on one data set, what it says of the claim, and a remark: what it is compared with, what is amiss."""

    effect: decide.Effect
    verdict: str
    remark: str = ""


FEW = "too few seeds"


def judged(values: Iterable[float], margin: float = decide.MARGIN, remark: str = "", questions: int = 1) -> Found:
    """An effect and its verdict, as one of several `questions` that are all to hold together."""
    e = decide.effect(list(values), 1 - (1 - LEVEL) / questions)
    return Found(e, decide.verdict(e, margin) if e.seeds >= len(conditions.SEEDS) else FEW, remark)


def against_all(found: list[Found]) -> Found:
    """A claim that compares with several: it holds where it holds against each and does not hold where it fails against
    one. Shown is the least effect."""
    least = min(found, key=lambda one: one.effect.mean)
    verdicts = [one.verdict for one in found]
    return least._replace(verdict=FEW if FEW in verdicts else decide.overall(verdicts))


def deciding(claim: str, how: str) -> tuple[str, ...]:
    """The data sets that decide; of surrogates at their defaults those that are embedded."""
    embedded = claim.startswith(("c:", "d:")) and how == "as released"
    return tuple(d for d in conditions.DATASETS if not embedded or d != "location30")


def overall(found: Mapping[str, Found], datasets: tuple[str, ...] = conditions.DATASETS) -> str:
    """The verdict over the deciding data sets; "" where one is missing or has too few seeds."""
    there = [found[name].verdict for name in datasets if name in found]
    whole = len(there) == len(datasets) and FEW not in there
    return decide.overall(there) if whole else ""


def number(text: str) -> float:
    return float("nan") if text == "n/a" else float(text)


def matching(rows: Rows, wanted: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The rows whose columns have the wanted values."""
    of, values = operator.itemgetter(*wanted), tuple(wanted.values())
    return (row for row in rows if of(row) == values)


def by_seed(rows: Rows, metric: str, attack: str = "", **where: str) -> BySeed:
    """seed -> the value of a metric at the last epoch, of the rows whose columns are as in `where`.

    Raises ValueError where a seed has two different values.
    """
    wanted = {"metric": metric, "attack": attack, **where}
    found: dict[int, tuple[int, float]] = {}
    for row in matching(rows, wanted):
        seed, epoch, value = int(row["seed"]), int(row["epoch"]), number(row["value"])
        if seed in found and found[seed][0] == epoch and found[seed][1] != value:
            raise ValueError(f"seed {seed} has {found[seed][1]} and {value} for {wanted}: name more columns.")
        found[seed] = max(found.get(seed, (-1, value)), (epoch, value))
    return {seed: value for seed, (_, value) in sorted(found.items())}


def less(a: BySeed, b: BySeed) -> list[float]:
    """a - b of the seeds that both have."""
    return [a[seed] - b[seed] for seed in a if seed in b]


def curves(rows: Rows, dataset: str, family: str, readout: str, **where: str) -> dict[int, dict[str, np.ndarray]]:
    """seed -> the snapshots in order: "epoch", the AUC of online LiRA as "auc", and each accuracy."""
    wanted = dict(zip(("dataset", "family", "readout"), run.key(dataset, family, readout), strict=True)) | where
    chosen: dict[int, dict[int, dict[str, float]]] = {}
    for row in matching(rows, wanted):
        name = row["metric"] if not row["attack"] else f"{row['attack']} {row['metric']}"
        chosen.setdefault(int(row["seed"]), {}).setdefault(int(row["epoch"]), {})[name] = number(row["value"])
    found = {}
    for seed, by_epoch in sorted(chosen.items()):
        epochs = sorted(by_epoch)
        names = by_epoch[epochs[-1]]  # the last has all, those on the way only what a curve needs
        nan = float("nan")
        found[seed] = {"epoch": np.array(epochs)} | {
            n: np.array([by_epoch[e].get(n, nan) for e in epochs]) for n in names
        }
        found[seed]["auc"] = found[seed]["lira auc"]
    return found


def at(a: dict[int, dict], b: dict[int, dict], how: str) -> list[float]:
    """AUC of a less that of b for each seed of both: at the last epoch ("last"), or where both first reach a value of
    `how`."""
    seeds = [seed for seed in a if seed in b]
    if how == "last":
        return [float(a[seed]["auc"][-1] - b[seed]["auc"][-1]) for seed in seeds]
    return [decide.matched(a[seed], b[seed], how) for seed in seeds]


def above(a: dict[int, dict], b: dict[int, dict], how: str) -> str:
    """In how many seeds a curve begins above the value that is matched: there the first snapshot stands for it."""
    if how == "last":
        return ""
    seeds = [seed for seed in a if seed in b]
    count = sum(decide.begins_above(a[seed], b[seed], how) for seed in seeds)
    return f"{count} of {len(seeds)} seeds begin above" if count else ""


def on_each(rows: Rows, effect_of: Callable[[str, list], Found | None]) -> dict[str, Found]:
    """The effects on those deciding data sets that have any, each from its own rows."""
    split: dict[str, list] = {dataset: [] for dataset in conditions.DATASETS}
    for row in rows:
        split.setdefault(row["dataset"], []).append(row)
    found = {dataset: effect_of(dataset, split[dataset]) for dataset in conditions.DATASETS}
    return {dataset: one for dataset, one in found.items() if one}


def more_private(rows: Rows, readout: str = LEAKY, how: str = "test_accuracy") -> dict[str, Found]:
    """b0: AUC(ANN) - AUC(SNN), both in float."""

    def of(dataset: str, rows: list) -> Found | None:
        ann, snn = (curves(rows, dataset, family, readout) for family in ("ann", "snn"))
        return judged(at(ann, snn, how), remark=above(ann, snn, how)) if ann and snn else None

    return on_each(rows, of)


def than_quantized(
    ann_rows: Rows, snn_rows: Rows, readout: str = LEAKY, how: str = "test_accuracy"
) -> dict[str, Found]:
    """b: AUC(ANN at b bits) - AUC(float SNN), against both widths of {8, 4}."""
    snn_rows = [row for row in snn_rows if row["family"] == "snn" and row["bits_weight"] == "32"]

    def of(dataset: str, rows: list) -> Found | None:
        snn = curves(snn_rows, dataset, "snn", readout)
        ann = {b: curves(rows, dataset, "ann", "", bits_weight=str(b)) for b in conditions.DECIDING}
        if not (snn and all(ann.values())):
            return None
        return against_all(
            [judged(at(curve, snn, how), remark=f"{b} bits", questions=len(ann)) for b, curve in ann.items()]
        )

    return on_each(ann_rows, of)


def width(rows: Rows, dataset: str, family: str, metric: str, attack: str, bits: int) -> BySeed:
    """Of weights and activations together, by training with quantization."""
    mode = {} if bits == 32 else {"mode": "qat"}
    return by_seed(
        rows, metric, attack, dataset=dataset, family=family, quantized="both", bits_weight=str(bits), **mode
    )


def quantization_helps(rows: Rows, family: str, bits: int) -> dict[str, Found]:
    """a: AUC(float) - AUC(b bits) of online LiRA."""

    def of(dataset: str, rows: list) -> Found | None:
        wide, narrow = (width(rows, dataset, family, "auc", "lira", b) for b in (32, bits))
        return judged(less(wide, narrow)) if wide and narrow else None

    return on_each(rows, of)


def little_loss(rows: Rows, family: str, bits: int) -> dict[str, Found]:
    """The second half of a: test accuracy(float) - test accuracy(b bits), which must stay below the margin."""
    opposite = {decide.HOLDS: decide.FAILS, decide.FAILS: decide.HOLDS}

    def of(dataset: str, rows: list) -> Found | None:
        wide, narrow = (width(rows, dataset, family, "test_accuracy", "", b) for b in (32, bits))
        if not (wide and narrow):
            return None
        found = judged(less(wide, narrow))
        return found._replace(verdict=opposite.get(found.verdict, found.verdict))

    return on_each(rows, of)


def best_width(rows: Rows, family: str) -> dict[str, Found]:
    """The parenthesis of a: the dominated volume of 8 and of 4 bits, each less that of every other width that ran."""

    def of(dataset: str, rows: list) -> Found | None:
        measures = (("test_accuracy", ""), ("auc", "lira"))
        found = {b: [width(rows, dataset, family, *measure, b) for measure in measures] for b in conditions.WIDTHS}
        volumes = {bits: dominated(*both, dataset) for bits, both in found.items() if all(both)}
        if not set(conditions.OF_LOCATION if dataset == "location30" else conditions.WIDTHS) <= set(volumes):
            return None
        pairs = [(b, other) for b in conditions.DECIDING for other in volumes if other not in conditions.DECIDING]
        named = {bits: f"{bits} bits" if bits < 32 else "float" for bits in volumes}
        return against_all([
            judged(less(volumes[a], volumes[b]), VOLUME, f"{named[a]} to {named[b]}", questions=len(pairs))
            for a, b in pairs
        ])  # fmt: skip

    return on_each(rows, of)


def dominated(accuracy: BySeed, auc: BySeed, dataset: str) -> BySeed:
    """seed -> the dominated volume."""
    chance = 1 / conditions.CLASSES[dataset]
    return {seed: decide.dominated_volume(accuracy[seed], auc[seed], chance) for seed in accuracy}


def volume(rows: Rows, dataset: str, name: str) -> BySeed:
    """seed -> the dominated volume of a surrogate."""
    of = {"dataset": dataset, "surrogate": name}
    return dominated(by_seed(rows, "test_accuracy", **of), by_seed(rows, "auc", "lira", **of), dataset)


def beats(values: Mapping[str, BySeed], name: str, margin: float) -> Found | None:
    """How far a surrogate is above each of the others; shown is the one it is the least above."""
    others = {n: v for n, v in values.items() if v and n != name}
    if not (values.get(name) and others):
        return None
    return against_all(
        [judged(less(values[name], v), margin, f"to {n}", questions=len(others)) for n, v in others.items()]
    )


def best_balance(rows: Rows, how: str = "controlled") -> dict[str, Found]:
    """c: the dominated volume of spike rate escape less that of each other of the paper's five."""

    def of(dataset: str, rows: list) -> Found | None:
        values = {name: volume(rows, dataset, name) for name in (ESCAPE[how], *conditions.FIVE)}
        return beats(values, ESCAPE[how], VOLUME)

    return on_each(rows, of)


def most_vulnerable(rows: Rows, how: str = "controlled") -> dict[str, Found]:
    """d: AUC(arctangent) less that of each other of the paper's five."""

    def of(dataset: str, rows: list) -> Found | None:
        names = (ESCAPE[how], *conditions.FIVE)
        values = {name: by_seed(rows, "auc", "lira", surrogate=name) for name in names}
        return beats(values, "arctan", decide.MARGIN)

    return on_each(rows, of)


def by_their_attack(rows: Rows) -> dict[str, Found]:
    """b0 under the released attack itself, the rows of as_released.csv with nothing replaced."""

    def of(dataset: str, rows: list) -> Found | None:
        auc = {
            family: {
                int(row["seed"]): float(row["auc"]) for row in matching(rows, {"family": family, "replaced": "none"})
            }
            for family in ("ann", "snn")
        }
        return judged(less(auc["ann"], auc["snn"])) if all(auc.values()) else None

    return on_each(rows, of)


def claims(tables: Mapping[str, Rows]) -> dict[tuple[str, str], dict[str, Found]]:
    """(claim, way) -> {data set: found}; claim a of each family and width. "as released" are the predecessor's learning
    rates, readout and surrogates, "and its attack" its attack as well."""
    t = {name: list(tables.get(name, ())) for name in run.TABLES}
    found = {}
    for family in ("snn", "ann"):
        for bits in conditions.DECIDING:
            for how, rows in (("as released", t["quantization_as_released"]), ("controlled", t["quantization"])):
                of = f"{family.upper()}, {bits} bits"
                found[f"a: {of} leak less", how] = quantization_helps(rows, family, bits)
                found[f"a: {of} lose little accuracy", how] = little_loss(rows, family, bits)
        found[f"a: {family.upper()}, 8 and 4 bits the best", "controlled"] = best_width(t["quantization"], family)
    released = t["quantization_as_released"]
    b, b0 = "b: float SNN leaks less than quantized ANN", "b0: SNN leaks less than ANN"
    found[b, "as released"] = than_quantized(released, released, LAST, "last")
    found[b, "controlled"] = than_quantized(t["curves_quantized"], t["curves"])
    found[b0, "as released"] = more_private(t["curves_as_released"], LAST, "last")
    found[b0, "as released, and its attack"] = by_their_attack(tables.get("as_released", ()))
    found[b0, "controlled"] = more_private(t["curves"])
    for how, rows in (("as released", t["surrogates_as_released"]), ("controlled", t["surrogates"])):
        found["c: spike rate escape has the best balance", how] = best_balance(rows, how)
        found["d: arctangent is the most vulnerable", how] = most_vulnerable(rows, how)
    return found
