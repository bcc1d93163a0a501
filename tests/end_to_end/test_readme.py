"""The commands and examples of the README, as a reader runs them: in order, from the root of a checkout."""

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import ROOT

README = (ROOT / "README.md").read_text()
FENCES = re.findall(r"^```([^\n]*)\n(.*?)^```$", README, re.M | re.S)
# what begins so is not run here, since ...
ELSEWHERE = {
    "bash launch/test.sh": "it runs this",
    "gcloud ": "it needs an account",
}
# the tables of the study take hours
SMALLER = {
    "python experiments/study/run.py": "--scale=smoke",
    "python experiments/study/as_released.py": "--datasets=iris --seeds=1",
}
QUICK = (
    "python experiments/run.py --config=experiments/configs/quickstart.py:smoke --workdir=runs/first",
    "python experiments/run.py --list",
)


def commands():
    """Every command of the page, on one line, without what is said behind it."""
    found = []
    for info, text in FENCES:
        if not info:
            lines = re.sub(r"\\\n\s*", "", text)
            found += re.findall(r"^(?:[A-Z_]+=\S+ )?(?:python|bash|gcloud)\b(?:'[^']*'|\"[^\"]*\"|[^\n])*", lines, re.M)
    return [re.sub(r"\s{2,}#.*", "", command).strip() for command in found]


def files():
    return {info.partition("title=")[2]: text for info, text in FENCES if "title=" in info}


@pytest.fixture
def checkout(tmp_path):
    """A folder as a reader's: what commands write stays in it."""
    for name in ("experiments", "launch"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("jaxsnn_mia", "README.md", "pyproject.toml", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name, text in files().items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(command, cwd):
    small = "".join(f" {flags}" for start, flags in SMALLER.items() if command.startswith(start))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "VIRTUAL_ENV": sys.prefix}
    done = subprocess.run(["bash", "-c", command + small], cwd=cwd, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_quick_commands_run(checkout):
    found = [command for command in commands() if command.startswith(QUICK)]
    assert len(found) == len(QUICK)
    said = [run(command, checkout) for command in found]
    assert "snn" in said[0]
    assert "report.html" in said[0]
    assert "0 unfinished" in said[1]
    assert (checkout / "runs/first/report.html").stat().st_size > 10_000


@pytest.mark.long
def test_every_command_runs(checkout):
    """Ten minutes: the runs of the page in their full size, but for the study."""
    for command in commands():
        if not command.startswith(tuple(ELSEWHERE)):
            run(command, checkout)
    reports = {path.parent.name for path in checkout.glob("runs/*/report.html")}
    assert {"first", "bits", "compared", "own_data", "audit", "own_model", "local", "mine", "quickstart"} <= reports


def test_every_command_is_found_and_none_is_left_out_in_silence():
    found = commands()
    lines = [line for info, text in FENCES if not info for line in text.splitlines()]
    begins = [line for line in lines if re.match(r"(?:[A-Z_]+=\S+ )?(?:python|bash|gcloud|sbatch|sky|pip|git) ", line)]
    assert len(begins) == len(found) >= 20
    for start in (*ELSEWHERE, *SMALLER, *QUICK):
        assert any(command.startswith(start) for command in found), start
    assert set(files()) == {"my_data.py", "my_logits.py", "my_model.py"}


def test_flags_and_paths_of_the_page_are_there():
    for path in set(re.findall(r"(?:experiments|launch|tests|jaxsnn_mia)/[\w/.-]+\w", README)):
        assert (ROOT / path).exists(), path
    script = (ROOT / "experiments/run.py").read_text()
    for flag in (
        "workdir",
        "stage",
        "dry_run",
        "list",
        "clean",
        "yes",
        "track",
        "worker",
        "distributed",
        "spmd",
        "patience",
    ):
        assert f"--{flag}" in README
        assert f'"{flag}"' in script


def test_the_examples_of_the_readme_run():
    result = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert result.attempted >= 6
    assert result.failed == 0
