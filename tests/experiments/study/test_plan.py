"""The runs of each table, with what the searches chose."""

import pytest

from experiments.study import conditions, plan, sheet
from jaxsnn_mia import config
from jaxsnn_mia.config import sweep


def rows_of(**values):
    return [
        {"dataset": "iris", "family": "snn", "readout": "membrane_last", "lr": lr, "metric": "validation_accuracy",
         "value": value}
        for lr, value in values.items()
    ]  # fmt: skip


def test_the_chosen_rate_is_the_best_and_the_smallest_of_equals(tmp_path):
    sheet.write(
        tmp_path / "rates.csv", rows_of(**{"0.0003": 0.7, "0.001": 0.9, "0.003": 0.9, "0.01": 0.8}), sheet.COLUMNS
    )
    assert plan.Rates(tmp_path / "rates.csv")("iris", "snn", "membrane_last") == 0.001
    with pytest.raises(SystemExit, match="no rate was chosen for iris-ann"):
        list(plan.curves(plan.Scope(("iris",), results=tmp_path / "none")))


@pytest.mark.long
def test_every_table_is_made_of_valid_runs(tmp_path):
    """With what the searches would have chosen."""
    rates = [
        {"dataset": d, "family": f, "readout": r, "lr": 1e-3, "metric": "validation_accuracy", "value": 0.9}
        for d in conditions.DATASETS
        for f, r in (("ann", ""), *(("snn", readout) for readout in conditions.READOUTS))
    ]
    sheet.write(tmp_path / "rates.csv", rates, sheet.COLUMNS)
    found = [
        {"dataset": d, "family": "snn", "surrogate": name, "slope": slope, "lr": lr, "metric": "validation_accuracy",
         "value": 0.9 - abs(slope - 2) - abs(lr - 3e-3)}
        for d in conditions.SEARCHED_ON for name in conditions.SURROGATES
        for slope in (1.0, 2.0, 4.0) for lr in conditions.RATES
    ]  # fmt: skip
    sheet.write(tmp_path / "surrogates_search.csv", found, sheet.COLUMNS)
    assert plan.chosen_settings(tmp_path / "surrogates_search.csv") == dict.fromkeys(conditions.SURROGATES, (2.0, 3e-3))
    count = {}  # table -> runs, and variants of those on digits
    for name, table in plan.TABLES.items():
        made = list(table(plan.Scope(("iris", "digits"), results=tmp_path)))
        variants = [sweep.variants(config.from_dict(settings)) for run, settings in made if run.startswith("digits-")]
        count[name] = (len(dict(made)), sum(map(len, variants)))
    assert count["curves"] == (6, 3 * (72 + 8))
    assert count["quantization"] == (8, 8 * (5 + 4) * (3 + 4))
    assert count["quantization_as_released"] == (4, 2 * 8 * 3)
    assert count["curves_quantized"] == (2, 2 * (72 + 8))
    assert count["surrogates_search"] == (16, 8 * 5 * 4)
    for name in ("surrogates", "surrogates_as_released", "surrogates_recurrent"):
        assert count[name] == (16, 8 * 8)
    assert count["baselines"] == (4, 2)
    assert count["ablation"] == (4, 8 * 12 * (1 + 4))
