"""Every config file loads, and its `smoke` runs to a report, as the command that its docstring gives."""

import gzip
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxsnn_mia import config
from tests.runs import ROOT

CONFIGS = sorted((ROOT / "experiments/configs").glob("*.py"))


def settings(path, *mode):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*mode)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_valid_and_its_smoke_is_smaller(path):
    whole, small = (config.from_dict(settings(path, *mode).to_dict()) for mode in ((), ("smoke",)))
    assert small.splits.n_shadows < whole.splits.n_shadows
    assert 0 < small.data.rows <= 1500
    assert small.train.epochs < whole.train.epochs
    with pytest.raises(ValueError, match=r"':smoke' or nothing, got 'smok'"):
        settings(path, "smok")
    said = path.read_text().split('"""')[1]
    assert f"experiments/configs/{path.name}" in said
    assert f"{path.name}:smoke" in said
    assert "Expected" in said


def smoke(name, workdir, *flags):
    command = [sys.executable, str(ROOT / "experiments/run.py"), f"--workdir={workdir}"]
    path = f"--config={ROOT / 'experiments/configs' / name}.py:smoke"
    done = subprocess.run([*command, path, *flags], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("report.html\n")
    assert (workdir / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    "name",
    [
        *(
            pytest.param(n, marks=pytest.mark.long)
            for n in (
                "quickstart",
                "triangle",
                "dp_sgd",
                "moving_glyphs",
                "all_attacks",
                "quantization_sweep",
                "canaries",
            )
        ),
    ],
)
def test_smoke_of_embedded_and_generated_data(name, tmp_path):
    smoke(name, tmp_path)
    spent = [row for row in (tmp_path / "results.csv").read_text().splitlines() if ",dp_epsilon," in row]
    assert len(spent) == (4 if name == "dp_sgd" else 0)  # two epsilons of two families


@pytest.mark.long
@pytest.mark.real_data
@pytest.mark.parametrize("name", ["location30", "mnist", "cifar10_resnet"])
def test_smoke_of_data_at_hand(name, tmp_path):
    smoke(name, tmp_path)


def idx(path: Path, array):
    head = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(head + array.tobytes()))


@pytest.mark.long
def test_smoke_of_fashion_mnist_on_noise_in_its_format(tmp_path):
    rng = np.random.default_rng(0)
    for part, n in (("train", 600), ("t10k", 200)):
        y = np.arange(n, dtype=np.uint8) % 10
        x = rng.integers(0, 200, (n, 28, 28), np.uint8)
        x[np.arange(n), 2 * y] = 255
        idx(tmp_path / f"{part}-images-idx3-ubyte.gz", x)
        idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", y)
    smoke("fashion_mnist", tmp_path / "run", f"--config.data.name=mnist_idx:{tmp_path}")


@pytest.mark.long
def test_smoke_of_nmnist_on_noise_in_its_format(tmp_path):
    rng = np.random.default_rng(0)
    for split, n in (("Train", 40), ("Test", 12)):
        for label in range(10):
            folder = tmp_path / "NMNIST" / split / str(label)
            folder.mkdir(parents=True)
            for i in range(n):
                time = np.sort(rng.integers(0, 300_000, 200))
                place = np.full(200, label * 3) if i % 2 else rng.integers(0, 34, 200)
                word = (rng.integers(0, 2, 200) << 23) | time
                events = np.stack([place, rng.integers(0, 34, 200), word >> 16, word >> 8 & 255, word & 255], 1)
                (folder / f"{i:05d}.bin").write_bytes(events.astype(np.uint8).tobytes())
    smoke("nmnist", tmp_path / "run", f"--config.data.dir={tmp_path}")
