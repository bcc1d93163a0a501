"""The study's rules of decision and its conditions."""

import csv
import sys

import numpy as np
import pytest
from scipy import stats

from jaxsnn_mia import config
from tests.runs import ROOT

sys.path.insert(0, str(ROOT / "experiments/study"))
import conditions
import decide
import run
import sheet

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


def test_the_dominated_volume_is_an_area():
    """Of a unit square on Monte Carlo points: accuracy from chance to 1, AUC from 1 down to .5."""
    accuracy, auc, chance = 0.8, 0.65, 0.3
    drawn = RNG.random((200_000, 2)) * [1 - chance, 0.5] + [chance, 0.5]
    share = ((drawn[:, 0] < accuracy) & (drawn[:, 1] > auc)).mean()
    assert decide.dominated_volume(accuracy, auc, chance) == pytest.approx(share, abs=0.005)
    assert decide.dominated_volume(1.0, 0.4, 0.1) == 1
    assert decide.dominated_volume(0.2, 0.6, 0.3) == 0


def test_every_condition_is_a_config_of_the_protocol():
    for dataset, family, readout in conditions.kinds(conditions.DATASETS):
        c = config.from_dict(conditions.curves(dataset, family, readout, 1e-3))
        assert len(config.variants(c)) == 8 * 9
        assert (c.splits.n_shadows, c.train.epochs, c.train.batch_size, c.model.time_steps) == (64, 40, 64, 10)
        searched = config.variants(config.from_dict(conditions.searched(dataset, family, readout)))
        assert {(one.splits.seed, one.splits.n_shadows) for one in searched.values()} == {(1000, 16)}
        assert {one.train.lr for one in searched.values()} == {3e-4, 1e-3, 3e-3, 1e-2}
    assert 1000 not in conditions.SEEDS


def rows_of(**values):
    return [
        {"dataset": "iris", "family": "snn", "readout": "membrane_last", "lr": lr, "metric": "validation_accuracy",
         "value": value}
        for lr, value in values.items()
    ]  # fmt: skip


def test_the_chosen_rate_is_the_best_and_the_smallest_of_equals(tmp_path):
    sheet.write(
        tmp_path / "rates.csv", rows_of(**{"0.0003": 0.7, "0.001": 0.9, "0.003": 0.9, "0.01": 0.8}), run.COLUMNS
    )
    assert run.Rates(tmp_path / "rates.csv")("iris", "snn", "membrane_last") == 0.001
    with pytest.raises(SystemExit, match="no rate was chosen for iris-ann"):
        list(run.curves(("iris",), tmp_path / "none"))


def test_every_table_is_made_of_valid_runs(tmp_path):
    """With what the searches would have chosen."""
    rates = [
        {"dataset": d, "family": f, "readout": r, "lr": 1e-3, "metric": "validation_accuracy", "value": 0.9}
        for d in conditions.DATASETS
        for f, r in (("ann", ""), *(("snn", readout) for readout in conditions.READOUTS))
    ]
    sheet.write(tmp_path / "rates.csv", rates, run.COLUMNS)
    found = [
        {"dataset": d, "family": "snn", "surrogate": name, "slope": slope, "lr": lr, "metric": "validation_accuracy",
         "value": 0.9 - abs(slope - 2) - abs(lr - 3e-3)}
        for d in conditions.SEARCHED_ON for name in conditions.SURROGATES
        for slope in (1.0, 2.0, 4.0) for lr in conditions.RATES
    ]  # fmt: skip
    sheet.write(tmp_path / "surrogates_search.csv", found, run.COLUMNS)
    assert run.chosen_settings(tmp_path / "surrogates_search.csv") == dict.fromkeys(conditions.SURROGATES, (2.0, 3e-3))
    count = {}
    for name, table in run.TABLES.items():
        made = list(table(("iris", "digits"), tmp_path))
        variants = [config.variants(config.from_dict(settings)) for _, settings in made]
        count[name] = (len(dict(made)), sum(map(len, variants)))
    assert count["curves"] == (6, 6 * (72 + 8))
    assert count["quantization"] == (8, 2 * 8 * (5 + 4) * (3 + 4))
    assert count["quantization_as_released"] == (4, 4 * 8 * 3)
    assert count["curves_quantized"] == (2, 2 * 2 * (72 + 8))
    assert count["surrogates_search"] == (16, 16 * 5 * 4)
    assert count["surrogates"] == count["surrogates_as_released"] == (16, 16 * 8)
    assert count["ablation"] == (4, 2 * 8 * 12 * (1 + 4))


@pytest.mark.long
def test_a_table_is_written_and_kept(tmp_path):
    for _ in range(2):
        run.main(["rates", f"--workdir={tmp_path / 'work'}", "--datasets=iris", f"--results={tmp_path}"])
        with (tmp_path / "rates.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert sum(row["metric"] == "validation_accuracy" for row in rows) == 3 * 4
    assert set(run.Rates(tmp_path / "rates.csv").best) == {
        ("iris", "ann", ""), ("iris", "snn", "leaky_integrator"), ("iris", "snn", "membrane_last"),
    }  # fmt: skip
