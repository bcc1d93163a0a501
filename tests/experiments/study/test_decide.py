"""The rules of the protocol: intervals, verdicts, matched values, volumes, detectable effects."""

import numpy as np
import pytest
from scipy import stats

from experiments.study import decide

RNG = np.random.default_rng(0)


def test_an_effect_is_the_mean_with_its_t_interval():
    values = RNG.normal(0.03, 0.01, 8)
    found = decide.effect(values, level=0.9)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    np.testing.assert_allclose(found, (values.mean(), low, high, 8))
    assert decide.effect([0.5, 0.5]) == (0.5, 0.5, 0.5, 2)
    for bad in ([0.1], [0.1, np.nan], [[0.1, 0.2]]):
        with pytest.raises(ValueError, match="K at least 2"):
            decide.effect(bad)


@pytest.mark.parametrize(
    ("mean", "low", "high", "said"),
    [
        (0.05, 0.03, 0.07, decide.HOLDS),
        (0.03, 0.01, 0.05, decide.HOLDS),
        (0.02, 0.001, 0.04, decide.HOLDS),
        (0.03, -0.01, 0.07, decide.OPEN),  # may be nothing
        (0.015, 0.005, 0.025, decide.OPEN),  # may be too small to matter
        (0.01, 0.005, 0.015, decide.FAILS),  # there, and too small to matter
        (0.0, -0.01, 0.01, decide.FAILS),
        (-0.05, -0.07, -0.03, decide.FAILS),  # on the other side
        (-0.01, -0.05, 0.03, decide.OPEN),
    ],
)
def test_a_verdict_on_one_data_set(mean, low, high, said):
    assert decide.verdict(decide.Effect(mean, low, high, 8)) == said


def test_a_general_claim_holds_everywhere_or_is_refuted_somewhere():
    holds, fails, unclear = decide.HOLDS, decide.FAILS, decide.OPEN
    assert decide.overall([holds, holds]) == holds
    assert decide.overall([holds, unclear]) == unclear
    assert decide.overall([holds, unclear, fails]) == fails


def test_matched_values_are_where_a_curve_first_gets_there():
    accuracy, auc = [0.5, 0.7, 0.9, 0.8, 0.95], [0.50, 0.52, 0.60, 0.70, 0.80]
    assert decide.at_first(accuracy, auc, 0.8) == pytest.approx(0.56)  # on the way up, not when it falls back
    assert decide.at_first(accuracy, auc, 0.4) == 0.50
    assert decide.at_first(accuracy, auc, 0.9) == pytest.approx(0.60)
    assert np.isnan(decide.at_first(accuracy, auc, 0.96))
    ann = {"test_accuracy": [0.5, 0.8, 1.0], "auc": [0.5, 0.6, 0.7]}
    snn = {"test_accuracy": [0.5, 0.9], "auc": [0.5, 0.7]}
    at = 0.98 * 0.9
    assert decide.matched(ann, snn, "test_accuracy") == pytest.approx(
        0.6 + 0.1 * (at - 0.8) / 0.2 - (0.5 + 0.2 * (at - 0.5) / 0.4)
    )


def test_a_gap_that_never_opens_is_still_matched():
    ann, snn = {"gap": [-0.05, -0.01], "auc": [0.5, 0.6]}, {"gap": [-0.03, 0.02], "auc": [0.5, 0.7]}
    assert decide.matched(ann, snn, "gap") == pytest.approx(0.6 - (0.5 + 0.2 * 0.02 / 0.05))


def test_the_dominated_volume_is_an_area():
    """Of a unit square on Monte Carlo points: accuracy from chance to 1, AUC from 1 down to .5."""
    accuracy, auc, chance = 0.8, 0.65, 0.3
    drawn = RNG.random((200_000, 2)) * [1 - chance, 0.5] + [chance, 0.5]
    share = ((drawn[:, 0] < accuracy) & (drawn[:, 1] > auc)).mean()
    assert decide.dominated_volume(accuracy, auc, chance) == pytest.approx(share, abs=0.005)
    assert decide.dominated_volume(1.0, 0.4, 0.1) == 1
    assert decide.dominated_volume(0.2, 0.6, 0.3) == 0
