"""The waterfall: parts of confounders are paired over seeds, and add up to the whole."""

import csv

import numpy as np
import pytest
from scipy import stats

from experiments.study import released_attack as attack
from experiments.study import waterfall

RNG = np.random.default_rng(4)
SEEDS = 8
AUC = {
    (family, name): RNG.normal(0.6 if family == "ann" else 0.55, 0.05, SEEDS)
    for family in attack.FAMILIES
    for name in attack.REPLACED
}


def made(auc=AUC, dataset="iris"):
    return [
        {"dataset": dataset, "family": family, "replaced": name, "seed": str(seed), "auc": repr(float(value)),
         "train_accuracy": "0.75" if family == "ann" else "0.625", "test_accuracy": "0.5"}
        for (family, name), values in auc.items() for seed, value in enumerate(values)
    ]  # fmt: skip


def test_parts_are_paired_t_intervals_over_seeds():
    rows = made()
    order = np.random.default_rng(0).permutation(len(rows))  # the order of the file does not matter
    steps = dict(waterfall.waterfall([rows[i] for i in order], "iris", level=0.9))
    assert list(steps) == list(waterfall.LABELS)
    difference = {name: AUC["ann", name] - AUC["snn", name] for name in attack.REPLACED}
    for name, e in steps.items():
        if name == "interaction":
            sample, against = (
                difference["all"] - difference["none"],
                sum(difference[part] - difference["none"] for part in attack.PARTS),
            )
        elif name in ("none", "all"):
            sample, against = AUC["ann", name], AUC["snn", name]
        else:
            sample, against = difference[name], difference["none"]
        oracle = stats.ttest_rel(sample, against).confidence_interval(0.9)
        np.testing.assert_allclose(e, (np.mean(sample - against), *oracle, SEEDS), err_msg=name)


def test_known_parts_come_out():
    """Readout takes .04 of the difference away, rates .01; together .06: an interaction of -.01."""
    shift = dict.fromkeys(attack.REPLACED, 0.0) | {"readout": -0.04, "rates": -0.01, "all": -0.06}
    snn = RNG.normal(0.55, 0.05, SEEDS)
    auc = {("snn", name): snn for name in shift} | {("ann", name): snn + 0.05 + by for name, by in shift.items()}
    steps = waterfall.waterfall(made(auc), "iris")
    got = {step.name: step.effect.mean for step in steps}
    want = {"none": 0.05, "balance": 0, "rates": -0.01, "readout": -0.04, "overlap": 0, "attack": 0,
            "interaction": -0.01, "all": -0.01}  # fmt: skip
    np.testing.assert_allclose([got[name] for name in want], list(want.values()), atol=1e-12)
    bottoms, tops = waterfall.bars(steps)
    np.testing.assert_allclose(bottoms, [0, 0.05, 0.05, 0.04, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(tops, [0.05, 0.05, 0.04, 0, 0, 0, -0.01, -0.01], atol=1e-12)


def test_bars_lead_from_as_released_to_all_replaced():
    steps = waterfall.waterfall(made(), "iris")
    bottoms, tops = waterfall.bars(steps)
    np.testing.assert_allclose(tops[:-1][1:] - bottoms[1:-1], [step.effect.mean for step in steps[1:-1]])
    np.testing.assert_allclose(bottoms[1:-1], tops[:-2])
    np.testing.assert_allclose(tops[-2], tops[-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [r for r in rows if r["replaced"] != "readout"], r"readout: seeds \[\], but \[0, 1, "),
        (lambda rows: rows[1:], r"none: the ANN has seeds \[1, .* the SNN \[0, 1"),
        (lambda rows: [*rows, rows[0]], "seed 0 is there twice"),
        (lambda rows: [r for r in rows if r["seed"] == "0"], "K at least 2"),
    ],
)
def test_rows_that_do_not_pair_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        waterfall.waterfall(change(made()), "iris")


def test_figure_and_table(tmp_path, capsys):
    rows = made() + made({key: value[:3] for key, value in AUC.items()}, "wine")
    path = tmp_path / "as_released.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    waterfall.main([str(path), f"--out={tmp_path / 'a'}"])
    text = (tmp_path / "a/waterfall.md").read_text()
    assert text == capsys.readouterr().out
    lines = text.splitlines()
    assert len(lines) == 2 + 2 * len(waterfall.LABELS)
    assert len({line.count("|") for line in lines}) == 1
    e = waterfall.waterfall(rows, "wine")[3].effect
    ann, snn = (np.mean(AUC[family, "readout"][:3]) for family in attack.FAMILIES)
    cells = f"{e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}] | {ann:.3f}, {snn:.3f} | 0.750, 0.625 | 0.500, 0.500 | 3 |"
    assert f"| wine | readout alone | {cells}" in lines
    svg = (tmp_path / "a/waterfall.svg").read_text()
    assert all(label in svg for label in (*waterfall.LABELS.values(), "iris, 8 seeds", "wine, 3 seeds"))
    waterfall.main([str(path), f"--out={tmp_path / 'b'}"])
    assert (tmp_path / "b/waterfall.svg").read_text() == svg
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(SystemExit):
        waterfall.main([str(path), f"--out={tmp_path / 'a'}"])
    assert "has no rows" in capsys.readouterr().err
