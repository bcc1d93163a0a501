"""The ablation: planted effects come out of the least squares, and intervals cover."""

import itertools

import numpy as np
import pytest

from experiments.study import ablation, conditions, decide
from tests.experiments.study import planted

WANTED = {"spiking": 0.03, "rate coding": -0.02, "latency coding": 0.01, "doubling T": 0.005,
          "spiking x rate coding": 0.02, "spiking x latency coding": -0.01, "spiking x doubling T": 0.004,
          "rate coding x doubling T": -0.003, "latency coding x doubling T": 0.002}  # fmt: skip


def test_planted_effects_come_out_of_the_least_squares():
    cells = list(itertools.product(("ann", "snn"), ("direct", "rate", "latency"), conditions.STEPS))
    values = {}
    for family, encoding, steps in cells:
        s, r, c = (family == "snn") - 0.5, (encoding == "rate") - 1 / 3, (encoding == "latency") - 1 / 3
        t = np.log2(steps) - np.log2(conditions.STEPS).mean()
        values[family, encoding, steps] = 0.6 + np.dot(
            list(WANTED.values()), (s, r, c, t, s * r, s * c, s * t, r * t, c * t)
        )
    found = ablation.fitted(values)
    assert list(found) == ["mean", *WANTED]
    np.testing.assert_allclose(list(found.values()), [0.6, *WANTED.values()], atol=1e-12)


def test_rows_of_the_ablation_become_cells():
    """An ANN has one cell for all steps of direct coding, a spiking network its mean over resets and readouts."""
    rows = list(planted.ablated())
    found = ablation.by_seed(rows, "digits", "auc", "lira")
    for seed, one in found.items():
        cells = {}
        for family, encoding, steps in itertools.product(
            ("ann", "snn"), ("direct", "rate", "latency"), conditions.STEPS
        ):
            if (encoding, steps) == ("latency", 1):
                continue  # one step tells nothing of when
            at = "1" if (family, encoding) == ("ann", "direct") else str(steps)
            cells[family, encoding, steps] = np.mean(
                [
                    float(r["value"])
                    for r in rows
                    if (r["family"], r["encoding"], r["T"], r["seed"]) == (family, encoding, at, str(seed))
                ]
            )
        for name, value in ablation.fitted(cells).items():
            assert one[name] == pytest.approx(value, abs=1e-12)
        assert [one[name] for name in ablation.WITHIN] == pytest.approx([0.05, 0.02])
    estimated = ablation.estimated(rows, "digits")
    assert list(estimated) == [*WANTED, *ablation.WITHIN]
    assert estimated["spiking"] == decide.effect([one["spiking"] for one in found.values()])
    assert ablation.estimated(rows, "iris") == {}


@pytest.mark.long
def test_intervals_of_the_ablation_cover():
    inside = []
    rng = np.random.default_rng(0)
    for _ in range(200):
        cells = list(itertools.product(("ann", "snn"), ("direct", "rate", "latency"), conditions.STEPS))
        matrix, names = ablation.design(cells)
        truth = rng.normal(0, 0.02, len(names))
        seeds = [
            ablation.fitted(dict(zip(cells, matrix @ truth + rng.normal(0, 0.01, 24), strict=True))) for _ in range(8)
        ]
        inside += [
            e.low <= value <= e.high
            for name, value in zip(names, truth, strict=True)
            for e in [decide.effect([one[name] for one in seeds])]
        ]
    assert 0.93 < np.mean(inside) < 0.97
