"""A bad command line is one line and exit code 2, never a traceback."""

import os
import subprocess
import sys

import pytest

from jaxsnn_mia.runtime import spmd
from tests.experiments.outcomes import BAD, CONFIG, RUN, outcomes
from tests.runs import ROOT


def run(flags, environ=None):
    return subprocess.run([sys.executable, RUN, *flags], cwd=ROOT, capture_output=True, text=True, env=environ)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_command_line_is_one_line_and_exit_code_2(case):
    done = outcomes()[case]
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert BAD[case][1].lower() in done.stderr.lower()


@pytest.mark.long
def test_the_command_itself_says_the_same():
    case = "a typo in a setting"
    done = run(BAD[case][0])
    assert (done.returncode, done.stdout, done.stderr) == outcomes()[case]


@pytest.mark.long
@pytest.mark.parametrize(
    ("flag", "message"),
    [("--spmd", "JAX_COORDINATOR_ADDRESS"), ("--distributed", "JAX_PROCESS_ID and JAX_NUM_PROCESSES")],
)
def test_what_several_processes_need_is_named(flag, message, tmp_path):
    environ = {name: value for name, value in os.environ.items() if name not in spmd.VARIABLES}
    done = run([CONFIG, f"--workdir={tmp_path}", flag], environ)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not list(tmp_path.iterdir())
