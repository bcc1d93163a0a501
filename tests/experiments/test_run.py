"""A bad command line is one line and exit code 2, never a traceback."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jaxsnn_mia.runtime import spmd
from jaxsnn_mia.store.stage import STAGES

ROOT = Path(__file__).parents[2]
CONFIG = f"--config={ROOT / 'experiments/configs/quickstart.py'}"
WORKDIR = "--workdir=/nonexistent/never/made"
BAD = {
    "a typo in a flag": (["--confg=x"], "did you mean"),
    "no config": ([WORKDIR], "--config=FILE"),
    "no such config file": (["--config=none.py", WORKDIR], "none.py"),
    "a typo in a setting": ([CONFIG, WORKDIR, "--config.quantization.bitz=4"], "did you mean"),
    "a real number for an integer": ([CONFIG, WORKDIR, "--config.train.epochs=0.5"], "epochs"),
    "None for an integer": ([CONFIG, WORKDIR, "--config.train.epochs=None"], "epochs"),
    "an unknown stage": ([CONFIG, WORKDIR, "--stage=atack"], f"<{'|'.join(STAGES)}>"),
    "two ways to share": (["--worker", "--spmd", WORKDIR], "--worker and --spmd exclude each other"),
    "a patience of less than nothing": (["--patience=-1", WORKDIR], "patience"),
    "a list of no workdir": (["--list", WORKDIR], "there is no workdir"),
    "yes to nothing": (["--yes", WORKDIR], "--yes is for --clean"),
    "a stray argument": ([CONFIG, WORKDIR, "digits"], "unexpected argument 'digits'"),
    "bits out of range": (
        [CONFIG, WORKDIR, "--config.quantization.bits=1"],
        "`quantization.bits` must be an int in [2, 16]",
    ),
    "an unknown data set": ([CONFIG, WORKDIR, "--config.sweep.dataset=('mnist',)"], "breast_cancer"),
}


@pytest.fixture(scope="module")
def outcomes():
    def run(flags):
        command = [sys.executable, str(ROOT / "experiments/run.py"), *flags]
        return subprocess.run(command, capture_output=True, text=True)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(BAD, pool.map(run, [flags for flags, _ in BAD.values()]), strict=True))


@pytest.mark.parametrize("case", BAD)
def test_a_bad_command_line_is_one_line_and_exit_code_2(case, outcomes):
    done = outcomes[case]
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert BAD[case][1].lower() in done.stderr.lower()


@pytest.mark.long
@pytest.mark.parametrize(
    ("flag", "message"),
    [("--spmd", "JAX_COORDINATOR_ADDRESS"), ("--distributed", "JAX_PROCESS_ID and JAX_NUM_PROCESSES")],
)
def test_what_several_processes_need_is_named(flag, message, tmp_path):
    command = [sys.executable, str(ROOT / "experiments/run.py"), CONFIG, f"--workdir={tmp_path}", flag]
    environ = {name: value for name, value in os.environ.items() if name not in spmd.VARIABLES}
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not list(tmp_path.iterdir())
