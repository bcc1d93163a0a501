"""Main effects and two-way interactions of the ablation, by least squares for each seed, with intervals over seeds."""

from collections.abc import Iterable, Mapping

import numpy as np

from experiments.study import conditions, decide, effects, series

# the contrast of each column is the difference that its name says, the other factors at their mean
TERMS = ("spiking", "rate coding", "latency coding", "doubling T")
WITHIN = {  # in the spiking network alone
    "reset to zero, not by subtraction": ("reset", "zero"),
    "readout by leaky integrator, not last membrane": ("readout", effects.LEAKY),
}


def columns(family: str, encoding: str, steps: int) -> np.ndarray:
    """float [4]: SNN less ANN, rate less direct, latency less direct, the binary logarithm of T; each centred."""
    log_t = np.log2(conditions.STEPS)
    return np.array(
        [(family == "snn") - 0.5, (encoding == "rate") - 1 / 3, (encoding == "latency") - 1 / 3,
         np.log2(steps) - log_t.mean()]
    )  # fmt: skip


def design(cells: Iterable[tuple[str, str, int]]) -> tuple[np.ndarray, list[str]]:
    """float [K, 10] of cells (family, coding, T), and the names of its columns: 1, the terms, and their products. The
    product of the two codings is left out, since they exclude each other."""
    main = np.stack([columns(*cell) for cell in cells])
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4) if (i, j) != (1, 2)]
    products = [main[:, i] * main[:, j] for i, j in pairs]
    names = ["mean", *TERMS, *(f"{TERMS[i]} x {TERMS[j]}" for i, j in pairs)]
    return np.column_stack([np.ones(len(main)), main, *products]), names


def fitted(values: Mapping[tuple[str, str, int], float]) -> dict[str, float]:
    """The coefficients of one seed from its cells (family, coding, T), each once."""
    matrix, names = design(values)
    return dict(zip(names, np.linalg.lstsq(matrix, np.array(list(values.values())))[0].tolist(), strict=True))


def by_seed(rows: series.Rows, dataset: str, metric: str, attack: str) -> dict[int, dict[str, float]]:
    """seed -> the coefficients; a spiking network counts with its mean over resets and readouts."""
    cells: dict[int, dict[tuple[str, str, int], list[float]]] = {}
    within: dict[int, dict[str, dict[bool, list[float]]]] = {}  # seed -> name -> has the level? -> values
    for row in series.matching(rows, {"dataset": dataset, "metric": metric, "attack": attack}):
        if (row["encoding"], row["T"]) == ("latency", "1"):
            continue  # one step cannot tell early from late: what is left of the input is whether it is dark
        seed, family, value = int(row["seed"]), row["family"], series.number(row["value"])
        # an ANN sees the same input at every step of direct coding: one step stands for all
        steps = conditions.STEPS if (family, row["encoding"]) == ("ann", "direct") else (int(row["T"]),)
        for t in steps:
            cells.setdefault(seed, {}).setdefault((family, row["encoding"], t), []).append(value)
        if family == "snn":
            for name, (column, level) in WITHIN.items():
                sides = within.setdefault(seed, {}).setdefault(name, {True: [], False: []})
                sides[row[column] == level].append(value)
    coefficients = {}
    for seed, values in sorted(cells.items()):
        coefficients[seed] = fitted({cell: float(np.mean(v)) for cell, v in sorted(values.items())})
        for name, sides in within.get(seed, {}).items():
            if sides[True] and sides[False]:
                coefficients[seed][name] = float(np.mean(sides[True]) - np.mean(sides[False]))
    return coefficients


def estimated(rows: series.Rows, dataset: str, metric: str = "auc", attack: str = "lira") -> dict[str, decide.Effect]:
    """term -> its effect over seeds, with intervals of 95 %; empty where the data set has no rows."""
    coefficients = list(by_seed(rows, dataset, metric, attack).values())
    if not coefficients:
        return {}
    terms = [name for name in coefficients[0] if name != "mean"]
    return {name: decide.effect([of_seed[name] for of_seed in coefficients]) for name in terms}
