"""Kills, stops, damage, full disks, many processes: real ones, and the scores are those of an undisturbed run.

Over 300 lines: the tests share one finished run, and the tests of a file run in one process.
"""

import errno
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jaxsnn_mia.pipeline.run import run_pipeline
from jaxsnn_mia.runtime import spmd, stopping
from jaxsnn_mia.store import checkpoint
from jaxsnn_mia.store.files import StoreError, disk_full, write_json
from jaxsnn_mia.store.stage import Stage
from jaxsnn_mia.store.stage import run as run_stage
from jaxsnn_mia.store.workdir import lock
from jaxsnn_mia.training import claims as distributed
from jaxsnn_mia.training.claims import claimed, take
from tests.runs import assert_same_scores, command, small

pytestmark = pytest.mark.usefixtures("unpainted")
ENVIRON = {**os.environ, "PJRT_NPROC": "4"}
CHUNKS = {"chunk_seconds": 1e-6, "checkpoint_share": 0.0}  # a checkpoint after every epoch
EACH_EPOCH = tuple(f"--config.ensemble.{name}={value}" for name, value in CHUNKS.items())


@pytest.fixture
def finished(small_run):
    return small_run


@pytest.mark.long
def test_a_full_disk_keeps_the_last_chunk_and_the_next_run_goes_on(finished, tmp_path, monkeypatch):
    save, saved = write_json, []

    def fills_up(path, value):
        if path.name == checkpoint.DIGESTS:
            saved.append(path)
            if len(saved) > 2:
                with disk_full(path):
                    raise OSError(errno.ENOSPC, "No space left on device")
        save(path, value)

    monkeypatch.setattr(checkpoint, "write_json", fills_up)
    with pytest.raises(StoreError, match="disk is full"):
        run_pipeline(small(), tmp_path)
    monkeypatch.undo()
    group = next(tmp_path.glob("*/train-*/group-00000"))
    assert checkpoint.latest(group) is not None
    run_pipeline(small(), tmp_path)
    assert_same_scores(tmp_path, finished)


@pytest.mark.long
def test_a_stop_and_then_a_kill_in_training_change_no_bit(finished, tmp_path, caplog):
    stopped = start(tmp_path, *EACH_EPOCH)
    wait_until(lambda: list(tmp_path.glob("*/train-*/group-00000/epoch-000003/sha256.json")), stopped)
    stopped.send_signal(signal.SIGTERM)
    message = stopped.communicate()[1]
    assert stopped.returncode == stopping.REQUEUE
    check_stopped(tmp_path, stopped, message)
    killed = start(tmp_path, *EACH_EPOCH)
    wait_until(lambda: list(tmp_path.glob("*/train-*/group-00001/epoch-000002/sha256.json")), killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not list(tmp_path.glob("*/train-*/manifest.json"))
    with caplog.at_level("INFO", logger="absl"):
        run_pipeline(small(), tmp_path)
    assert_same_scores(tmp_path, finished)
    assert "group 1 of breast_cancer-ann goes on after epoch" in caplog.text


def check_stopped(workdir, process, message):
    """What a process that was asked to stop leaves and says."""
    assert "Traceback" not in message
    assert message.strip().endswith("Run the same command again to go on.")
    group = next(workdir.glob("*/train-*/group-00000"))
    assert checkpoint.latest(group) == max(checkpoint.epochs(group))  # the last chunk is whole
    assert not list(workdir.glob("*/train-*/*.claim"))
    last = log_of(workdir, process.pid)[-1]
    assert (last["event"], last["status"]) == ("end", "stopped")
    assert "Run the same command again" in last["message"]


@pytest.mark.long
def test_kill_9_in_training_then_resume_equals_uninterrupted(finished, tmp_path):
    run = command(tmp_path, *EACH_EPOCH)
    process = subprocess.Popen(run, env=ENVIRON, stderr=subprocess.DEVNULL)
    group = "*/train-*/group-00001/epoch-000002/sha256.json"
    while not list(tmp_path.glob(group)):
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("*/train-*/manifest.json"))
    done = subprocess.run(run, env=ENVIRON, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout
    assert_same_scores(tmp_path, finished)
    said = [line.split("\r")[-1].strip() for line in done.stderr.splitlines()]
    assert any(line.startswith("group 1 of breast_cancer-ann goes on after epoch") for line in said), said
    assert not any("orbax" in line.lower() for line in said)


def log_of(workdir, pid="*"):
    """The lines that the processes wrote, one after the other."""
    return [json.loads(line) for path in workdir.glob(f"log/*-{pid}.jsonl") for line in path.read_text().splitlines()]


def test_the_log_says_what_was_done(finished):
    lines = log_of(finished, os.getpid())
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    by_event = {event: [{k: v for k, v in line.items() if k not in ("time", "event")} for line in lines
                        if line["event"] == event] for event in ("plan", "group", "chunk", "stage", "end")}  # fmt: skip
    assert sum(map(len, by_event.values())) == len(lines)
    train = next(finished.glob("*/train-*"))
    variant, history = train.parent.name, np.load(train / "history.npz")
    assert by_event["plan"] == [{"variant": variant, "stage": train.name, "models": 8, "epochs": 6, "groups": 2}]
    assert by_event["group"] == [{"variant": variant, "group": g, "shadows": 4, "epoch": 0} for g in (0, 1)]
    for chunk in by_event["chunk"]:
        epoch, rows = chunk["epoch"], slice(4 * chunk["group"], 4 * chunk["group"] + 4)
        assert list(chunk) == ["variant", "group", "shadows", "epoch", "epochs", "loss", "accuracy", "seconds"]
        assert [chunk[name] for name in ("variant", "shadows", "epochs")] == [variant, 4, 6]
        for name in ("loss", "accuracy"):
            np.testing.assert_allclose(chunk[name], history[name][rows, epoch - 1].mean(), rtol=1e-6)
    for group in (0, 1):  # the snapshot ends a chunk
        assert {2, 6} <= {chunk["epoch"] for chunk in by_event["chunk"] if chunk["group"] == group}
    manifests = {path.parent: json.loads(path.read_text()) for path in finished.rglob("manifest.json")}
    names = ("seconds", "peak_host_bytes", "peak_device_bytes")
    kept = [
        {"variant": "" if folder.parent == finished else variant, "stage": folder.name, **{n: about[n] for n in names}}
        for folder, about in manifests.items()
    ]
    assert sorted(by_event["stage"], key=str) == sorted(kept, key=str)
    assert all(stage["peak_host_bytes"] > 1e8 and stage["seconds"] >= 0 for stage in kept)
    assert by_event["end"] == [{"status": "done", "message": ""}]


@pytest.mark.long
def test_two_processes_that_share_the_groups_equal_one(finished, tmp_path):
    processes = [
        subprocess.Popen(
            command(tmp_path, "--distributed"),
            env={**ENVIRON, "JAX_PROCESS_ID": str(rank), "JAX_NUM_PROCESSES": "2"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in (0, 1)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    assert_same_scores(tmp_path, finished)


def one_job(workdir, *flags):
    """Two processes of one job (jax.distributed) on loopback, two devices in each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environ = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    return [start(workdir, *flags, "--spmd", JAX_PROCESS_ID=str(rank), **environ) for rank in (0, 1)]


@pytest.mark.long
def test_one_job_that_is_stopped_goes_on(finished, tmp_path):
    processes = one_job(tmp_path, *EACH_EPOCH)
    wait_until(lambda: list(tmp_path.glob("*/train-*/group-00000/epoch-000003/sha256.json")), processes[0])
    processes[0].send_signal(signal.SIGTERM)
    messages = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [stopping.REQUEUE] * 2, messages
    assert not list(tmp_path.glob("*/train-*/manifest.json"))
    processes = one_job(tmp_path)
    messages = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], messages
    assert "goes on after epoch" in messages[0]
    assert_same_scores(tmp_path, finished)


@pytest.mark.long
def test_one_job_of_two_processes_equals_one(finished, tmp_path):
    processes = one_job(tmp_path)
    messages = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], messages
    both = 2 * min(len(os.sched_getaffinity(0)), 4)
    assert f"{both} cpu device(s) x width 1, 2 group(s) of 4 shadows" in messages[0]
    assert_same_scores(tmp_path, finished)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"JAX_NUM_PROCESSES": "2"}, "JAX_COORDINATOR_ADDRESS and JAX_PROCESS_ID too"),
        (
            {"JAX_COORDINATOR_ADDRESS": "localhost:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2"},
            r"JAX_PROCESS_ID must be in \[0, JAX_NUM_PROCESSES\), got 2 of 2",
        ),
    ],
)
def test_one_job_says_what_it_lacks(environ, message):
    with pytest.raises(ValueError, match=message):
        spmd.start(environ)


def test_one_job_without_a_cluster_names_the_variables(monkeypatch):
    def no_cluster():
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(spmd.jax.distributed, "initialize", no_cluster)
    with pytest.raises(ValueError, match=r"no cluster.*JAX_COORDINATOR_ADDRESS.*JAX_NUM_PROCESSES and JAX_PROCESS_ID"):
        spmd.start({})


@pytest.mark.long
def test_checkpoints_in_a_thread_equal_those_at_once(finished, tmp_path):
    run_pipeline(small(ensemble={"group_size": 4, "asynchronous": True, **CHUNKS}), tmp_path)
    assert_same_scores(tmp_path, finished)


def test_what_fails_in_the_thread_is_raised():
    def fails():
        raise StoreError("the disk is full")

    with checkpoint.Writer(asynchronous=True) as writer:
        writer.run(fails)
        with pytest.raises(StoreError, match="the disk is full"):
            writer.run(list)
        writer.run(list)
        writer.wait()


def start(workdir, *flags, **environ):
    return subprocess.Popen(
        command(workdir, *flags), env=ENVIRON | environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def wait_until(ready, process, seconds=120.0):
    """Until ready(); the process must still run then."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, "ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_keeps_the_chunk_in_hand_and_asks_to_be_run_again(number, finished, tmp_path):
    process = start(tmp_path, *EACH_EPOCH)
    wait_until(lambda: list(tmp_path.glob("*/train-*/group-00000/epoch-000003/sha256.json")), process)
    process.send_signal(number)
    message = process.communicate()[1]
    assert process.returncode == {signal.SIGTERM: 75, signal.SIGINT: 130}[number]
    check_stopped(tmp_path, process, message)
    run_pipeline(small(), tmp_path)
    assert_same_scores(tmp_path, finished)


DEAF = """
import hashlib, sys
from pathlib import Path
from jaxsnn_mia.runtime import stopping, tracking

stopping.listen()
if sys.argv[1] == "gently":
    stopping.gently()
with tracking.logged(Path(sys.argv[2])):
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000_000)  # a minute of compiled code, without the interpreter's lock
"""


@pytest.mark.parametrize("how", ["at once", "gently"])
def test_ctrl_c_is_answered_while_a_compiled_program_runs(how, tmp_path):
    """At once where nothing is worth keeping; else the first is acknowledged and the second ends the process."""
    run = [sys.executable, "-c", DEAF, how, str(tmp_path)]
    process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    if how == "gently":
        assert process.stderr.readline() == "\n"
        assert "a second Ctrl-C stops at once" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert time.monotonic() - start < 10
    assert message.strip().endswith("Run the same command again to go on.")
    assert "Traceback" not in message
    last = log_of(tmp_path, process.pid)[-1]
    assert (last["event"], last["status"]) == ("end", "stopped")


def test_a_stop_is_looked_at_between_stages(tmp_path, monkeypatch):
    monkeypatch.setattr(stopping, "asked", lambda: True)
    made = []
    with pytest.raises(stopping.Stopped):
        run_stage(Stage("metrics", tmp_path, {}), made.append)
    with pytest.raises(stopping.Stopped):
        spmd.check_stop()
    with pytest.raises(stopping.Stopped):
        run_pipeline(small(), tmp_path)
    assert not made
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.long
def test_twenty_kills_at_random_moments(finished, tmp_path):
    draw, run, kills = random.Random(0), command(tmp_path, *EACH_EPOCH), 0
    while kills < 20:
        process = subprocess.Popen(run, env=ENVIRON, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(draw.uniform(1.0, 4.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        for report in tmp_path.glob("report.html"):  # came to the end: take its last stages away
            report.unlink()
            for path in tmp_path.glob("*/*/manifest.json"):
                if draw.random() < 0.5:
                    path.unlink()
    run_pipeline(small(), tmp_path)
    assert_same_scores(tmp_path, finished)


@pytest.mark.long
def test_a_worker_joins_half_way_and_the_group_of_a_killed_one_is_finished(finished, tmp_path):
    """Three processes; the second is killed while it holds a group, the third comes later."""
    leader = start(tmp_path, *EACH_EPOCH, "--config.ensemble.group_size=2")
    held = "*/train-*/group-*.claim"
    wait_until(lambda: list(tmp_path.glob("*/train-*/plan.json")), leader)
    second = start(tmp_path, *EACH_EPOCH, "--config.ensemble.group_size=2", "--worker")
    wait_until(lambda: any(str(second.pid) in text(path) for path in tmp_path.glob(held)), second)
    second.kill()
    second.communicate()
    third = start(tmp_path, *EACH_EPOCH, "--config.ensemble.group_size=2", "--worker")
    for process in (leader, third):
        message = process.communicate(timeout=300)[1]
        assert process.returncode == 0, message
    assert len(list(tmp_path.glob("*/train-*/group-?????"))) == 4
    assert_same_scores(tmp_path, finished)


def text(path):
    try:
        return path.read_text()
    except OSError:
        return ""


def test_a_second_run_in_the_same_workdir_is_refused(tmp_path):
    with lock(tmp_path), pytest.raises(StoreError, match=r"is in use by process \d+\. Wait for it"):
        run_pipeline(small(), tmp_path)


def write_claim(path, host, pid, age):
    path.write_text(f"{host} {pid} token\n")
    os.utime(path, (time.time() - age,) * 2)


def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_claim_is_held_by_one_and_taken_over_when_dead(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(distributed.time, "monotonic", lambda: now[0])
    path = tmp_path / "group-00000.claim"
    claim = take(path)
    assert claim.held()
    assert take(path) is None  # this process lives
    here = path.read_text().split()[0]
    for elsewhere in ("elsewhere", "/".join([socket.gethostname(), "another boot", "pid:[1]"])):
        write_claim(path, elsewhere, 1, age=3600)  # a clock may be an hour wrong
        assert not claim.held()
        assert take(path) is None
        now[0] += 59
        assert take(path) is None  # it may beat in a moment
        os.utime(path)
        now[0] += 59
        assert take(path) is None  # its heart has beaten
        now[0] += 61
        assert take(path).held()
    write_claim(path, here, gone(), age=0)
    assert take(path).held()
    write_claim(path, here, f"{os.getpid()}:1", age=0)  # the number is another process's now
    assert take(path).held()
    write_claim(path, here, 10**20, age=0)
    assert take(path).held()
    write_claim(path, "elsewhere", 1, age=2 * 86400)
    assert take(path).held()
    path.write_text("")  # being written
    assert take(path) is None


def test_of_many_that_find_a_dead_claim_one_takes_it(tmp_path):
    path = tmp_path / "group-00000.claim"
    for _ in range(20):
        write_claim(path, "elsewhere", 1, age=2 * 86400)
        with ThreadPoolExecutor(8) as racers:
            won = list(racers.map(take, [path] * 8))
        assert sum(claim is not None for claim in won) == 1


def test_hearts_beat_while_claims_are_held_and_all_are_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "HEARTBEAT_SECONDS", 0.02)
    paths = [tmp_path / "a.claim", tmp_path / "b.claim"]
    with claimed(paths) as claims:
        os.utime(paths[1], (0, 0))
        time.sleep(0.2)
        assert time.time() - paths[1].stat().st_mtime < 10
        assert len(claims) == 2
        with claimed([tmp_path / "c.claim", paths[0]]) as others:
            assert others == []
        assert not (tmp_path / "c.claim").exists()
    assert not list(tmp_path.glob("*.claim"))


@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.long), "while"])
def test_a_group_that_was_taken_over_is_not_written_and_the_rest_goes_on(finished, tmp_path, monkeypatch, caplog, when):
    """A process that was held for dead wakes up before a save, or in one whose files the new holder removed. The new
    holder dies too, and the group is taken back."""
    save, robbed_of = checkpoint.save, []

    def robbed(group, epoch, *args, check, **options):
        def rob_and_check():
            if not robbed_of:
                write_claim(group.with_suffix(".claim"), "elsewhere", 1, age=0)
                robbed_of.append(group)
                if when == "while":
                    raise ValueError("Destination already exists")
            check()

        save(group, epoch, *args, check=rob_and_check, **options)

    monkeypatch.setattr(checkpoint, "save", robbed)
    monkeypatch.setattr(distributed, "STALE_SECONDS", 0.2)
    run_pipeline(small(ensemble={"group_size": 4, **CHUNKS}), tmp_path)
    assert "was taken over by another process" in caplog.text
    assert_same_scores(tmp_path, finished)
    assert not list(tmp_path.glob(f"*/train-*/*/{checkpoint.ASIDE}*"))


def test_twenty_flipped_bits_are_all_found(tmp_path):
    rng, tree = np.random.default_rng(0), {"kernel": np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)}
    for epoch in (1, 2):
        checkpoint.save(tmp_path, epoch, tree)
    files = sorted(file for file in checkpoint.step_path(tmp_path, 2).rglob("*") if file.stat().st_size)
    files = [file for file in files if file.is_file() and file.name != checkpoint.DIGESTS]
    for _ in range(20):
        file = files[rng.integers(len(files))]
        whole = file.read_bytes()
        flipped = bytearray(whole)
        flipped[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        file.write_bytes(flipped)
        assert checkpoint.latest(tmp_path) == 1
        file.write_bytes(whole)
    assert checkpoint.latest(tmp_path) == 2
