"""The study's rules of decision and its conditions."""

import numpy as np
import pytest
from scipy import stats

from experiments.study import as_released, conditions, decide, run, sheet, tables
from jaxsnn_mia import config
from jaxsnn_mia.config import sweep
from jaxsnn_mia.pipeline import run as pipeline_run
from jaxsnn_mia.pipeline import train as pipeline_train
from jaxsnn_mia.pipeline.run import run_variant
from jaxsnn_mia.training.loop import train_all

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


def test_every_condition_is_a_config_of_the_protocol():
    for dataset, family, readout in conditions.kinds(conditions.DATASETS):
        c = config.from_dict(conditions.curves(dataset, family, readout, 1e-3))
        assert len(sweep.variants(c)) == 8 * 9
        assert (c.splits.n_shadows, c.train.epochs, c.train.batch_size, c.model.time_steps) == (64, 40, 64, 10)
        searched = sweep.variants(config.from_dict(conditions.searched(dataset, family, readout)))
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
        list(run.curves(run.Scope(("iris",), results=tmp_path / "none")))


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
        made = list(table(run.Scope(("iris", "digits"), results=tmp_path)))
        variants = [sweep.variants(config.from_dict(settings)) for _, settings in made]
        count[name] = (len(dict(made)), sum(map(len, variants)))
    assert count["curves"] == (6, 6 * (72 + 8))
    assert count["quantization"] == (8, 2 * 8 * (5 + 4) * (3 + 4))
    assert count["quantization_as_released"] == (4, 4 * 8 * 3)
    assert count["curves_quantized"] == (2, 2 * 2 * (72 + 8))
    assert count["surrogates_search"] == (16, 16 * 5 * 4)
    for name in ("surrogates", "surrogates_as_released", "surrogates_recurrent"):
        assert count[name] == (16, 16 * 8)
    assert count["baselines"] == (4, 4)
    assert count["ablation"] == (4, 2 * 8 * 12 * (1 + 4))


def smoke(tmp_path, table, *flags):
    run.main([table, "--scale=smoke", f"--workdir={tmp_path / 'work'}", f"--results={tmp_path}", *flags])
    return sheet.read(tmp_path / f"{table}.csv")


OWN = """
from jaxsnn_mia.kernels import surrogate

def gentle(alpha=0.5, **options):
    return surrogate.arctan(alpha, **options)
"""


def test_the_whole_study_runs_as_a_smoke(tmp_path, monkeypatch):
    """Every table on iris at settings that say nothing, tables and figures, and a surrogate of one's own."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own/own_of_study.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path / "own")
    smoke(tmp_path, "all", "--surrogates=arctan,own_of_study:gentle")
    assert {row["table"] for row in sheet.read(tmp_path / "cost.csv")} == set(run.TABLES)
    quantized = sheet.read(tmp_path / "quantization.csv")
    assert {(r["family"], r["mode"], r["bits_weight"]) for r in quantized} == {
        (family, mode, bits)
        for family in ("ann", "snn")
        for mode, bits in (("", "32"), ("qat", "16"), ("ptq", "16"), ("ptq", "8"))
    }
    curves = sheet.read(tmp_path / "curves.csv")
    ends = {r["attack"] for r in curves if r["epoch"] == "3"}
    assert {r["attack"] for r in curves if r["epoch"] == "1"} == {"", "lira"} < ends
    tables.write(tmp_path)
    text = (tmp_path / "README.md").read_text()
    for part in ("Verdicts", "Quantization", "Surrogates, recurrent", "Ablation", "Every attack"):
        assert f"## {part}" in text
    assert "**not judged**" in text  # on one data set of five
    assert "| own_of_study:gentle |" in text


def test_a_sweep_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    """A death between the variants of a sweep: the same rows as without, and no model is trained twice."""
    whole = smoke(tmp_path / "whole", "rates")
    one, seen = run_variant, []

    def dies(name, *rest):
        seen.append(name)
        if len(seen) == 2:  # in the second run
            raise RuntimeError("killed")
        return one(name, *rest)

    monkeypatch.setattr(pipeline_run, "run_variant", dies)
    with pytest.raises(RuntimeError, match="killed"):
        smoke(tmp_path, "rates")
    assert 0 < len(sheet.read(tmp_path / "rates.csv")) < len(whole)
    monkeypatch.setattr(pipeline_run, "run_variant", one)
    trained, train = [], train_all

    def counted(members, share):
        trained.extend(member.folder.parent.name for member in members)
        train(members, share)

    monkeypatch.setattr(pipeline_train, "train_all", counted)
    assert smoke(tmp_path, "rates") == whole
    assert len(trained) == 1  # that of the third run
    trained.clear()
    assert smoke(tmp_path, "rates") == whole
    assert not trained


@pytest.mark.long
def test_a_larger_smoke_on_two_data_sets(tmp_path):
    """Two data sets, the released protocol beside the tables, and the same rows again."""
    found = []
    for _ in range(2):
        smoke(tmp_path, "all", "--datasets=iris,wine")
        as_released.main([f"--workdir={tmp_path / 'released'}", f"--results={tmp_path}", "--datasets=iris,wine",
                          "--seeds=2", "--hidden=8"])  # fmt: skip
        found.append({path.name: path.read_bytes() for path in tmp_path.glob("*.csv")})
    assert found[0] == found[1]
    assert set(found[0]) == {f"{name}.csv" for name in (*run.TABLES, "as_released", "cost")}
    tables.write(tmp_path)
    assert "## As released, and each confounder" in (tmp_path / "README.md").read_text()
    assert {row["dataset"] for row in sheet.read(tmp_path / "curves.csv")} == {"iris", "wine"}


def test_the_full_scale_has_four_times_the_shadows_and_convolutions():
    settings = conditions.full(conditions.curves("cifar10_jpeg", "ann", "leaky_integrator", 1e-3))
    c = config.from_dict(settings)
    assert (c.splits.n_shadows, c.model.architecture) == (256, "convnet")
