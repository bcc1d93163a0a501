"""Rows of simulated studies with known effects, of the protocol's size."""

import itertools

import numpy as np

from experiments.study import conditions, decide, effects, plan, sheet

EFFECT = 2 * decide.MARGIN
# standard deviations over seeds: of what both networks have in common, and of each; paired differences of the runs on
# record vary by .003 (digits) to .016 (iris)
COMMON, OWN = 0.02, 0.008
EMPTY = dict.fromkeys(sheet.COLUMNS, "") | {"lr": "0.003"}


def row(dataset, seed, value, attack="lira", metric="auc", **of):
    return EMPTY | {"dataset": dataset, "seed": str(seed), "epoch": "40", "attack": attack, "metric": metric,
                    "value": repr(float(value)), "bits_weight": "32", "bits_activation": "32",
                    "bits_state": "32", "quantized": "both"} | of  # fmt: skip


def accuracy(dataset, seed, value, metric="test_accuracy", **of):
    return row(dataset, seed, value, "", metric, **of)


def curve(rng, dataset, seed, family, readout, base, **of):
    """An AUC that rises with the accuracy by a slope of its own; `base` is that where the accuracy is .9."""
    for epoch, acc in zip(
        (1, 3, 8, 18, 40), np.array([0.5, 0.75, 0.88, 0.93, 0.95]) + rng.normal(0, 0.005), strict=True
    ):
        where = {"family": family, "readout": readout, "epoch": str(epoch), **of}
        yield row(dataset, seed, base + 0.3 * (acc - 0.9) + rng.normal(0, 0.002), **where)
        yield from (
            accuracy(dataset, seed, acc, metric, **where) for metric in ("test_accuracy", "train_accuracy", "gap")
        )


def study(rng, effect):
    """Rows of a study in which every claim is right by `effect` on every data set."""
    made = {name: [] for name in (*plan.TABLES, "as_released")}
    for dataset, seed in itertools.product(conditions.DATASETS, conditions.SEEDS):
        common = 0.65 + rng.normal(0, COMMON)

        def auc(less=0.0, common=common):
            return common - less + rng.normal(0, OWN)

        for name in ("curves", "curves_as_released"):
            made[name] += curve(rng, dataset, seed, "ann", "", auc())
            for readout in conditions.READOUTS:
                made[name] += curve(rng, dataset, seed, "snn", readout, auc(effect))
        for family, less in (("ann", 0.0), ("snn", effect)):
            value = repr(auc(less))
            own = {"dataset": dataset, "family": family, "replaced": "none", "seed": str(seed), "auc": value}
            made["as_released"].append(own)
        for bits in ("8", "4"):
            made["curves_quantized"] += curve(rng, dataset, seed, "ann", "", auc(), bits_weight=bits, mode="qat")
        for name in ("quantization", "quantization_as_released"):
            whole = name == "quantization" and dataset != "location30"
            for family, bits in itertools.product(("ann", "snn"), map(str, conditions.WIDTHS if whole else (32, 8, 4))):
                of = {"family": family, "bits_weight": bits, "readout": "membrane_last" if family == "snn" else "",
                      "mode": "qat" if bits != "32" else ""}  # fmt: skip
                less = (effect if bits in ("8", "4") else 0) + (2 * effect if family == "snn" else 0)
                made[name] += [
                    row(dataset, seed, auc(less), **of),
                    accuracy(dataset, seed, 0.98 + rng.normal(0, 0.003), **of),  # an AUC is then worth twice in volume
                ]
        for name in ("surrogates", "surrogates_as_released"):
            for surrogate in conditions.SURROGATES:
                of = {"family": "snn", "surrogate": surrogate}
                less = effect if "escape" in surrogate else -effect if surrogate == "arctan" else 0
                made[name] += [row(dataset, seed, auc(less), **of), accuracy(dataset, seed, 0.95, **of)]
    return made


def ablated(seeds=8):
    """Rows of noise as a run gives them, where a reset to zero adds .05 and the leaky integrator .02."""
    rng = np.random.default_rng(0)
    for seed, encoding, steps in itertools.product(range(seeds), ("direct", "rate", "latency"), conditions.STEPS):
        if encoding != "direct" or steps == 1:
            yield row("digits", seed, rng.normal(0.6, 0.02), family="ann", encoding=encoding, T=str(steps))
        base = rng.normal(0.65, 0.02)
        for reset, readout in itertools.product(("subtract", "zero"), conditions.READOUTS):
            value = base + 0.05 * ((reset == "zero") - 0.5) + 0.02 * ((readout == effects.LEAKY) - 0.5)
            of = {"family": "snn", "reset": reset, "readout": readout, "encoding": encoding, "T": str(steps)}
            yield row("digits", seed, value, **of)
