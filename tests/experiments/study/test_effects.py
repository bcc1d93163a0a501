"""The study's analysis on planted data: which effects are found, and which are not."""

import numpy as np
import pytest

from experiments.study import conditions, decide, effects
from tests.experiments.study import planted

DRAWS = 100


def verdicts(effect):
    """(claim, way) -> the overall verdicts, and those on each data set, of simulated studies."""
    found = {}
    for draw in range(DRAWS):
        for name, by_dataset in effects.claims(planted.study(np.random.default_rng([draw, 1]), effect)).items():
            overall, each = found.setdefault(name, ([], []))
            overall.append(effects.overall(by_dataset))
            each.append([one.verdict for one in by_dataset.values()])
    return found


@pytest.mark.long
def test_studies_with_an_effect_find_it_and_without_one_do_not():
    found, null = verdicts(planted.EFFECT), verdicts(0.0)
    assert len(found) == len(null) == 2 * (8 + 4) + 3
    for name, (overall, each) in found.items():
        assert len(overall) == DRAWS
        assert len(each[0]) == len(conditions.DATASETS)
        assert sum(one == decide.HOLDS for one in overall) >= 90, name
    for (claim, how), (overall, each) in null.items():
        share = np.mean([one == decide.HOLDS for draw in each for one in draw])
        if "little accuracy" in claim:
            assert share == 1, (claim, how)
        else:
            assert sum(one == decide.HOLDS for one in overall) <= 10, (claim, how)
            assert share <= 0.1, (claim, how)
            assert sum(one == decide.FAILS for one in overall) >= 90, (claim, how)


def test_an_effect_on_the_other_side_or_on_some_data_sets_does_not_hold():
    rng = np.random.default_rng(5)
    found = effects.claims(planted.study(rng, -planted.EFFECT))
    for (claim, _), by_dataset in found.items():
        if "little accuracy" not in claim:
            assert effects.overall(by_dataset) == decide.FAILS, claim
    made = planted.study(rng, planted.EFFECT)
    made["curves"] = [r for r in made["curves"] if r["dataset"] != "iris"]
    made["curves"] += [r for r in planted.study(rng, 0.0)["curves"] if r["dataset"] == "iris"]
    found = effects.more_private(made["curves"])
    assert {d: one.verdict for d, one in found.items()} == dict.fromkeys(conditions.DATASETS, decide.HOLDS) | {
        "iris": decide.FAILS
    }
    assert effects.overall(found) == decide.FAILS
    del found["iris"]
    assert effects.overall(found) == ""  # nothing is judged before all data sets are there


def test_a_loss_of_accuracy_is_judged_against_the_margin():
    def rows(loss):
        for seed in conditions.SEEDS:
            for bits, mode in (("32", ""), ("4", "qat")):
                value = 0.9 + 0.002 * seed - (loss if bits == "4" else 0) + (0.001 * (seed % 2) if mode else 0)
                yield planted.accuracy("iris", seed, value, family="ann", bits_weight=bits, mode=mode)

    assert effects.little_loss(rows(0.005), "ann", 4)["iris"].verdict == decide.HOLDS
    assert effects.little_loss(rows(0.04), "ann", 4)["iris"].verdict == decide.FAILS
    assert effects.little_loss(rows(0.02), "ann", 4)["iris"].verdict != decide.HOLDS


def test_widths_are_compared_with_that_which_leaks_least():
    made = planted.study(np.random.default_rng(3), planted.EFFECT)
    lower = [
        r | {"value": repr(float(r["value"]) - 0.1)} if r["bits_weight"] == "4" and r["metric"] == "auc" else r
        for r in made["curves_quantized"]
    ]
    found = effects.than_quantized(lower, made["curves"])
    assert {one.remark for one in found.values()} == {"4 bits"}
    assert {one.verdict for one in found.values()} == {decide.FAILS}
