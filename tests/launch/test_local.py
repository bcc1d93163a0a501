"""launch/local.py: stand-ins that crash, obey and are refused; real processes, of which one is killed.

Over 300 lines: the tests share the stand-ins of processes.
"""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from jaxsnn_mia.runtime import progress
from launch import local
from tests.runs import ROOT, assert_same_scores, command

STAND_IN = """
import json, os, signal, socket, sys, time
from pathlib import Path
folder, rank, me = Path(sys.argv[1]), int(os.environ["JAX_PROCESS_ID"]), os.getpid()
with open(folder / f"pids-{rank}", "a") as file:
    file.write(f"{me}\\n")
def starts(rank):
    path = folder / f"pids-{rank}"
    return len(path.read_text().split()) if path.exists() else 0
def until(ready):
    while not ready(): time.sleep(0.01)
def obey(code=75, then=lambda: None):
    signal.signal(signal.SIGTERM, lambda *_: (then(), sys.exit(code)))
    (folder / f"ready-{rank}").touch()
    time.sleep(20)
def both_ready():
    return all((folder / f"ready-{rank}").exists() for rank in (0, 1))
"""
LAUNCHER = """
import json, sys
from pathlib import Path
from jaxsnn_mia.runtime import progress
from launch import local
local.POLL_SECONDS, progress.SHOW_SECONDS, local.GRACE_SECONDS = 0.02, 0.02, 0.5
folder, code, options = sys.argv[1:]
at = [local.Place({"JAX_PROCESS_ID": str(rank)}, []) for rank in (0, 1)]
sys.exit(local.launch([sys.executable, "-S", "-c", code, folder], Path(folder), at, **json.loads(options)))
"""


class Launched:
    """A launcher of two stand-ins."""

    def __init__(self, folder, code, stderr=subprocess.PIPE, **options):
        self.folder = folder
        folder.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(folder), STAND_IN + code, json.dumps(options)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True,
        )  # fmt: skip

    def ready(self):
        """Both obey by now."""
        wait_until(lambda: all((self.folder / f"ready-{rank}").exists() for rank in (0, 1)), self.process)
        return self

    def end(self):
        """(exit code, stdout, stderr); nothing that it started is left."""
        out, err = self.process.communicate(timeout=15)
        left = [pid for rank in (0, 1) for pid in self.pids(rank) if is_running(pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, err
        return self.process.returncode, out, err

    def pids(self, rank):
        return list(map(int, (self.folder / f"pids-{rank}").read_text().split()))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(ready, process, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_crashes_is_started_again_so_often(tmp_path):
    mended = Launched(tmp_path / "mended", """
print("a table" if rank == 0 else "of no interest")
if rank == 1 and starts(1) == 1: os.kill(me, signal.SIGKILL)
if rank == 1 and starts(1) == 2: sys.exit(75)
until(lambda: starts(1) == 3)
""")  # fmt: skip
    worker = Launched(tmp_path / "worker", """
print(f"start {starts(rank)}", file=sys.stderr, flush=True)
if rank == 1: sys.exit(3)
until(lambda: starts(1) == 2)
time.sleep(0.2)
""", restarts=1)  # fmt: skip
    leader = Launched(tmp_path / "leader", """
if rank == 1: obey(0, lambda: time.sleep(20))  # it does not: it is killed
until(lambda: (folder / "ready-1").exists())
os.kill(me, signal.SIGSEGV)
""", restarts=1)  # fmt: skip
    code, out, err = mended.end()
    assert (code, out) == (0, "a table\n"), err
    assert err.splitlines() == [
        "process 1 was killed by SIGKILL: started again (1 of 2).",
        "process 1 ended with exit code 75: started again (2 of 2).",
    ]
    code, out, err = worker.end()
    assert (code, out, len(worker.pids(0)), len(worker.pids(1))) == (0, "", 1, 2), err
    assert "process 1 ended with exit code 3: the others go on. The end of" in err
    assert err.endswith("process-1.err:\n    start 2\n")  # of the last start alone
    code, _, err = leader.end()
    assert (code, len(leader.pids(0)), len(leader.pids(1))) == (128 + signal.SIGSEGV, 2, 1), err
    assert "process 0 was killed by SIGSEGV: stopping all." in err


def test_what_is_refused_stops_all_at_once(tmp_path):
    code = f"""
refused = int(folder.name)
(folder / "log" / "elsewhere-1.jsonl").write_text({line("plan", stage="train-1", models=6, epochs=10, groups=2)!r})
if rank != refused: obey(75, lambda: (folder / "obeyed").touch())
until(lambda: (folder / f"ready-{{1 - refused}}").exists())
print("a warning\\nerror: `epochs` must be less.", file=sys.stderr)
sys.exit(2)
"""
    for run in [Launched(tmp_path / str(rank), code) for rank in (0, 1)]:
        assert run.end() == (2, "", "error: `epochs` must be less.\n")
        assert (run.folder / "obeyed").exists()
        assert [len(run.pids(rank)) for rank in (0, 1)] == [1, 1]


def test_signals_stop_all_and_nobody_is_left(tmp_path):
    obedient = "obey(75, lambda: (time.sleep(.1), (folder / f'kept-{rank}').touch()))"
    stubborn = "obey(0, lambda: (folder / f'deaf-{rank}').touch() or time.sleep(20))"
    by_hand, by_term = (Launched(tmp_path / name, obedient) for name in ("by_hand", "by_term"))
    twice, killed = (Launched(tmp_path / name, stubborn) for name in ("twice", "killed"))
    os.killpg(by_hand.ready().process.pid, signal.SIGINT)  # as a terminal does
    by_term.ready().process.send_signal(signal.SIGTERM)
    twice.ready().process.send_signal(signal.SIGINT)
    killed.ready().process.send_signal(signal.SIGKILL)
    for run, expected in ((by_hand, 130), (by_term, 75)):
        code, _, err = run.end()
        assert code == expected, err
        assert err.splitlines()[-1].endswith("Run the same command again to go on.")
        assert all((run.folder / f"kept-{rank}").exists() for rank in (0, 1))
        assert [len(run.pids(rank)) for rank in (0, 1)] == [1, 1]
    wait_until(lambda: len(list(twice.folder.glob("deaf-*"))) == 2, twice.process)
    assert twice.process.poll() is None  # it waits
    twice.process.send_signal(signal.SIGINT)
    assert twice.end()[0] == 130
    assert killed.end()[0] == -signal.SIGKILL


def test_an_error_of_the_launcher_leaves_nobody(tmp_path):
    code = LAUNCHER.replace("folder, code", """
def fails(*_):
    if len(list(Path(folder).glob("ready-*"))) == 2: raise RuntimeError("a bug")
progress.Logs.read = fails
folder, code""")  # fmt: skip
    (tmp_path / "pids-0").touch()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), STAND_IN + "obey()", "{}"], cwd=ROOT, capture_output=True, text=True
    )
    assert "RuntimeError: a bug" in done.stderr
    pids = [int(pid) for rank in (0, 1) for pid in (tmp_path / f"pids-{rank}").read_text().split()]
    assert len(pids) == 2
    assert not any(map(is_running, pids))


def line(event, variant="v", **about):
    return json.dumps({"time": 9e9, "event": event, "variant": variant, **about}) + "\n"


def chunk(group, shadows, epoch, **about):
    return line("chunk", group=group, shadows=shadows, epoch=epoch, epochs=10, loss=0.5, accuracy=None, **about)


def test_the_total_is_the_farthest_of_each_group_over_what_is_planned(tmp_path):
    logs = progress.Logs(tmp_path)
    one, other = tmp_path / "a-1.jsonl", tmp_path / "b-1.jsonl"
    plan = line("plan", stage="train-1", models=6, epochs=10, groups=2)
    one.write_text(plan + line("group", group=0, shadows=4, epoch=3) + chunk(1, 2, 5)[:-9])
    logs.read()
    assert logs.total() == (4 * 3, 60)
    with one.open("a") as file:  # the rest of the line; a kill in the middle of one, then another process
        file.write(chunk(1, 2, 5)[-9:] + '{"time": 1, "ev\n' + '{"event": "chunk"}\n' + chunk(0, 4, 10))
    logs.read()
    other.write_text(plan + chunk(0, 4, 7) + line("plan", "w", stage="train-2", models=2, epochs=10, groups=1))
    logs.read()
    assert logs.total() == (4 * 10 + 2 * 5, 60 + 20)
    assert logs.newest["a-1"]["text"] == "v, group 0: epoch 10 of 10, loss 0.5"
    assert logs.newest["b-1"]["text"] == "w: 2 models in 1 group(s)"
    other.write_text(other.read_text() + line("plan", "v", stage="train-3", models=4, epochs=10, groups=1))
    logs.read()
    assert logs.total() == (0, 40 + 20)  # another training of v


WRITES = f"""
def tell(text):
    with open(folder / "log" / f"{{socket.gethostname()}}-{{me}}.jsonl", "a") as file:
        file.write(text)
tell({line("plan", stage="train-1", models=6, epochs=10, groups=2)!r})
tell({chunk(0, 4, 10)!r} if rank else {chunk(1, 2, 5)!r})
time.sleep(.3)
tell({line("stage", stage="signals-1", seconds=1)!r})
"""


def test_progress_is_shown_in_lines_or_in_bars(tmp_path):
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    bars = Launched(tmp_path / "bars", WRITES, stderr=slave)
    os.close(slave)
    lines = Launched(tmp_path / "lines", WRITES, every=0.1)
    shown = ""
    with contextlib.suppress(OSError), open(master, "rb", buffering=0) as terminal:  # an error when nobody writes there
        while text := terminal.read(10_000):
            shown += text.decode(errors="replace")
    assert bars.end()[0] == 0
    assert "| 0: v, group 1: epoch 5 of 10, loss 0.5" in shown
    assert "| 1: v signals-1 is done" in shown
    assert "50/60 [" in shown
    code, _, err = lines.end()
    assert code == 0
    assert "process 0: v, group 1: epoch 5 of 10, loss 0.5\nprocess 1: v, group 0: epoch 10 of 10, loss 0.5\n" in err
    assert err.endswith(
        "process 0: v signals-1 is done\nprocess 1: v signals-1 is done\nall: 50 of 60 epochs of models (83%)\n"
    )


def test_a_child_is_not_told_by_what_an_earlier_process_of_its_number_wrote():
    child = local.Child(0, local.Place({}, []), Path(), since=100.0)
    with subprocess.Popen(["true"]) as child.process:
        name = f"{socket.gethostname()}-{child.process.pid}"
    assert child.name == (name, 100.0)
    logs = progress.Logs(Path())
    for when, told in ((99.0, "starting"), (101.0, "done")):
        logs.note({"event": "end", "status": "done", "time": when}, name)
        assert logs.last(child.name)["text"] == told


@pytest.fixture
def cores(monkeypatch):
    """This machine with eight cores and no GPU."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(local, "gpus", list)
    monkeypatch.delenv("PJRT_NPROC")


def test_each_process_has_its_cores_and_all_have_one_pool(cores, monkeypatch):
    assert [place.cores for place in local.places()] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    three = local.places(3)
    assert [place.cores for place in three] == [[0, 1], [2, 3, 4], [5, 6, 7]]
    assert three[2].environ == {"PJRT_NPROC": "4", "JAX_NUM_PROCESSES": "3", "JAX_PROCESS_ID": "2"}
    monkeypatch.setenv("PJRT_NPROC", "6")
    assert {place.environ["PJRT_NPROC"] for place in local.places()} == {"6"}
    with pytest.raises(ValueError, match=r"--processes must be in \[1, 8\], the cores here, got 9"):
        local.places(9)
    monkeypatch.setattr(local, "gpus", lambda: ["GPU-a", "GPU-b"])
    assert [(p.environ["CUDA_VISIBLE_DEVICES"], p.cores) for p in local.places()] == [("GPU-a", []), ("GPU-b", [])]
    assert len(local.places(1)) == 1
    with pytest.raises(ValueError, match=r"the GPUs here, got 3"):
        local.places(3)


def test_gpus_are_those_that_jax_can_use(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100 (UUID: GPU-1)'; echo 'GPU 1: NVIDIA H100 (UUID: GPU-2)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(local.importlib.util, "find_spec", lambda name: None)
    assert local.gpus() == []
    monkeypatch.setattr(local.importlib.util, "find_spec", lambda name: name == "jax_cuda12_plugin" or None)
    assert local.gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, GPU-7")
    assert local.gpus() == ["1", "GPU-7"]
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert local.gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert local.gpus() == []


def test_flags_behind_the_dashes_are_those_of_run(cores, monkeypatch, capsys):
    calls = []

    def launch(*args, **options):
        calls.append((args, options))
        return 7

    monkeypatch.setattr(local, "launch", launch)
    monkeypatch.setattr(os, "execv", lambda program, words: calls.append(words))
    flags = ["--config=c.py", "--workdir", "w", "--config.sweep.dataset=('iris',)"]
    assert local.main(["--processes=1", "--restarts=0", "--every=5", "--", *flags]) == 7
    (words, workdir, at), options = calls.pop()
    assert words == [sys.executable, str(ROOT / "experiments/run.py"), "--distributed", "--patience=86400", *flags]
    assert (workdir, len(at), options) == (Path("w"), 1, {"restarts": 0, "every": 5.0})
    local.main(["--", *flags, "--dry_run"])
    assert calls.pop(0) == [sys.executable, str(ROOT / "experiments/run.py"), *flags, "--dry_run"]
    calls.clear()
    assert local.main(["--processes=9", "--", *flags]) == local.main(["--", "--workdir=gs://b/w"]) == 2
    assert "must be in [1, 8], the cores here, got 9.\nerror: --workdir must be on a file" in capsys.readouterr().err
    assert calls == []


@pytest.mark.long
def test_two_processes_of_which_one_is_killed_equal_one(tmp_path):
    single, shared = tmp_path / "single", tmp_path / "shared"
    environ = {name: value for name, value in os.environ.items() if name != "PJRT_NPROC"}  # each to find its own
    subprocess.run(command(single, "--config.train.epochs=30"), env=environ, check=True, capture_output=True)
    each_epoch = ("--config.ensemble.chunk_seconds=1e-6", "--config.ensemble.checkpoint_share=0.0")
    flags = command(shared, "--config.train.epochs=30", "--config.ensemble.group_size=2", *each_epoch)[2:]
    words = [sys.executable, str(ROOT / "launch/local.py"), "--processes=2", "--every=1", "--", *flags]
    process = subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def trained_by(rank):
        """The process of this rank, once it has a checkpoint of a group that it holds."""
        for claim in shared.glob("*/train-*/group-*.claim"):
            try:
                pid = int(claim.read_text().split()[1])
                environ = Path(f"/proc/{pid}/environ").read_text().split("\0")
            except (OSError, IndexError):  # gone, or not yet written
                continue
            if f"JAX_PROCESS_ID={rank}" in environ and list(claim.with_suffix("").glob("epoch-*/sha256.json")):
                return pid
        return None

    wait_until(lambda: trained_by(1), process)
    os.kill(trained_by(1), signal.SIGKILL)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert "process 1 was killed by SIGKILL: started again (1 of 2)." in err
    assert "all: 240 of 240 epochs of models (100%)" in err
    assert out.rstrip().endswith("report.html")
    assert_same_scores(shared, single)
    plans = [json.loads(next(folder.glob("*/train-*/plan.json")).read_text()) for folder in (single, shared)]
    assert plans[0]["pool"] == plans[1]["pool"]
    assert "not_bitwise" not in plans[1]
    assert len(list((shared / "log").glob("*.jsonl"))) == 3
