"""The run's programs on accelerators that are not here: they compile, without collectives, within limits."""

import re
import subprocess
import sys

import pytest

from jaxsnn_mia.aot import count
from jaxsnn_mia.pipeline.forecast import Forecast, as_text, chosen
from tests.runs import ROOT

pytestmark = pytest.mark.filterwarnings("default")
H100 = "h100"


def tried(width, hours, *, fits=True):
    step = count.NOTHING._replace(kernels=40, nbytes=1e6, seconds=1e-4, limit=1e-5)
    return Forecast("a", 64, width, 10**9, step, 1000.0, hours, 0.1, fits)


def test_the_fastest_that_fits_is_chosen_and_marked():
    from jaxsnn_mia.aot import targets

    many = [tried(8, 3.0), tried(32, 1.0), tried(128, 0.5, fits=False)]
    assert chosen(many).width == 32
    text = as_text({"a": many}, targets.parse(H100))
    assert [line.split()[2] for line in text.splitlines() if line.endswith("<-")] == ["32"]
    assert "does not fit" in text
    assert "64 models in about 1 h" in text
    assert "10.0%" in text  # of what bytes and products alone would take
    assert chosen([tried(8, 3.0, fits=False)]).width == 8


def rows_of(target, *settings):
    """(kernels a step, model-epochs a second) of each line that a command prints."""
    command = ["experiments/run.py", "--config=experiments/configs/quickstart.py", "--dry_run", f"--target={target}"]
    done = subprocess.run([sys.executable, *command, *settings], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [
        line.removesuffix(" <-").split() for line in done.stdout.splitlines() if re.match(r"[a-z_]+-(a|s)nn", line)
    ]
    return {(line[0], int(line[2])): (int(line[4]), float(line[9])) for line in lines}


ONE = ("--config.sweep.dataset=('breast_cancer',)", "--config.ensemble.width=64")


@pytest.mark.aot
def test_h100():
    """Few kernels a step: the time loop is written out or one Pallas kernel."""
    found = rows_of("h100", *ONE)
    assert found["breast_cancer-ann", 64][0] <= 35
    assert found["breast_cancer-snn", 64][0] <= 45
    assert all(rate > 50_000 for _, rate in found.values())
    of_eight = rows_of("h100:8", *ONE[:1], "--config.ensemble.width=8")
    assert of_eight["breast_cancer-snn", 8][0] <= 45


@pytest.mark.aot
def test_v5e():
    found = rows_of("v5e:2x2", *ONE[:1], "--config.ensemble.width=8")
    assert found["breast_cancer-snn", 8][0] <= 130
