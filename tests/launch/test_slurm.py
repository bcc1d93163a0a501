"""launch/slurm.sbatch on the cluster that launch/test_slurm.sh makes: requeued, preempted, stopped and cancelled tasks.
The scores are those of one undisturbed process."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.runs import OVERRIDES, ROOT, command

CONF = Path(os.environ.get("SLURM_CONF", "/nowhere"))
MADE = shutil.which("sinfo") and CONF.exists() and "ClusterName=jaxsnn_mia\n" in CONF.read_text()
pytestmark = [pytest.mark.slurm, pytest.mark.skipif(not MADE, reason="needs the cluster of launch/test_slurm.sh")]

EACH_EPOCH = ("--config.ensemble.chunk_seconds=1e-6", "--config.ensemble.checkpoint_share=0.0")
QUICKSTART = f"--config={ROOT}/experiments/configs/quickstart.py"
SMALL = (QUICKSTART, *OVERRIDES, "--config.train.epochs=40")
LONG = (*SMALL, *EACH_EPOCH)  # the same scores, slowed by 40 checkpoints of each of two groups
ARRAY, ONE_JOB = ("--array=0-1", "--cpus-per-task=1"), ("--ntasks=2", "--cpus-per-task=1")


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def submit(workdir, options, flags):
    """The job's number; its output goes beside the workdir."""
    output = f"--output={workdir.parent}/%{'A_%a' if '--array' in options[0] else 'j'}.out"
    return run("sbatch", "--parsable", output, *options, "launch/slurm.sbatch", f"--workdir={workdir}", *flags)


def show(job):
    """What the controller says of a job or task."""
    words = run("scontrol", "--oneliner", "show", "job", job).split()
    return dict(word.split("=", 1) for word in words if "=" in word)


def wait_until(ready, workdir, seconds=150.0):
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline, f"{run('squeue')}\n{outputs(workdir)}"
        time.sleep(0.05)
    return found


def wait_for_end(job, workdir):
    wait_until(lambda: not run("squeue", "--noheader", f"--jobs={job}"), workdir)


def outputs(workdir):
    return "\n".join(
        f"{path.name}:\n{path.read_text(errors='replace')}" for path in sorted(workdir.parent.glob("*.out"))
    )


def training(workdir, rank):
    """The groups that the process of this rank holds and has a checkpoint of."""
    found = []
    for claim in workdir.glob("*/train-*/group-*.claim"):
        try:
            environ = Path("/proc", claim.read_text().split()[1], "environ").read_text().split("\0")
        except (OSError, IndexError):  # gone, or not yet written
            continue
        if f"JAX_PROCESS_ID={rank}" in environ and list(claim.with_suffix("").glob("epoch-*/sha256.json")):
            found.append(claim.with_suffix(""))
    return found


def single(workdir, *flags):
    """One process, undisturbed."""
    done = subprocess.run(command(workdir, *flags), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return workdir


def assert_same_scores(a, b, count):
    """Every score array of every variant."""
    one, other = ({str(path.relative_to(w)): np.load(path) for path in w.glob("*/attacks-*/*.npy")} for w in (a, b))
    assert one.keys() == other.keys()
    assert len(one) == count
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return single(tmp_path_factory.mktemp("finished") / "run", "--config.train.epochs=40")


@pytest.fixture
def workdir(tmp_path):
    return tmp_path / "run"


def test_the_quickstart_by_an_array_of_which_a_task_is_requeued_equals_one_process(workdir, tmp_path_factory):
    flags = (QUICKSTART, "--config.ensemble.group_size=16", "--config.ensemble.chunk_seconds=0.2")
    job = submit(workdir, ARRAY, flags)
    wait_until(lambda: training(workdir, rank=1), workdir)
    run("scontrol", "requeue", f"{job}_1")
    wait_for_end(job, workdir)
    assert [show(f"{job}_{task}")["JobState"] for task in (0, 1)] == ["COMPLETED"] * 2, outputs(workdir)
    assert [show(f"{job}_{task}")["Restarts"] for task in (0, 1)] == ["0", "1"]
    assert f"{job}_1 (restart 0): exit code 75" in outputs(workdir)
    assert f"{job}_1 (restart 1): exit code 0" in outputs(workdir)
    alone = tmp_path_factory.mktemp("alone") / "run"
    run("python", "experiments/run.py", QUICKSTART, f"--workdir={alone}")
    assert_same_scores(workdir, alone, count=4 * 4)


@pytest.mark.parametrize("options", [ARRAY, ONE_JOB], ids=["array", "one_job"])
def test_a_sigterm_before_the_time_limit_keeps_the_chunk_and_requeues(finished, workdir, options):
    job = submit(workdir, options, LONG)
    leader = f"{job}_0" if options is ARRAY else job
    group = wait_until(lambda: training(workdir, rank=0), workdir)[0]
    run("scancel", "--signal=TERM", "--batch", leader)
    wait_until(lambda: f"{leader} (restart 0): exit code 75" in outputs(workdir), workdir)
    assert not (group / "epoch-000040").exists()
    wait_for_end(job, workdir)
    assert show(leader)["JobState"] == "COMPLETED", outputs(workdir)
    assert show(leader)["Restarts"] == "1"
    assert f"{leader} (restart 1): exit code 0" in outputs(workdir)
    assert_same_scores(workdir, finished, count=4)


@pytest.mark.parametrize("options", [ARRAY, ONE_JOB], ids=["array", "one_job"])
def test_preempted_by_an_urgent_job_it_goes_on_after(finished, workdir, options):
    job = submit(workdir, options, LONG)
    tasks = [f"{job}_{task}" for task in (0, 1)] if options is ARRAY else [job]
    wait_until(lambda: all(training(workdir, rank) for rank in range(len(tasks))), workdir)
    urgent = run("sbatch", "--parsable", "--partition=urgent", "--cpus-per-task=4", "--output=/dev/null", "--wrap=true")
    wait_for_end(f"{job},{urgent}", workdir)
    for task in tasks:
        assert show(task)["JobState"] == "COMPLETED", outputs(workdir)
        assert show(task)["Restarts"] == "1", outputs(workdir)
        # Slurm stops srun as well, which may kill its tasks at once: they go on from the last checkpoint
        assert options is ONE_JOB or f"{task} (restart 0): exit code 75" in outputs(workdir)
    assert_same_scores(workdir, finished, count=4)


def test_a_cancelled_task_keeps_its_chunk_and_stays_cancelled_and_tasks_are_added(finished, workdir):
    job = submit(workdir, ARRAY, LONG)
    wait_until(lambda: training(workdir, rank=1), workdir)
    run("scancel", f"{job}_1")
    added = submit(workdir, ("--array=1", "--cpus-per-task=1"), LONG)
    wait_for_end(f"{job},{added}", workdir)
    assert f"{job}_1 (restart 0): exit code 75" in outputs(workdir)
    assert [show(task)["JobState"] for task in (f"{job}_0", f"{job}_1", f"{added}_1")] == [
        "COMPLETED", "CANCELLED", "COMPLETED",
    ]  # fmt: skip
    assert_same_scores(workdir, finished, count=4)


def test_a_refused_leader_cancels_the_tasks_that_wait_for_it(workdir):
    """Of two others one waits for its turn."""
    job = submit(
        workdir, ("--array=0-2%2", "--cpus-per-task=1"), (QUICKSTART, "--config.sweep.dataset=('npz:no.npz',)")
    )
    wait_for_end(job, workdir)
    leader, *others = (show(f"{job}_{task}") for task in range(3))
    assert (leader["JobState"], leader["ExitCode"]) == ("FAILED", "2:0")
    assert [other["JobState"] for other in others] == ["CANCELLED"] * 2, outputs(workdir)
