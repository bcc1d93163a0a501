"""What a run says of itself: lines, scalars, peaks of memory, messages."""

import json
import logging
import struct
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jaxsnn_mia.runtime import resources, terminal, tracking
from jaxsnn_mia.store.files import write_array
from jaxsnn_mia.store.stage import MANIFEST, Stage
from jaxsnn_mia.store.stage import run as run_stage

CHUNK = {"variant": "v", "group": 1, "shadows": 4, "epoch": 3, "epochs": 6, "accuracy": 0.5, "seconds": 1.5}


def tell_both():
    tracking.tell("plan", variant="v", models=4, epochs=6, groups=1)
    tracking.tell("chunk", **CHUNK, loss=None)
    tracking.tell("stage", variant="", stage="data-0", seconds=2.0, peak_host_bytes=7, peak_device_bytes=None)


SENT = {
    ("v/group-00001/accuracy", 0.5),
    ("v/group-00001/seconds", 1.5),
    ("shared/data-0/seconds", 2.0),
    ("shared/data-0/peak_host_bytes", 7),
}


def test_a_failed_run_says_so_and_nothing_is_written_outside(tmp_path):
    def fail():
        with tracking.logged(tmp_path):
            tell_both()
            raise ValueError("no\nway")

    with pytest.raises(ValueError, match="no"):
        fail()
    tell_both()
    (path,) = (tmp_path / "log").iterdir()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["plan", "chunk", "stage", "end"]
    assert (lines[-1]["status"], lines[-1]["message"]) == ("failed", "no way")


def test_means_are_of_what_is_finite():
    assert tracking.mean(np.float32([1.0, np.nan, 2.0, np.inf])) == 1.5
    assert tracking.mean(np.float32([np.nan])) is None


def test_scalars_go_to_tensorboard(tmp_path, monkeypatch):
    calls, closed = [], []

    class SummaryWriter:
        def __init__(self, folder):
            assert folder.startswith(str(tmp_path))

        def add_scalar(self, tag, value, step):
            calls.append((tag, value, step))

        def flush(self):
            pass

        def close(self):
            closed.append(True)

    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=SummaryWriter))
    with tracking.tracked("tensorboard", tmp_path):
        tell_both()
    tell_both()
    assert {call[:2] for call in calls} == SENT
    assert {call[2] for call in calls if call[0].startswith("v/")} == {3}
    assert len(calls) == len(SENT)
    assert closed == [True]


def test_scalars_go_to_wandb(tmp_path, monkeypatch):
    sent, finished = [], []
    run = SimpleNamespace(log=lambda values: sent.extend(values.items()), finish=lambda: finished.append(True))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **about: run))
    with tracking.tracked("wandb", tmp_path):
        tell_both()
    assert set(sent) == SENT | {("v/group-00001/epoch", 3)}
    assert finished == [True]


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_extra_is_named(name, module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf"--track={name} .*pip install -e '\.\[track\]'"), \
            tracking.tracked(name, tmp_path):  # fmt: skip
        pass


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_itself_has_the_scalars(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    with tracking.tracked("tensorboard", tmp_path):
        tell_both()
    content, seen, at = next(tmp_path.rglob("events.*")).read_bytes(), set(), 0
    while at < len(content):  # length, its checksum, an event, its checksum
        (length,) = struct.unpack_from("<Q", content, at)
        for value in Event.FromString(content[at + 12 : at + 12 + length]).summary.value:
            seen.add((value.tag, value.simple_value))
        at += 16 + length
    assert seen == SENT


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_wandb_itself_takes_the_scalars_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with tracking.tracked("wandb", tmp_path):
        tell_both()
    (file,) = tmp_path.glob("log/wandb/offline-run-*/run-*.wandb")
    deadline = time.monotonic() + 20  # a process of its own writes it
    while b"v/group-00001/accuracy" not in file.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="begins anew for each stage on Linux alone")
def test_the_peak_of_a_stage_is_its_own(tmp_path):
    def large(path):
        write_array(path / "a.npy", np.ones(25_000_000)[:5])  # 200 MB

    def small(path):
        write_array(path / "a.npy", np.ones(5))

    first, large_one, last = (
        json.loads((run_stage(Stage("metrics", tmp_path, {"name": name}), work) / MANIFEST).read_text())[
            "peak_host_bytes"
        ]
        for name, work in (("a", small), ("b", large), ("c", small))
    )
    assert large_one - first > 150e6
    assert large_one - last > 150e6


def test_the_peak_of_devices_is_of_the_fullest(monkeypatch):
    def devices(*peaks):
        return lambda: [SimpleNamespace(memory_stats=lambda p=p: p) for p in peaks]

    monkeypatch.setattr("jax.local_devices", devices({"peak_bytes_in_use": 3}, {"peak_bytes_in_use": 5}, None))
    assert resources.device_peak() == 5
    monkeypatch.setattr("jax.local_devices", devices(None, {}))
    assert resources.device_peak() is None


def test_messages_are_plain_lines_and_those_of_others_are_warnings(capsys):
    handler, here = terminal.Terminal(), terminal.__file__
    for level, path, text in [
        (logging.INFO, here, "plan of a"),
        (logging.INFO, "/elsewhere/orbax/save.py", "saving"),
        (logging.WARNING, "/elsewhere/jax/core.py", "slow"),
    ]:
        handler.handle(logging.LogRecord("absl", level, path, 1, text, (), None))
    assert capsys.readouterr().err == "plan of a\nwarning: slow\n"
