"""What a second look at the committed rows of the first study says; writes experiments/results/study/second_look.md.

    python -m experiments.study.second_look

Nothing is trained. Four questions that the first protocol left out: how b0 depends on the share of accuracy that is
matched; what few bits give beside a float model that was stopped early at the same accuracy; the TPR at 1 % FPR beside
the AUC; and what the data sets say together, as a random-effects mean with its interval and a prediction interval.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from experiments.study import conditions, decide, effects, sheet
from experiments.study.series import by_seed, curves

SHARES = (0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
NARROW = (8, 4, 2)
LEAKY = conditions.READOUTS[0]


class Together(NamedTuple):
    """A random-effects mean over data sets, its interval, and the prediction interval of one more data set."""

    mean: float
    low: float
    high: float
    predicted_low: float
    predicted_high: float


def together(means_k: Sequence[float], errors_k: Sequence[float], level: float = 0.95) -> Together:
    """Means of K data sets with standard errors, K at least 3.

    The variance between data sets is DerSimonian and Laird's; the interval is Hartung and Knapp's, with K - 1 degrees
    of freedom; the prediction interval is that of Higgins, Thompson and Spiegelhalter 2009 (JRSS A 172, 137-159), with
    K - 2.
    """
    y, v = np.asarray(means_k, np.float64), np.asarray(errors_k, np.float64) ** 2
    k, w = len(y), 1 / v
    fixed = (w * y).sum() / w.sum()
    excess = (w * (y - fixed) ** 2).sum() - (k - 1)
    between = max(excess / (w.sum() - (w**2).sum() / w.sum()), 0.0)
    w = 1 / (v + between)
    mean = (w * y).sum() / w.sum()
    error = np.sqrt((w * (y - mean) ** 2).sum() / (k - 1) / w.sum())
    away = stats.t.ppf((1 + level) / 2, k - 1) * error
    ahead = stats.t.ppf((1 + level) / 2, k - 2) * np.sqrt(between + error**2)
    return Together(*map(float, (mean, mean - away, mean + away, mean - ahead, mean + ahead)))


def b0_at(rows: list, dataset: str, share: float) -> list[float]:
    """AUC(ANN) - AUC(SNN) of each seed, where both first reach a share of the smaller of their best accuracies."""
    ann, snn = (curves(rows, dataset, family, LEAKY) for family in ("ann", "snn"))
    return [decide.matched(ann[seed], snn[seed], "test_accuracy", share) for seed in ann if seed in snn]


def beyond_stopping(float_rows: list, rows: list, dataset: str, family: str, bits: int) -> list[float]:
    """Of each seed: the AUC of the float model where its curve first has the accuracy of the model of few bits, less
    the AUC of that model. Seeds whose float model never gets there are left out."""
    curve_of = curves(float_rows, dataset, family, LEAKY)
    where = effects.width(dataset, family, bits)
    accuracy, auc = by_seed(rows, "test_accuracy", **where), by_seed(rows, "auc", "lira", **where)
    gains = {
        seed: decide.at_first(curve["test_accuracy"], curve["auc"], accuracy[seed]) - auc[seed]
        for seed, curve in curve_of.items()
        if seed in auc
    }
    return [gain for gain in gains.values() if np.isfinite(gain)]


def shown(values: Sequence[float]) -> str:
    """A mean with its 95 % t interval over seeds; "-" of fewer than two."""
    if len(values) < 2:
        return "-"
    e = decide.effect(values)
    return f"{e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *lines)]


def over_sets(by_dataset: dict[str, list[float]]) -> str:
    """`together` of the data sets with at least two seeds, in words."""
    known = {name: values for name, values in by_dataset.items() if len(values) > 1 and np.std(values) > 0}
    if len(known) < 3:
        return "-"
    errors = [np.std(values, ddof=1) / len(values) ** 0.5 for values in known.values()]
    t = together([float(np.mean(values)) for values in known.values()], errors)
    return f"{t.mean:+.3f} [{t.low:+.3f}, {t.high:+.3f}], prediction [{t.predicted_low:+.3f}, {t.predicted_high:+.3f}]"


def page() -> list[str]:
    """The lines of second_look.md."""
    float_rows, rows = (sheet.read(sheet.RESULTS / f"{name}.csv") for name in ("curves", "quantization"))
    sets = conditions.DATASETS
    lines = ["# A second look at the first study", "",
             "Made by `python -m experiments.study.second_look` from the committed rows. Means and 95 % t intervals "
             "over 8 seeds; AUC and TPR are of online LiRA with shrunk variances.", "",
             "## b0, AUC(ANN) - AUC(SNN), by the share of the best accuracy that is matched", ""]  # fmt: skip
    b0 = {share: {d: b0_at(float_rows, d, share) for d in sets} for share in SHARES}
    lines += table(
        ["share", *sets, "over sets"],
        [[f"{share:g}", *[shown(of[d]) for d in sets], over_sets(of)] for share, of in b0.items()],
    )
    lines += ["", "## What few bits give beside a float model stopped at the same accuracy: its AUC less theirs", ""]
    gains = []
    for family in ("ann", "snn"):
        for bits in NARROW:
            of = {d: beyond_stopping(float_rows, rows, d, family, bits) for d in sets}
            gains.append([f"{family.upper()}, {bits} bits", *[shown(of[d]) for d in sets], over_sets(of)])
    lines += table(["", *sets, "over sets"], gains)
    lines += ["", "## AUC and TPR at 1 % FPR at the last epoch, means over seeds", ""]
    both = []
    for family in ("ann", "snn"):
        for bits in (32, *NARROW):
            where = {d: effects.width(d, family, bits) for d in sets}
            values = [[by_seed(rows, m, "lira", **where[d]).values() for m in ("auc", "tpr@0.01")] for d in sets]
            cells = ["-" if not a else f"{np.mean(list(a)):.3f}, {np.mean(list(t)):.3f}" for a, t in values]
            both.append([f"{family.upper()}, {'float' if bits == 32 else f'{bits} bits'}", *cells])
    return [*lines, *table(["", *sets], both), ""]


if __name__ == "__main__":
    (sheet.RESULTS / "second_look.md").write_text("\n".join(page()))
