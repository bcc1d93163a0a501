"""From nested mappings to settings."""

import runpy
from pathlib import Path

import pytest

from jaxsnn_mia import config
from jaxsnn_mia.config import parse, sweep
from jaxsnn_mia.config.sweep import FOLLOWING
from jaxsnn_mia.pipeline import splits
from jaxsnn_mia.settings import Config, as_dict
from jaxsnn_mia.store.workdir import check_config, write_config


def test_round_trip_and_float_precision():
    c = config.from_dict({"quantization": {"bits": None}})
    assert c.quantization.bits is None
    assert config.from_dict(as_dict(c)) == c


def test_lone_values_and_lists_become_tuples_and_whole_numbers_floats():
    c = config.from_dict({"model": {"hidden": 5, "beta": 1}, "metrics": {"fprs": [0.5, 0.25]}})
    assert (c.model.hidden, c.metrics.fprs) == ((5,), (0.5, 0.25))
    assert type(c.model.beta) is float


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": {"lr": True}}, r"`train\.lr` must be of type float, got True"),
        ({"metrics": {"fprs": ("a",)}}, r"`metrics\.fprs` must be of type float, got 'a'"),
        ({"report": {"name": ""}}, r'unknown setting "report\.name"; known: title, records\.'),
    ],
)
def test_values_of_another_type_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        config.from_dict(values)


def test_a_workdir_from_when_splits_had_a_scheme_is_read(tmp_path):
    old = as_dict(Config())
    old["splits"]["scheme"] = "pairs"
    assert config.from_dict(old) == Config()
    write_config(tmp_path, old)
    check_config(tmp_path, as_dict(Config()), FOLLOWING)
    assert splits.stage(Config(), tmp_path, tmp_path / "data-0").path.name == "splits-e6daf2a45477"
    with pytest.raises(ValueError, match=r'unknown setting "splits\.scheme"'):
        config.from_dict({"splits": {"scheme": "canaries"}})


def test_every_config_file_makes_a_checked_config():
    folder = Path(__file__).parents[2] / "experiments/configs"
    for path in folder.glob("*.py"):
        made = runpy.run_path(str(path))["get_config"]()
        assert sweep.variants(config.from_dict(made.to_dict())), path.name


def test_every_setting_is_listed_with_what_it_may_be():
    lines = {line.split()[0]: line for line in parse.as_text().splitlines()}
    assert set(lines) == {"setting", *parse.names()}
    assert lines["train.lr"].split()[1:] == ["0.001", "sweep.lr", "above", "0"]
    assert "subtract, zero, none" in lines["model.reset"]


def test_both_families_of_attacks_may_be_called_alike():
    c = config.from_dict({"attacks": {"names": ("lira_online", "lira_offline", "rmia_online", "rmia_offline", "lira")}})
    assert c.attacks.names == ("lira", "lira_offline", "rmia_online", "rmia")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--config.sweep.surrogate=arctan,fast_sigmoid", "--config.sweep.surrogate=('arctan', 'fast_sigmoid')"),
        ("--config.attacks.names=lira", "--config.attacks.names=('lira',)"),
        ("--config.sweep.bits=4,8", "--config.sweep.bits=4,8"),
        ("--config.sweep.family=('ann',)", "--config.sweep.family=('ann',)"),
        ("--config.sweep.family=()", "--config.sweep.family=()"),
        ("--config.report.title=a,b", "--config.report.title=a,b"),
        ("--workdir=a,b", "--workdir=a,b"),
        ("--config.quantization.bits=None", "--config.quantization.bits=32"),
        ("--config.quantization.bits_state=None", "--config.quantization.bits_state=32"),
        ("--config.report.title=None", "--config.report.title=None"),
    ],
)
def test_texts_may_be_listed_as_numbers_are(given, meant):
    assert parse.listed(given) == meant
