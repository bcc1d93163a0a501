"""What the page says first: how much each variant leaks, at which FPR, how sure that is, and what changes it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxsnn_mia.metrics import bootstrap, comparisons
from jaxsnn_mia.report import tables

TOLD = {1: "leaks more", -1: "leaks less", 0: "cannot be told apart"}


class Answer(NamedTuple):
    """Of one variant: what is said, and the AUC with its interval."""

    variant: str
    sentence: str
    auc: float
    low: float
    high: float

    def percent(self, value: float) -> float:
        """Where a value stands on a bar from .5 (guessing) to 1, in percent."""
        return round(float(np.clip(200 * (value - 0.5), 0, 100)), 2)


class Found(NamedTuple):
    """Of one variant: its rows and its replicates; the units of the bootstrap; what variants have in common that are
    compared (`splits`) and those whose replicates are paired (`alike`)."""

    rows: Sequence[Mapping[str, Any]]
    drawn: Mapping[str, np.ndarray]
    pairs: int
    splits: str
    alike: str

    def row(self, attack: str, metric: str) -> Mapping[str, Any] | None:
        return next((row for row in self.rows if (row["attack"], row["metric"]) == (attack, metric)), None)


class Difference(NamedTuple):
    """A variant less its reference: in the AUC of an attack, in its TPR at the first FPR (None where that is not
    resolved) and in accuracy. The verdict is on the AUC."""

    variant: str
    reference: str
    attack: str
    paired: bool
    auc: comparisons.Difference
    tpr: comparisons.Difference | None
    accuracy: comparisons.Difference | None
    verdict: str


def answer(variant: str, found: Found) -> Answer:
    """The headline of one variant: its `tables.headline` attack, fixed beforehand, and the strongest beside it."""
    names = tables.attack_names(found.rows)
    attack = tables.headline(names)
    auc = found.row(attack, "auc")
    assert auc is not None
    metric = next(row["metric"] for row in found.rows if row["metric"].startswith("tpr@"))
    tpr, fpr = found.row(attack, metric), float(metric[4:])
    rate, parts = f"{100 * fpr:g} %", []
    if tpr and tpr["value"] is not None:
        ends = f"{percent(tpr['value'])} [{percent(tpr['low'])}, {percent(tpr['high'])}]"
        parts.append(f"At {rate} false positives, {attack} finds {ends} of the members")
        guessed = tpr["realised_fpr"] or fpr  # ties may leave no rate between 0 and what was asked for
        if tpr["low"] > guessed:
            parts[-1] += f", {tpr['value'] / guessed:.1f} times what guessing finds"
        elif tpr["high"] < guessed:
            parts[-1] += ", fewer than guessing finds"
        else:
            parts[-1] += ", which cannot be told from guessing"
    else:
        parts.append(f"{rate} false positives cannot be resolved with so few non-members")
    parts.append(f"AUC of {attack} {tables.with_interval(dict(auc))}")
    strongest = found.row("strongest", metric)
    if strongest and strongest["value"] is not None and set(strongest["chosen"].split(", ")) != {attack}:
        parts.append(
            f"the strongest of {len(names)} attacks, chosen on other shadows ({strongest['chosen']}), finds "
            f"{percent(strongest['value'])}"
        )
    return Answer(variant, "; ".join(parts) + ".", auc["value"], auc["low"], auc["high"])


def percent(share: float) -> str:
    return f"{100 * share:.2f} %" if share < 0.1 else f"{100 * share:.1f} %"


def differences(found: Mapping[str, Found], pairs: Sequence[tuple[str, str]], level: float) -> list[Difference]:
    """Each (variant, reference) in the AUC and first TPR of `tables.headline`, with intervals from replicates that
    were drawn alike, or independently where the splits differ. Verdicts stand against all of them (Holm)."""
    every = []
    for variant, reference in pairs:
        one, other = found[variant], found[reference]
        shared = [name for name in tables.attack_names(one.rows) if name in tables.attack_names(other.rows)]
        if shared:
            attack = tables.headline(shared)
            first = next(row["metric"] for row in one.rows if row["metric"].startswith("tpr@"))
            auc = difference(one, other, attack, "auc", level)
            assert auc is not None
            tpr = difference(one, other, attack, first, level)
            accuracy = difference(one, other, "", "test_accuracy", level)
            every.append(Difference(variant, reference, attack, one.alike == other.alike, auc, tpr, accuracy, ""))
    adjusted = comparisons.holm([one.auc.p for one in every])
    signs = [int(np.sign(one.auc.difference)) if p < 1 - level else 0 for one, p in zip(every, adjusted, strict=True)]
    return [one._replace(verdict=TOLD[sign]) for one, sign in zip(every, signs, strict=True)]


def difference(one: Found, other: Found, attack: str, metric: str, level: float) -> comparisons.Difference | None:
    """None where either lacks the measure."""
    a, b, key = one.row(attack, metric), other.row(attack, metric), f"{attack} {metric}".strip()
    if not (a and b) or a["value"] is None or b["value"] is None or not (key in one.drawn and key in other.drawn):
        return None
    drawn_a, drawn_b = one.drawn[key], other.drawn[key]
    if one.alike != other.alike:  # of other examples or models: nothing that they share cancels
        draws = max(len(drawn_a), len(drawn_b))
        rng = np.random.default_rng(0)
        drawn_a, drawn_b = rng.choice(drawn_a, draws), rng.choice(drawn_b, draws)
    value, drawn_r = a["value"] - b["value"], drawn_a - drawn_b
    p = comparisons.by_deviation(value, drawn_r, min(one.pairs, other.pairs))
    return comparisons.Difference(value, *bootstrap.percentiles(drawn_r, level), p)


def signed(d: comparisons.Difference | None) -> str:
    """A difference and its interval, ready to print."""
    return "n/a" if d is None else f"{d.difference:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
