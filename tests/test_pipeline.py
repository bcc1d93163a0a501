"""The whole path on real data: run, rerun, damage, kill, resume, share."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxsnn_mia import checkpoint, config, pipeline, results, shadows, store

ROOT = Path(__file__).parents[1]
SMALL = {
    "splits": {"n_shadows": 8},
    "model": {"family": "ann", "hidden": (16,)},
    "train": {"epochs": 6, "batch_size": 32, "snapshot_epochs": (2,)},
    "ensemble": {"group_size": 4},
    "metrics": {"replicates_auc": 50, "replicates_tpr": 20},
    "sweep": {"dataset": ("breast_cancer",)},
}
OVERRIDES = [
    "--config.splits.n_shadows=8",
    "--config.model.hidden=(16,)",
    "--config.model.family=ann",
    "--config.train.epochs=6",
    "--config.train.batch_size=32",
    "--config.train.snapshot_epochs=(2,)",
    "--config.ensemble.group_size=4",
    "--config.metrics.replicates_auc=50",
    "--config.metrics.replicates_tpr=20",
    "--config.sweep.dataset=('breast_cancer',)",
    "--config.sweep.family=()",
]


def small(**changes):
    merged = {name: {**SMALL.get(name, {}), **changes.get(name, {})} for name in SMALL | changes}
    return config.from_dict(merged)


def scores(workdir: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path) for path in workdir.glob("*/attacks-*/*.npy")}


def assert_same_scores(a: Path, b: Path):
    assert scores(a).keys() == scores(b).keys() == set(config.Attacks().names)
    for name, array in scores(a).items():
        np.testing.assert_array_equal(array, scores(b)[name])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    pipeline.run(small(), workdir)
    return workdir


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
    rows = results.read(finished)
    assert {row["attack"] for row in rows} == {"", *config.Attacks().names}
    assert {"auc", "tpr@0.01", "tpr@0.001", "balanced_accuracy", "train_accuracy", "test_accuracy", "gap"} == {
        row["metric"] for row in rows
    }
    assert (finished / "results.csv").read_text().splitlines()[0] == ",".join(results.COLUMNS)
    for row in rows:
        if row["metric"] == "auc":
            assert 0.3 < row["low"] <= row["value"] <= row["high"] < 0.8
        if row["metric"] == "tpr@0.001":  # 8 targets of 240 non-members
            assert row["value"] is None


def test_the_report_is_one_file_with_everything_in_it(finished):
    html = (finished / "report.html").read_text()
    for needle in ("lira_offline", "n/a", "breast_cancer", "n_shadows", "false positive rate", "jaxlib"):
        assert needle in html
    assert "<script src" not in html
    assert "<link" not in html
    assert "url(http" not in html


def test_a_second_run_does_nothing_and_another_attack_reuses_the_signals(finished, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.npy")}
    monkeypatch.setattr(shadows, "make_ensemble", None)  # training or querying would fail
    monkeypatch.setattr(pipeline, "make_ensemble", None)
    pipeline.run(small(), finished)
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*.npy")}
    pipeline.run(small(attacks={"names": ("loss", "lira", "lira_offline", "rmia", "rmia_online")}), finished)
    assert len(scores(finished)) == 5
    (finished / "report.html").unlink()
    (finished / "results.csv").write_text("cut")
    (next(finished.glob("*/attacks-*/rmia_online.npy"))).unlink()
    pipeline.run(small(), finished)
    assert (finished / "report.html").exists()
    assert (finished / "results.csv").read_text().startswith("variant,")


def test_another_config_in_the_same_workdir_is_refused(finished):
    with pytest.raises(store.StoreError, match=r"train\.epochs is 6 there and 7 here"):
        pipeline.run(small(train={"epochs": 7, "batch_size": 32, "snapshot_epochs": ()}), finished)


def test_a_truncated_artefact_is_redone_and_said(finished, caplog):
    path = next(finished.glob("*/signals-*/phi/candidates-00001.npy"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    pipeline.run(small(), finished)
    assert path.read_bytes() == whole
    assert "phi/candidates-00001.npy is damaged or missing" in caplog.text


def test_a_full_disk_keeps_the_last_chunk_and_the_next_run_goes_on(finished, tmp_path, monkeypatch):
    save, saved = store.write_json, []

    def fills_up(path, value):
        if path.name == checkpoint.DIGESTS:
            saved.append(path)
            if len(saved) > 2:
                with store.disk_full(path):
                    raise OSError(errno.ENOSPC, "No space left on device")
        save(path, value)

    monkeypatch.setattr(store, "write_json", fills_up)
    with pytest.raises(store.StoreError, match="disk is full"):
        pipeline.run(small(), tmp_path)
    monkeypatch.undo()
    group = next(tmp_path.glob("*/train-*/group-00000"))
    assert checkpoint.latest(group) is not None
    pipeline.run(small(), tmp_path)
    assert_same_scores(tmp_path, finished)


def test_a_diverged_shadow_is_recorded_and_excluded_with_its_pair(tmp_path, monkeypatch, caplog):
    group_of = shadows.group_of

    def with_an_infinite_rate(works, plan, group, n_devices):
        batch, real = group_of(works, plan, group, n_devices)
        lr = np.where(batch.ids == 5, np.float32(np.inf), batch.hyper.lr)
        return batch._replace(hyper=batch.hyper._replace(lr=lr)), real

    monkeypatch.setattr(shadows, "group_of", with_an_infinite_rate)
    pipeline.run(small(), tmp_path)
    assert "1 of 8 shadows diverged and are excluded with their pairs: [5]" in caplog.text
    for name, array in scores(tmp_path).items():
        excluded = [5] if name == "loss" else [4, 5]
        assert np.isnan(array[excluded]).all()
        assert np.isfinite(np.delete(array, [4, 5], axis=0)).all()
    assert {row["n_shadows"] for row in results.read(tmp_path)} == {6}


def command(workdir: Path, *flags: str) -> list[str]:
    config_file = ROOT / "experiments/configs/quickstart.py"
    return [sys.executable, str(ROOT / "experiments/run.py"), f"--config={config_file}", f"--workdir={workdir}",
            *OVERRIDES, *flags]  # fmt: skip


def test_kill_9_in_training_then_resume_equals_uninterrupted(finished, tmp_path):
    environ = {**os.environ, "PJRT_NPROC": "4"}
    run = command(tmp_path, "--config.ensemble.chunk_seconds=1e-6")  # a checkpoint after every epoch
    process = subprocess.Popen(run, env=environ, stderr=subprocess.DEVNULL)
    group = "*/train-*/group-00001/epoch-000002/sha256.json"
    while not list(tmp_path.glob(group)):
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("*/train-*/manifest.json"))
    done = subprocess.run(run, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout
    assert_same_scores(tmp_path, finished)


@pytest.mark.long
def test_two_processes_that_share_the_groups_equal_one(finished, tmp_path):
    processes = [
        subprocess.Popen(
            command(tmp_path, "--distributed"),
            env={**os.environ, "PJRT_NPROC": "4", "JAX_PROCESS_ID": str(rank), "JAX_NUM_PROCESSES": "2"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in (0, 1)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    assert_same_scores(tmp_path, finished)


@pytest.mark.long
def test_online_lira_beats_the_loss_threshold_on_digits(tmp_path):
    """64 shadows of the quickstart: online LiRA well above the loss threshold, for both twins."""
    c = config.from_dict({"sweep": {"family": ("ann", "snn")}, "metrics": {"replicates_auc": 100}})
    pipeline.run(c, tmp_path)
    auc = {(r["family"], r["attack"]): r for r in results.read(tmp_path) if r["metric"] == "auc"}
    for family, lira, loss in (("ann", 0.65, 0.54), ("snn", 0.69, 0.56)):
        assert auc[family, "lira"]["value"] == pytest.approx(lira, abs=0.02)
        assert auc[family, "loss"]["value"] == pytest.approx(loss, abs=0.02)
        assert auc[family, "lira"]["low"] > auc[family, "loss"]["high"] + 0.05


@pytest.mark.long
@pytest.mark.real_data
def test_online_lira_on_location30(tmp_path):
    c = config.from_dict({"data": {"name": "location30"}, "metrics": {"replicates_auc": 100}})
    pipeline.run(c, tmp_path)
    auc = {r["attack"]: r["value"] for r in results.read(tmp_path) if r["metric"] == "auc"}
    assert auc["lira"] > 0.93
