"""Every command of experiments starts from the root of a checkout, and nothing of it is installed."""

import ast
import fnmatch
import tomllib

import pytest

from tests import forks
from tests.experiments.outcomes import HELPED, HELPED_OF_ALL, IMPORTED, help_of, outcomes
from tests.runs import ROOT


@pytest.mark.parametrize("name", HELPED)
def test_a_command_starts_and_says_what_it_takes(name):
    done = outcomes()[name]
    assert "Traceback" not in done.stderr
    absl = name.endswith(("/run.py", "/audit_logits.py"))
    assert done.returncode == (1 if absl else 0), done.stderr  # absl ends so after its help
    assert ("--workdir" if absl else "usage:") in done.stdout


@pytest.mark.long
def test_the_other_benchmarks_start():
    done = forks.run([help_of(name) for name in HELPED_OF_ALL], IMPORTED)
    assert [one.returncode for one in done] == [0] * len(HELPED_OF_ALL), done
    assert all("usage:" in one.stdout for one in done)


def test_no_file_changes_the_search_path():
    for path in [*ROOT.glob("experiments/**/*.py"), *ROOT.glob("tests/**/*.py")]:
        text = path.read_text()
        if "sys.path" in text:
            attributes = {ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
            assert "sys.path" not in attributes, path


def test_experiments_is_not_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["packages"]["find"]["include"]
    installed = [name for name in ("experiments", "jaxsnn_mia") if any(fnmatch.fnmatch(name, p) for p in patterns)]
    assert installed == ["jaxsnn_mia"]
