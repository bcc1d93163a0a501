"""The tables of the second study run, go on where they were stopped, and become a page."""

import os

import numpy as np
import pytest

from experiments.study import sheet
from experiments.study.second import design, effects, run, tables
from jaxsnn_mia import config
from jaxsnn_mia.config import sweep
from jaxsnn_mia.pipeline import run as pipeline_run
from jaxsnn_mia.pipeline.metrics import labels
from jaxsnn_mia.pipeline.run import data_and_splits
from jaxsnn_mia.report.tables import shown
from jaxsnn_mia.settings import as_dict
from jaxsnn_mia.store.files import digest, write_json
from jaxsnn_mia.store.workdir import write_config

SETS = ("iris", "wine", "breast_cancer")


def untrained_stages(c, folder, until):
    """Data and splits as they are, and a training stage that says what it cost."""
    made = {name: data_and_splits(variant, folder) for name, variant in sweep.variants(c).items()}
    write_config(folder, as_dict(c))
    for name in made:
        about = {"members": [name], "seconds": 1.0, "device": "none", "jax": "0"}
        write_json(folder / name / "train-0" / "manifest.json", about)
    return made


def drawn(name, c, paths):
    """A row of random numbers for a variant."""
    about = labels(c)
    rng = np.random.default_rng(int(digest(about), 16))
    row = {column: about.get(column, 12) for column in run.COLUMNS[1:]}
    row |= {column: float(rng.uniform(0.5, 0.9)) for column in (*run.ACCURACIES, *run.LEAKS, run.LOW)}
    return {column: shown(value) for column, value in row.items()}


def test_a_dry_run_counts_what_would_be_trained(tmp_path, capsys):
    run.main(
        [
            "frontiers",
            f"--workdir={tmp_path}",
            f"--results={tmp_path}",
            "--datasets=iris,wine",
            "--scale=smoke",
            "--dry_run",
        ]
    )
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["table", "runs"]
    trainings = 2 * 3 * 2 * 2  # sets x networks x seeds x rates; snapshots are free
    assert line.split()[1:5] == ["6", f"{trainings}", f"{trainings * 12:,}", f"{trainings * 12 * 3:,}"]
    assert not list(tmp_path.iterdir())


def smoke(tmp_path, table, datasets=SETS):
    run.main([table, "--scale=smoke", f"--workdir={tmp_path / 'work'}", f"--results={tmp_path}",
              f"--datasets={','.join(datasets)}"])  # fmt: skip
    return effects.rows_of(tmp_path, table)


@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=pytest.mark.long)])
def test_frontiers_become_points_and_a_page(tmp_path, monkeypatch, trained):
    if not trained:
        monkeypatch.setattr(run, "point", drawn)
        monkeypatch.setattr(pipeline_run, "run_stages", untrained_stages)
    rows = smoke(tmp_path, "frontiers")
    assert len(rows) == 3 * 3 * 2**3  # sets, networks, seeds x rates x snapshots
    for row in rows:
        assert 0 <= float(row["test_accuracy"]) <= 1
        assert 0 <= float(row["strongest auc"]) <= 1
    known = effects.sets(tmp_path)
    assert known["iris"] == (pytest.approx(1 / 3), pytest.approx(1 / 3, abs=0.01))
    of = effects.condition(rows, "strongest auc", dataset="wine", family="snn", readout="leaky_integrator")
    assert of.leak.shape == (2, 2, 2)
    one = next(row for row in rows if row["dataset"] == "wine" and row["readout"] == "leaky_integrator")
    assert (of.leak == effects.number(one["strongest auc"])).any()
    low = effects.condition(rows, "strongest tpr@0.01", dataset="wine", family="snn", readout="leaky_integrator")
    assert np.isnan(low.leak).all() == trained  # twelve shadows of 124 rows do not resolve it
    tables.main([f"--results={tmp_path}"])
    page = (tmp_path / "README.md").read_text()
    assert "Readout `leaky_integrator`, which decides." in page
    assert "| iris | exploratory |" in page
    for figure in ("b0.svg", "frontiers.svg"):
        assert (tmp_path / figure).stat().st_size > 1000
    before = {path.name: path.read_bytes() for path in tmp_path.glob("frontiers/*.csv")}
    monkeypatch.setattr(pipeline_run, "run_stages", None)  # a second call trains nothing
    smoke(tmp_path, "frontiers")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("frontiers/*.csv")} == before
    assert {row["table"] for row in sheet.read(tmp_path / "cost.csv")} == {"frontiers"}


def test_a_missing_point_is_no_condition(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "point", drawn)
    monkeypatch.setattr(pipeline_run, "run_stages", untrained_stages)
    rows = smoke(tmp_path, "frontiers", ("iris",))
    where = {"dataset": "iris", "family": "ann"}
    assert effects.condition(rows, "strongest auc", **where) is not None
    assert effects.condition(rows[1:], "strongest auc", **where) is None
    assert effects.condition(rows, "strongest auc", dataset="digits") is None


def test_the_settings_are_those_of_the_protocol():
    runs = list(design.frontiers(("credit_data",), "/data"))
    assert [run.name for run in runs] == [
        "credit_data-ann-leaky_integrator", "credit_data-snn-leaky_integrator", "credit_data-snn-membrane_last",
    ]  # fmt: skip
    settings = runs[1].settings
    assert settings["data"]["name"] == "npz:/data/tables/credit_data.npz"
    assert settings["sweep"] == {"seed": (0, 1, 2, 3), "lr": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
                                 "epoch": (1, 2, 3, 5, 8, 12, 18, 27, 0)}  # fmt: skip
    assert (settings["splits"]["n_shadows"], settings["train"]["epochs"]) == (32, 40)
    coded = [run for run in design.coding(("digits",), "") if run.settings["model"]["encoding"] == "rate"]
    assert len(coded) == 2 * 4
    assert {run.settings["signals"]["repeats"] for run in coded} == {32}
    widths = {run.settings["quantization"]["mode"]: run.settings["sweep"]["bits"] for run in design.bits(("iris",), "")}
    assert widths == {"qat": (8, 4, 3, 2), "ptq": (8, 4, 3, 2)}


def test_the_table_of_time_has_recordings_and_speakers_and_five_networks():
    runs = list(design.time(("fsdd", "fsdd_speakers"), ""))
    assert [run.network for run in runs] == 2 * ["recurrent", "gru", "lif", "adaptive", "synaptic"]
    for made in runs:
        c = config.from_dict(made.settings | {"sweep": {}})
        assert (c.splits.unit == "group") == (made.dataset == "fsdd_speakers")
        assert (c.data.name, c.model.time_steps) == ("fsdd:10", 10)
        assert (c.model.neuron == "adaptive") == (made.network == "adaptive")


@pytest.mark.long
@pytest.mark.real_data
def test_speech_becomes_rows_of_networks_and_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "point", drawn)
    monkeypatch.setattr(pipeline_run, "run_stages", untrained_stages)
    folder = os.environ["JAXSNN_MIA_DATA"]
    run.main(["time", "--scale=smoke", f"--workdir={tmp_path / 'work'}", f"--results={tmp_path}",
              f"--data_dir={folder}", "--datasets=fsdd_speakers,japanese_vowels"])  # fmt: skip
    rows = effects.rows_of(tmp_path, "time")
    assert {row["network"] for row in rows} == set(design.NETWORKS)
    assert len(rows) == 2 * 5 * 2**3  # sets, networks, seeds x rates x snapshots
    (section, *_) = tables.time_section(tmp_path)
    assert section.startswith("## Over time")
    assert sum("members are speakers" in line for line in tables.time_section(tmp_path)) == 4


def test_a_rate_that_is_not_resolved_is_said_and_decides_nothing(tmp_path, monkeypatch):
    def unresolved(name, c, paths):
        return {
            column: "n/a" if "strongest tpr" in column else value for column, value in drawn(name, c, paths).items()
        }

    monkeypatch.setattr(run, "point", unresolved)
    monkeypatch.setattr(pipeline_run, "run_stages", untrained_stages)
    rows = smoke(tmp_path, "frontiers", ("iris",))
    both = effects.b0(rows, effects.sets(tmp_path))["iris"]
    assert both is None or (both.tpr is None and both.verdict(0.95) == "cannot be told")
    tables.main([f"--results={tmp_path}"])
    assert "| iris | exploratory |" in (tmp_path / "README.md").read_text()
