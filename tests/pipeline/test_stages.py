"""What each stage depends on: another value there is another stage, another value elsewhere is the same one."""

import dataclasses

import numpy as np
import pytest

from jaxsnn_mia import attacks as library
from jaxsnn_mia.data import splits as pairs
from jaxsnn_mia.pipeline import attacks, attribute, data, inversion, metrics, signals, splits, train, trained


@pytest.fixture(scope="module")
def run(small_run):
    return trained.load(small_run, "breast_cancer-ann")


def changed(c, setting, value):
    section, field = setting.split(".")
    return dataclasses.replace(c, **{section: dataclasses.replace(getattr(c, section), **{field: value})})


def folders(run, c):
    """The folder of every stage of a variant with the settings `c`, on the data, models and signals of `run`."""
    workdir, folder, paths = run.paths["data"].parent, run.paths["train"].parent, run.paths
    return {
        "data": data.stage(c, workdir).path,
        "splits": splits.stage(c, workdir, paths["data"]).path,
        "train": train.stage(c, folder, paths).path,
        **{f"signals/{name}": stage.path for name, stage in signals.stages(c, folder, paths).items()},
        "attacks/lira": attacks.stage("lira", c, folder, paths).path,
        "inversion": inversion.stage("black", c, folder, paths).path,
        "attribute": attribute.stage("imputed", c, folder, paths).path,
        "metrics": metrics.stage("breast_cancer-ann", c, folder, paths).path,
    }


SIGNALS = {"signals/phi", "signals/logp", "signals/loss", "signals/correct"}


@pytest.mark.parametrize(
    ("setting", "value", "stages"),
    [
        ("data.population", 0.2, {"data"}),
        ("data.augment", "flip", {"train"}),
        ("splits.n_shadows", 16, {"splits"}),
        ("splits.seed", 1, {"data", "splits"}),
        ("splits.canaries", 8, {"data"}),  # of which the splits have another name
        ("splits.poison", 1, set()),  # refused without canaries
        ("model.beta", 0.5, {"train"}),
        ("quantization.bits", 4, {"train"}),
        ("train.lr", 0.1, {"train"}),
        ("signals.queries", 2, SIGNALS),
        ("signals.repeats", 2, SIGNALS),
        ("signals.repeats", 1, set()),
        ("signals.epoch", 2, {*SIGNALS, "inversion", "attribute"}),
        ("ensemble.group_size", 8, set()),
        ("report.title", "another", set()),
        ("inversion.steps", 5, {"inversion"}),
        ("attribute.bins", 5, {"attribute"}),
        ("metrics.level", 0.9, {"inversion", "attribute", "metrics"}),
    ],
)
def test_a_setting_changes_the_stages_that_depend_on_it(run, setting, value, stages):
    before, after = folders(run, run.config), folders(run, changed(run.config, setting, value))
    assert {stage for stage, folder in before.items() if after[stage] != folder} == stages


@pytest.mark.parametrize(("encoding", "asked", "repeats"), [("direct", 0, 1), ("rate", 0, 8), ("rate", 1, 1)])
def test_a_model_with_random_answers_is_asked_several_times(run, encoding, asked, repeats):
    c = changed(changed(run.config, "model.encoding", encoding), "signals.repeats", asked)
    assert signals.repeats(c) == repeats


def test_a_defence_changes_what_it_reaches(run):
    before, after = folders(run, run.config), folders(run, changed(run.config, "defence.temperature", 2.0))
    stages = {stage for stage, folder in before.items() if after[stage] != folder}
    assert stages == {"signals/phi", "signals/logp", "signals/loss", "attribute"}


@pytest.mark.parametrize("name", ["attack_p", "rmia"])
def test_an_attack_gets_the_population_where_it_asks_for_it(run, name):
    """The scores on disk are those of the attack on the signals on disk."""
    needs = library.ATTACKS[name].needs
    signal = needs[0]
    given = {signal: run.signal(signal), "keep": run.keep, f"{signal}_population": run.signal(signal, "population")}
    options = {"partner_s": pairs.partners(len(run.keep))} if "keep" in needs else {}
    want = library.ATTACKS[name].fn(*(given[need] for need in needs), valid_s=run.valid, **options)
    np.testing.assert_array_equal(attacks.scores(name, run.config, run.paths), want)


def test_a_combination_leaves_out_what_is_learned(run):
    names = ("loss", "lira", "shokri", "label_only_transfer", "combine")
    c = changed(run.config, "attacks.names", names)
    assert attacks.combined("combine", c) == ["loss", "lira"]
    assert attacks.combined("lira", c) == ["lira"]
