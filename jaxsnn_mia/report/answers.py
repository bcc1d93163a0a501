"""What the page says first: how much each variant leaks, at which FPR, with which interval, and what changes it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxsnn_mia import metrics
from jaxsnn_mia.metrics import bootstrap, comparisons
from jaxsnn_mia.report import tables

PRIORS = (0.1, 0.001)  # of the sentences on risk: shares of members among those an attacker asks about
VERDICTS = {1: "leaks more", -1: "leaks less", 0: "cannot be told apart"}  # by the sign of a difference that stands


class Answer(NamedTuple):
    """The headline of one variant: a sentence, and the AUC with its interval."""

    variant: str
    sentence: str
    auc: float
    low: float
    high: float

    def percent(self, value: float) -> float:
        """The place of an AUC on a bar from .5 (guessing) to 1, in percent of the bar."""
        return round(float(np.clip(200 * (value - 0.5), 0, 100)), 2)


class Measured(NamedTuple):
    """What was measured of one variant.

    Attributes:
      rows: of results.csv.
      drawn: the bootstrap replicates [R] of each measure, by "ATTACK METRIC".
      pairs: how many pairs of models there are; they are the units of the bootstrap.
      splits: a hash; equal where the examples and the splits are the same, so that variants can be compared.
      draws: a hash; equal where the replicates are paired: the same targets and the same draws as well.
    """

    rows: Sequence[Mapping[str, Any]]
    drawn: Mapping[str, np.ndarray]
    pairs: int
    splits: str
    draws: str

    def row(self, attack: str, metric: str) -> Mapping[str, Any] | None:
        return next((row for row in self.rows if (row["attack"], row["metric"]) == (attack, metric)), None)

    @property
    def first_tpr(self) -> str:
        """The name of the TPR at the first of the false positive rates, such as "tpr@0.01"."""
        return next(row["metric"] for row in self.rows if row["metric"].startswith("tpr@"))


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


def answer(variant: str, measured: Measured) -> Answer:
    """The headline of one variant: the strongest attack, chosen on other models, and beside it `tables.headline`, which
    was fixed before any result. Where nothing was chosen, the latter alone."""
    names = tables.attack_names(measured.rows)
    fixed = tables.headline(names)
    strongest = measured.row("strongest", measured.first_tpr)
    first = "strongest" if strongest and strongest["value"] is not None else fixed
    auc, auc_of_fixed = measured.row(first, "auc"), measured.row(fixed, "auc")
    assert auc is not None
    assert auc_of_fixed is not None
    who = fixed if first == fixed else f"the strongest of {len(names)} attacks"
    parts = [tpr_in_words(measured, first, who)]
    if strongest and first != fixed:
        parts[0] += f" (chosen on other models: {strongest['chosen']})"
        parts.append(f"its AUC is {tables.with_interval(auc)}")
        if strongest["chosen"] != fixed:
            parts.append(f"{fixed} finds {found_in_words(measured, fixed)}")
    if strongest is None or strongest["chosen"] != fixed:
        parts.append(f"AUC of {fixed} {tables.with_interval(auc_of_fixed)}")
    sentence = "; ".join(parts) + "." + risk_in_words(measured, first)
    return Answer(variant, sentence, auc["value"], auc["low"], auc["high"])


def tpr_in_words(measured: Measured, attack: str, who: str) -> str:
    """The TPR at the first FPR with its interval, and whether guessing would give as much."""
    tpr, fpr = measured.row(attack, measured.first_tpr), float(measured.first_tpr.removeprefix("tpr@"))
    if tpr is None or tpr["value"] is None:
        return f"{100 * fpr:g} % false positives cannot be resolved with so few non-members"
    guessed = tpr["realised_fpr"] or fpr  # ties may leave no rate between 0 and what was asked for
    if tpr["low"] > guessed:
        than_guessing = f"{tpr['value'] / guessed:.1f} times what guessing finds"
    elif tpr["high"] < guessed:
        than_guessing = "fewer than guessing finds"
    else:
        than_guessing = "which cannot be told from guessing"
    found = found_in_words(measured, attack)
    return f"At {100 * fpr:g} % false positives, {who} finds {found} of the members, {than_guessing}"


def found_in_words(measured: Measured, attack: str) -> str:
    """The TPR at the first FPR in percent, with its interval."""
    tpr = measured.row(attack, measured.first_tpr)
    assert tpr is not None
    return f"{percent(tpr['value'])} [{percent(tpr['low'])}, {percent(tpr['high'])}]"


def risk_in_words(measured: Measured, attack: str) -> str:
    """How many of those accused at the first FPR are members, at each prior of `PRIORS`, and how many are found."""
    tpr = measured.row(attack, measured.first_tpr)
    if tpr is None or not tpr["value"]:
        return ""
    words, fpr = "", tpr["realised_fpr"] or float(measured.first_tpr.removeprefix("tpr@"))  # none seen is not none
    for prior in PRIORS:
        accused = 1000 * metrics.ppv(tpr["value"], fpr, prior)
        words += f" Where 1 in {1 / prior:,.0f} suspects is a member, {accused:.0f} of 1,000 accused are members."
    return f"{words} Of 1,000 members it finds {1000 * tpr['value']:.0f}."


def percent(share: float) -> str:
    return f"{100 * share:.2f} %" if share < 0.1 else f"{100 * share:.1f} %"


def differences(measured: Mapping[str, Measured], pairs: Sequence[tuple[str, str]], level: float) -> list[Difference]:
    """The difference of each (variant, reference) of `pairs` in the AUC and the first TPR of `tables.headline`, with
    intervals of that level. A pair without a common attack is left out. A verdict stands against all of them (Holm)."""
    unjudged = []
    for variant, reference in pairs:
        one, other = measured[variant], measured[reference]
        shared = [name for name in tables.attack_names(one.rows) if name in tables.attack_names(other.rows)]
        if not shared:
            continue
        attack = tables.headline(shared)
        auc = difference(one, other, attack, "auc", level)
        assert auc is not None
        tpr = difference(one, other, attack, one.first_tpr, level)
        accuracy = difference(one, other, "", "test_accuracy", level)
        unjudged.append(Difference(variant, reference, attack, one.draws == other.draws, auc, tpr, accuracy, ""))
    adjusted = comparisons.holm([apart.auc.p for apart in unjudged])
    judged = []
    for apart, p in zip(unjudged, adjusted, strict=True):
        sign = int(np.sign(apart.auc.difference)) if p < 1 - level else 0
        judged.append(apart._replace(verdict=VERDICTS[sign]))
    return judged


def difference(one: Measured, other: Measured, attack: str, metric: str, level: float) -> comparisons.Difference | None:
    """`one` less `other` in a metric of an attack; None where either lacks it. Replicates that were drawn alike are
    subtracted one by one, so that what both share cancels; others are drawn again, independently of each other."""
    row, row_of_other = one.row(attack, metric), other.row(attack, metric)
    if row is None or row_of_other is None or row["value"] is None or row_of_other["value"] is None:
        return None
    key = f"{attack} {metric}".strip()
    if key not in one.drawn or key not in other.drawn:
        return None
    drawn_r, drawn_of_other_r = one.drawn[key], other.drawn[key]
    if one.draws != other.draws:
        draws = max(len(drawn_r), len(drawn_of_other_r))
        rng = np.random.default_rng(0)
        drawn_r, drawn_of_other_r = rng.choice(drawn_r, draws), rng.choice(drawn_of_other_r, draws)
    value, apart_r = row["value"] - row_of_other["value"], drawn_r - drawn_of_other_r
    pairs = min(one.pairs, other.pairs)
    p = comparisons.by_deviation(value, apart_r, pairs)
    return comparisons.Difference(value, *bootstrap.interval(value, apart_r, pairs, level, least=-1.0), p)


def as_line(difference: Difference) -> dict[str, str]:
    """A line of the table of differences, ready to print."""
    return {
        "variant": difference.variant,
        "less": difference.reference,
        "by AUC": difference.verdict,
        "attack": difference.attack,
        "AUC": signed(difference.auc),
        "TPR": signed(difference.tpr),
        "test accuracy": signed(difference.accuracy),
        "paired": "yes" if difference.paired else "no",
    }


def signed(d: comparisons.Difference | None) -> str:
    """A difference and its interval, ready to print."""
    return "n/a" if d is None else f"{d.difference:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
