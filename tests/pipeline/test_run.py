"""The whole path on real data: run, rerun, damage."""

import csv
import json
import re
import shutil

import numpy as np
import pytest

from jaxsnn_mia import attacks, config
from jaxsnn_mia.pipeline import metrics as results
from jaxsnn_mia.pipeline import trained
from jaxsnn_mia.pipeline.run import run_pipeline
from jaxsnn_mia.report import tables
from jaxsnn_mia.report.rows import Audit, compute_metrics, epsilon_rows
from jaxsnn_mia.settings import Attacks, Metrics
from jaxsnn_mia.store import checkpoint
from jaxsnn_mia.store.files import StoreError
from jaxsnn_mia.training import loop as shadows
from tests.runs import scores, small

pytestmark = pytest.mark.usefixtures("unpainted")


@pytest.fixture(scope="module")
def finished(small_run, tmp_path_factory):
    return shutil.copytree(small_run, tmp_path_factory.mktemp("finished"), dirs_exist_ok=True)


def test_every_artefact_is_there(finished):
    (variant,) = finished.glob("breast_cancer-ann")
    (keep,) = finished.glob("splits-*/keep.npy")
    n = np.load(keep).shape[1]
    assert all(array.shape == (8, n) and array.dtype == np.float32 for array in scores(finished).values())
    for signal_name in ("phi", "logp", "loss", "correct"):
        assert len(list(variant.glob(f"signals-*/{signal_name}/candidates-*.npy"))) == 2
    lines = [json.loads(line) for line in (next(variant.glob("train-*")) / "shadows.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == list(range(8))
    assert {line["status"] for line in lines} == {"ok"}
    assert 2 in checkpoint.epochs(next(variant.glob("train-*/group-00000")))
    rows = tables.read(finished)
    assert {row["attack"] for row in rows} == {"", "strongest", *Attacks().names}
    at = [f"{of}@{fpr}" for fpr in ("0.01", "0.001") for of in ("tpr", "deployed_tpr")]
    at += [f"ppv@{fpr}@{prior}" for fpr in ("0.01", "0.001") for prior in ("0.5", "0.1", "0.01")]
    assert {row["metric"] for row in rows} == {
        "auc", "balanced_accuracy", "train_accuracy", "test_accuracy", "gap", *at
    }  # fmt: skip
    assert (finished / "results.csv").read_text().splitlines()[0] == ",".join(tables.COLUMNS)
    for row in rows:
        if row["metric"] == "auc" and row["attack"] == "strongest":
            assert set(row["chosen"].split(", ")) <= set(Attacks().names)
            assert 0.4 < row["value"] < 0.8
        elif row["metric"] == "auc":
            assert 0.3 < row["low"] <= row["value"] <= row["high"] < 0.8
        if row["metric"] == "tpr@0.001":  # 8 targets of 240 non-members
            assert row["value"] is None


def test_the_report_is_one_file_with_everything_in_it(finished):
    html = (finished / "report.html").read_text()
    for needle in ("lira_offline", "n/a", "breast_cancer", "n_shadows", "false positive rate", "jaxlib"):
        assert needle in html
    for needle in ("experiments/resolved.py:config.json", "training curves", "told from", "peak memory", "no. "):
        assert needle in html
    assert "<script src" not in html
    assert "url(http" not in html


def test_a_second_run_does_nothing_and_another_attack_reuses_the_signals(finished, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.npy")}
    monkeypatch.setattr(shadows, "make_ensemble", None)  # training or querying would fail
    monkeypatch.setattr(trained, "make_ensemble", None)
    run_pipeline(small(), finished)
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*.npy")}
    run_pipeline(small(attacks={"names": ("loss", "lira", "lira_offline", "rmia", "rmia_online")}), finished)
    assert len(scores(finished)) == 5
    (finished / "report.html").unlink()
    (finished / "results.csv").write_text("cut")
    (next(finished.glob("*/attacks-*/rmia_online.npy"))).unlink()
    run_pipeline(small(), finished)
    assert (finished / "report.html").exists()
    assert (finished / "results.csv").read_text().startswith("variant,")
    held = (finished / "report.html").read_text()
    assert "shows training examples themselves" in held
    assert re.search(r"[+-]\d\.\d sd", held)
    run_pipeline(small(report={"records": False}), finished)
    given_away = (finished / "report.html").read_text()
    assert "told from" in given_away
    assert "shows training examples themselves" not in given_away
    assert not re.search(r"[+-]\d\.\d sd", given_away)


def test_a_pass_for_signals_that_fails_in_between_is_not_finished_and_is_made_again(finished, tmp_path, monkeypatch):
    workdir = shutil.copytree(finished, tmp_path / "run")
    for folder in workdir.glob("*/signals-*"):
        shutil.rmtree(folder)
    whole = trained.Trained.ask

    def breaks(self, *args):
        yield next(whole(self, *args))
        raise RuntimeError("the device is gone")

    with monkeypatch.context() as patch:
        patch.setattr(trained.Trained, "ask", breaks)
        with pytest.raises(RuntimeError, match="the device is gone"):
            run_pipeline(small(), workdir)
    assert list(workdir.glob("*/signals-*/*/candidates-00000.npy"))
    assert not list(workdir.glob("*/signals-*/manifest.json"))
    run_pipeline(small(), workdir)
    assert len(list(workdir.glob("*/signals-*/manifest.json"))) == len(list(finished.glob("*/signals-*/manifest.json")))
    for path in finished.glob("*/signals-*/*/*.npy"):
        np.testing.assert_array_equal(np.load(workdir / path.relative_to(finished)), np.load(path))


def test_another_config_in_the_same_workdir_is_refused(finished):
    with pytest.raises(StoreError, match=r"train\.epochs is 6 there and 7 here"):
        run_pipeline(small(train={"epochs": 7, "batch_size": 32, "snapshot_epochs": ()}), finished)


def test_a_truncated_artefact_is_redone_and_said(finished, caplog):
    path = next(finished.glob("*/signals-*/phi/candidates-00001.npy"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    run_pipeline(small(), finished)
    assert path.read_bytes() == whole
    assert "phi/candidates-00001.npy is damaged or missing" in caplog.text


def test_a_diverged_shadow_is_recorded_and_excluded_with_its_pair(tmp_path, monkeypatch, caplog):
    group_of = shadows.group_of

    def with_an_infinite_rate(works, plan, group, n_devices):
        batch, real = group_of(works, plan, group, n_devices)
        lr = np.where(batch.ids == 5, np.float32(np.inf), batch.hyper.lr)
        return batch._replace(hyper=batch.hyper._replace(lr=lr)), real

    monkeypatch.setattr(shadows, "group_of", with_an_infinite_rate)
    run_pipeline(small(), tmp_path)
    assert "1 of 8 shadows diverged and are excluded with their pairs: [5]" in caplog.text
    for name, array in scores(tmp_path).items():
        excluded = [5] if name == "loss" else [4, 5]
        assert np.isnan(array[excluded]).all()
        assert np.isfinite(np.delete(array, [4, 5], axis=0)).all()
    assert {row["n_shadows"] for row in tables.read(tmp_path)} == {6}


@pytest.mark.long
def test_a_variant_that_diverged_whole_costs_no_report(tmp_path):
    """One learning rate of a sweep is absurd: the other has its rows, this one a row that says why."""
    sweep = {"dataset": ("iris",), "lr": (1e-3, 1e30)}
    c = small(sweep=sweep, splits={"n_shadows": 6}, train={"epochs": 2, "snapshot_epochs": ()})
    assert list(run_pipeline(c, tmp_path)) == ["iris-ann-lr0.001"]
    assert {row["variant"] for row in tables.read(tmp_path)} == {"iris-ann-lr0.001"}
    (reason,) = tables.left_out(tmp_path).values()
    assert reason.startswith("6 of 6 models diverged, and 0 are left whose partner did not")
    with (tmp_path / "results.csv").open() as file:
        (row,) = [row for row in csv.DictReader(file) if row["metric"] == "diverged"]
    assert (row["lr"], row["value"], row["chosen"]) == ("1e+30", "n/a", reason)
    assert f"iris-ann-lr1e+30 is left out: {reason}" in (tmp_path / "report.html").read_text()
    alone = small(sweep={**sweep, "lr": (1e30,)}, splits={"n_shadows": 6}, train={"epochs": 2, "snapshot_epochs": ()})
    with pytest.raises(ValueError, match=r"no variant can be attacked\. iris-ann-lr1e\+30: 6 of 6 models diverged"):
        run_pipeline(alone, tmp_path)


@pytest.mark.long
def test_online_lira_beats_the_loss_threshold_on_digits(tmp_path):
    """64 shadows of the quickstart: online LiRA well above the loss threshold, for both twins."""
    c = config.from_dict({"sweep": {"family": ("ann", "snn")}, "metrics": {"replicates_auc": 100}})
    run_pipeline(c, tmp_path)
    auc = {(r["family"], r["attack"]): r for r in tables.read(tmp_path) if r["metric"] == "auc"}
    for family, lira, loss in (("ann", 0.67, 0.54), ("snn", 0.71, 0.57)):
        assert auc[family, "lira"]["value"] == pytest.approx(lira, abs=0.02)
        assert auc[family, "loss"]["value"] == pytest.approx(loss, abs=0.02)
        assert auc[family, "lira"]["low"] > auc[family, "loss"]["high"] + 0.05


@pytest.mark.long
@pytest.mark.real_data
def test_online_lira_on_location30(tmp_path):
    c = config.from_dict({"data": {"name": "location30"}, "metrics": {"replicates_auc": 100}})
    run_pipeline(c, tmp_path)
    auc = {r["attack"]: r["value"] for r in tables.read(tmp_path) if r["metric"] == "auc"}
    assert auc["lira"] > 0.93


SOME = ("loss", "lira", "gap", "steps", "longer", "trajectory", "combine")


@pytest.mark.long
@pytest.mark.parametrize("names", [SOME, pytest.param(tuple(attacks.ATTACKS), marks=pytest.mark.long)])
def test_attacks_with_signals_of_their_own_run_from_the_config(tmp_path, names):
    c = small(
        model={"family": "snn", "time_steps": 3}, train={"snapshot_epochs": (2, 4)}, attacks={"names": names},
        splits={"n_shadows": 12}, ensemble={"group_size": 12},
    )  # fmt: skip
    run_pipeline(c, tmp_path)
    found = scores(tmp_path)
    assert found.keys() == set(names)
    assert all(np.isfinite(array).all() for array in found.values())
    (steps,) = tmp_path.glob("*/signals-*/phi_steps/candidates-00000.npy")
    (longer,) = tmp_path.glob("*/signals-*/phi_longer/candidates-00000.npy")
    (phi,) = tmp_path.glob("*/signals-*/phi/candidates-00000.npy")
    steps, longer, phi = map(np.load, (steps, longer, phi))
    assert (steps.shape[2], longer.shape[2]) == (3, 6)
    np.testing.assert_allclose(steps[:, :, -1], phi[:, :, 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(longer[:, :, :3], steps, rtol=1e-5, atol=1e-5)  # the first half is the same
    (trajectory,) = tmp_path.glob("*/signals-*/trajectory/candidates-00000.npy")
    (loss,) = tmp_path.glob("*/signals-*/loss/candidates-00000.npy")
    trajectory, loss = np.load(trajectory), np.load(loss)
    assert trajectory.shape[2] == 3
    np.testing.assert_array_equal(trajectory[:, :, -1], loss[:, :, 0])
    assert trajectory[:, :, 0].mean() > trajectory[:, :, -1].mean()  # losses fall


@pytest.mark.long
def test_fair_coins_give_a_lower_bound_of_epsilon_from_one_training(tmp_path):
    c = small(splits={"rows": "iid"}, attacks={"names": ("loss", "gap")}, train={"epochs": 2, "snapshot_epochs": ()})
    run_pipeline(c, tmp_path)
    bounds = {row["attack"]: row["value"] for row in tables.read(tmp_path) if row["metric"] == "epsilon_one_run@1e-05"}
    assert bounds.keys() == {"loss", "gap"}
    assert all(value == 0 for value in bounds.values())  # two epochs do not tell


def test_a_model_that_gives_everything_away_has_a_large_epsilon(tmp_path):
    rng = np.random.default_rng(0)
    keep = np.repeat(rng.random((4, 1000)) < 0.5, 2, axis=0) ^ (np.arange(8) % 2 == 1)[:, None]
    labels = results.labels(small())
    audit = Audit(
        name="planted", labels=labels, settings=Metrics(replicates_auc=20, replicates_tpr=20), keep_sn=keep,
        usable_s=np.ones(8, bool), pair_s=np.arange(8) // 2, unit_n=np.arange(1000), correct_sn=None, correct_test=None,
        scores={"all": keep + 0.0, "nothing": rng.normal(size=keep.shape)}, coins=True,
    )  # fmt: skip
    compute_metrics(tmp_path, audit)
    rows = json.loads((tmp_path / "summary.json").read_text())["rows"]
    bounds = {row["attack"]: row["value"] for row in rows if row["metric"] == "epsilon_one_run@1e-05"}
    assert bounds["all"] > 3  # 200 guesses, all of them right
    assert bounds["nothing"] == 0
    halved = audit._replace(unit_n=np.arange(1000) // 2)  # twins share a coin: one of each counts
    assert epsilon_rows(halved)[0]["value"] < bounds["all"]


@pytest.mark.long
def test_snapshots_of_several_seeds_share_their_trainings(tmp_path):
    c = small(sweep={"dataset": ("iris",), "seed": (3, 4), "epoch": (2, 0)}, data={"validation": 0.15})
    run_pipeline(c, tmp_path)
    assert len(list(tmp_path.glob("*/train-*/history.npz"))) == 2  # one for each seed
    with (tmp_path / "results.csv").open() as file:
        every = list(csv.DictReader(file))
    assert {(row["seed"], row["epoch"]) for row in every if row["seed"] == "3 4"} == {
        ("3 4", "2"),
        ("3 4", "6"),
    }  # means
    rows = [row for row in every if row["seed"] != "3 4"]
    assert {(row["seed"], row["epoch"]) for row in rows} == {("3", "2"), ("3", "6"), ("4", "2"), ("4", "6")}
    accuracy = {(row["seed"], row["epoch"]): row["value"] for row in rows if row["metric"] == "train_accuracy"}
    assert len(set(accuracy.values())) == 4
    assert sum(row["metric"] == "validation_accuracy" for row in rows) == 4
    for seed in (3, 4):
        history = np.load(next(tmp_path.glob(f"iris-ann-seed{seed}-epoch2/train-*/history.npz")))
        states = [float(accuracy[str(seed), epoch]) for epoch in ("2", "6")]
        assert history["accuracy"].shape == (8, 6)
        assert all(0 < value <= 1 for value in states)
    keeps = [np.load(path) for path in tmp_path.glob("splits-*/keep.npy")]
    assert len(keeps) == 2
    assert not np.array_equal(*keeps)


def test_an_epoch_that_was_not_kept():
    with pytest.raises(ValueError, match=r"`signals\.epoch` must be one of \(0, 2\)"):
        small(signals={"epoch": 3})
