"""The commands and examples of every README.md, as a reader runs them: in order, from the root of a checkout."""

import csv
import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from jaxsnn_mia import attacks, config, models
from jaxsnn_mia.attacks.attribute.scores import ATTRIBUTE_ATTACKS
from jaxsnn_mia.report import console, tables
from tests.runs import ROOT

PROGRAMS = ("python", "bash", "pip", "git", "gcloud", "sbatch", "sky", "kubectl")
COMMAND = re.compile(rf"^(?:[A-Z_]+=\S+ )*(?:{'|'.join(PROGRAMS)})\b(?:'[^']*'|\"[^\"]*\"|[^\n])*", re.M)
SHELL = ("", "bash", "sh", "shell", "console")  # what stands behind ``` where commands may follow
# a command that begins so is not run here, because ...
NOT_RUN = {
    "bash launch/test": "it runs this file",
    "gcloud ": "it needs an account",
    "pip install": "it changes the environment",
    "python -m jaxsnn_mia.aot.": "it downloads",
    "python -m jaxsnn_mia.data.": "it downloads",
    "python experiments/run.py --config=experiments/configs/quickstart.py --dry_run --target": "tests/aot runs it",
}
PLACEHOLDER = re.compile(r"\b(?:DIR|FILE|FLAGS|FOLDER|NAME|ZONE)\b")  # something that the reader has
# the tables of the study take hours, and these two runs ten minutes each
SMALLER = {
    "python experiments/run.py --config=experiments/configs/dp_sgd.py": "--config.splits.n_shadows=8",
    "python experiments/run.py --config=experiments/configs/quantization_sweep.py": "--config.splits.n_shadows=8",
    "python -m experiments.study.run": "--scale=smoke",
    "python -m experiments.study.as_released": "--datasets=iris --seeds=1",
}
QUICK = (
    "python experiments/run.py --config=experiments/configs/quickstart.py:smoke --workdir=runs/first",
    "python experiments/run.py --list",
)


def read_pages() -> dict[str, str]:
    """path from the root -> text; the first page comes first. Not those of .venv, runs/ or build/."""
    folders = [path for path in sorted(ROOT.iterdir()) if path.is_dir() and path.name not in ("runs", "build")]
    below = [path for folder in folders if folder.name[0] != "." for path in sorted(folder.rglob("README.md"))]
    return {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "README.md", *below)}


PAGES = read_pages()
FIRST = PAGES["README.md"]


def fences(text: str) -> list[tuple[str, str]]:
    """(what stands behind the opening ```, content) of each."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S)


def shell_blocks(text: str) -> list[str]:
    """Each block of commands, with continued lines joined."""
    blocks = [re.sub(r"\\\n\s*", "", content) for info, content in fences(text) if info in SHELL]
    return [block for block in blocks if COMMAND.search(block)]


def commands_of(text: str) -> list[str]:
    """Every command of a page, on one line, without the comment behind it."""
    lines = [command for block in shell_blocks(text) for command in COMMAND.findall(block)]
    return [re.sub(r"\s{2,}#.*", "", line).strip() for line in lines]


COMMANDS = list(dict.fromkeys(command for text in PAGES.values() for command in commands_of(text)))


def is_run(command: str) -> bool:
    return not command.startswith(tuple(NOT_RUN)) and not PLACEHOLDER.search(command)


def files_of(text: str) -> dict[str, str]:
    """Files that a page tells its reader to save."""
    return {info.partition("title=")[2]: content for info, content in fences(text) if "title=" in info}


FILES = {name: content for text in PAGES.values() for name, content in files_of(text).items()}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder as a reader's: what commands write stays in it."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("experiments", "launch"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("jaxsnn_mia", "README.md", "pyproject.toml", "tests"):
        (folder / name).symlink_to(ROOT / name)
    for name, content in FILES.items():
        (folder / name).write_text(content)
    return folder


# how the tests are run; a reader's commands choose their threads themselves, and four on two cores are much slower
OF_TESTS = ("PJRT_NPROC", "OMP_NUM_THREADS", "XLA_FLAGS")


def run(command: str, cwd: Path, prefix: str = sys.prefix) -> str:
    """What a command prints, in the virtual environment `prefix`."""
    small = "".join(f" {flags}" for start, flags in SMALLER.items() if command.startswith(start))
    environ = {**os.environ, "PATH": f"{prefix}/bin:{os.environ['PATH']}", "VIRTUAL_ENV": prefix}
    for name in OF_TESTS:
        environ.pop(name, None)
    done = subprocess.run(["bash", "-c", command + small], cwd=cwd, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def said(checkout):
    """What the quick commands print; they leave runs/first in the checkout."""
    quick = [command for command in COMMANDS if command.startswith(QUICK)]
    assert len(quick) == len(QUICK)
    return [run(command, checkout) for command in quick]


@pytest.mark.long
def test_the_quick_commands_run(checkout, said):
    assert "snn" in said[0]
    assert "report.html" in said[0]
    assert "0 unfinished" in said[1]
    assert (checkout / "runs/first/report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if "kernels" in page else pytest.mark.long)
        for page, text in PAGES.items()
        if re.search(r"^>>> ", text, re.M)
    ],
)
def test_the_examples_of_a_page_run(page, checkout, request, monkeypatch):
    """In the checkout, where an example may read runs/first, which the quick commands make."""
    if "runs/first" in PAGES[page]:
        request.getfixturevalue("said")
    monkeypatch.chdir(checkout)
    result = doctest.testfile(str(ROOT / page), module_relative=False)
    assert result.attempted >= 2
    assert result.failed == 0


def test_python_on_a_page_is_an_example_that_runs_or_a_file():
    for page, text in PAGES.items():
        for info, content in fences(text):
            if info.startswith("python"):
                assert "title=" in info or ">>> " in content, f"{page}: nothing runs\n{content}"
    named = [name for text in PAGES.values() for name in files_of(text)]
    assert len(set(named)) == len(named), named
    assert {"my_logits.py", "my_model.py"} <= set(named)


@pytest.mark.long
def test_every_command_runs(checkout, tmp_path):
    """Ten minutes: the runs of the pages, most of them in their full size. In an environment that sees the
    packages of this one, since a command installs the checkout."""
    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    packages = sysconfig.get_path("purelib")
    (site / "seen.pth").write_text(f"import site; site.addsitedir({packages!r})\n")
    for command in COMMANDS:
        if is_run(command):
            run(command, checkout, str(tmp_path / "venv"))
    reports = {path.parent.name for path in checkout.glob("runs/*/report.html")}
    assert {"first", "bits", "compared", "own_data", "audit", "own_model", "local", "mine", "quickstart"} <= reports


def test_every_command_is_found_and_none_is_left_out_in_silence():
    for page, text in PAGES.items():
        for block in shell_blocks(text):
            rest = re.sub(r"^\s*#.*", "", COMMAND.sub("", block), flags=re.M)
            assert not rest.strip(), f"{page}: neither a command nor a comment: {rest}"
    assert len(commands_of(FIRST)) >= 11
    assert sum(is_run(command) for command in COMMANDS) >= 10
    for command in COMMANDS:
        script = re.match(r"(?:[A-Z_]+=\S+ )*(?:python|bash) (?!-)(\S+)", command)
        if script and script[1] not in FILES:
            assert (ROOT / script[1]).is_file(), command
        module = re.match(r"(?:[A-Z_]+=\S+ )*python -m ((?:jaxsnn_mia|experiments)\S+)", command)
        if module:
            path = ROOT / module[1].replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), command
    for start in (*NOT_RUN, *SMALLER):
        assert any(command.startswith(start) for command in COMMANDS), f"no page has {start}"


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections
def test_every_run_on_a_page_has_settings_that_are_there(checkout, monkeypatch):
    """Of the long commands too, which the default suite does not run."""
    monkeypatch.chdir(checkout)
    monkeypatch.syspath_prepend(checkout)  # my_model.py
    checked = 0
    for command in COMMANDS:
        words = [word for word in shlex.split(command) if word.startswith("--config")]
        if not is_run(command) or not words:
            continue
        values = flags.FlagValues()
        config_flags.DEFINE_config_file("config", flag_values=values)
        monkeypatch.setattr(sys, "argv", ["run.py", *words])  # config_flags reads it
        values(sys.argv)
        config.from_dict(values.config.to_dict())
        checked += 1
    assert checked >= 5


def test_paths_on_a_page_are_there():
    """Links, from the page's own folder; and paths that begin with a folder of the project, from the root."""
    for page, text in PAGES.items():
        folder = (ROOT / page).parent
        links = [folder / link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in link]
        named = re.findall(r"(?<![\w/.-])(?:experiments|launch|tests|jaxsnn_mia)/[\w/.-]*\w", text)
        for path in (*links, *(ROOT / name for name in named)):
            assert path.exists(), f"{page}: {path}"


def test_the_first_page_is_short_and_has_a_picture():
    assert len(FIRST.splitlines()) <= 220
    assert len(re.findall(r"^!\[", FIRST, re.M)) == 1


def test_the_first_page_has_every_flag():
    script = (ROOT / "experiments/run.py").read_text()
    defined = re.findall(r'DEFINE_\w+\(\s*"(\w+)"', script)
    assert len(defined) >= 12
    for flag in defined:
        assert re.search(rf"`--{flag}\b", FIRST), flag


def known(setting: str) -> list[str]:
    """The names that a setting may have, by what is said of one that it may not have."""
    part, name = setting.split(".")
    with pytest.raises(ValueError, match="one of") as raised:
        config.from_dict({part: {name: ("?",)}})
    return re.findall(r"'(\w+)'", str(raised.value).partition("one of ")[2].partition("]")[0])


def test_the_first_page_has_every_name():
    names = [*models.MODELS, *models.FAMILIES, *attacks.ATTACKS, *ATTRIBUTE_ATTACKS, *known("inversion.names")]
    assert len(names) > 50
    said = FIRST.partition("\n## Names\n")[2].partition("\n## ")[0]
    for name in names:
        assert f"`{name}`" in said, name


def test_the_first_page_has_every_room():
    said = FIRST.partition("\n## The floors")[2].partition("\n## ")[0]
    rooms = [path.stem for path in (ROOT / "jaxsnn_mia").iterdir() if path.suffix == ".py" or path.is_dir()]
    for room in set(rooms) - {"__init__", "__pycache__"}:
        assert f"`{room}`" in said, room


def test_the_first_page_has_lines_of_the_committed_quickstart():
    with (ROOT / "experiments/results/quickstart/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    rows = [row for row in rows if not row["metric"].startswith("difference_")]
    for row in rows:
        shadows, examples = int(row["n_shadows"]), int(row["n_examples"])
        for name in ("value", "low", "high", "level", "realised_fpr"):
            row[name] = None if row[name] in ("", "n/a") else float(row[name])
        row |= {"pooled_non_members": shadows * examples // 2, "distinct_non_members": examples}
    printed = console.for_console(tables.table(rows)).splitlines()
    (shown,) = [content.splitlines() for _, content in fences(FIRST) if content.startswith("dataset ")]
    assert len(shown) == 7
    assert shown[0] == printed[0]
    assert [line for line in printed if line in shown[1:]] == shown[1:]


def test_the_types_are_installed():
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "py.typed" in about["tool"]["setuptools"]["package-data"]["jaxsnn_mia"]
