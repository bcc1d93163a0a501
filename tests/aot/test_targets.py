"""Names of accelerators, and where their compilers are."""

import pytest

from experiments import run as command
from jaxsnn_mia.aot import targets, wheels


@pytest.mark.parametrize(
    ("name", "count"), [("h100", (1, 1)), ("h200:8", (8, 1)), ("a100", (1, 1)), ("v5e", (1, 1)), ("v6e:4x4", (4, 4))]
)
def test_a_name_is_a_chip_and_how_many(name, count):
    target = targets.parse(name)
    assert (target.x, target.y) == count
    assert target.chip is targets.CHIPS[name.partition(":")[0]]


@pytest.mark.parametrize("name", ["h300", "h100:2x2", "v5e:4", "h100:0", "", "v5e:4x4x4"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="--target"):
        targets.parse(name)


def test_a_gpu_is_described_by_its_figures():
    text = targets.description(targets.CHIPS["a100"])
    for needle in ("core_count: 108", "major: 8 minor: 0", "memory_bandwidth: 2039000000000", 'name: "NVIDIA A100'):
        assert needle in text
    assert "fpus_per_core: 128" in targets.description(targets.CHIPS["h100"])


def test_wheels_are_those_of_this_jax_and_asked_for_in_words(monkeypatch, tmp_path):
    of_tpu, *of_cuda = wheels.requirements()
    assert of_tpu.startswith("libtpu==")
    assert [name.partition("=")[0] for name in of_cuda] == [
        "jax-cuda12-plugin",
        "jax-cuda12-pjrt",
        "nvidia-cuda-nvcc-cu12",
    ]
    monkeypatch.setenv("JAXSNN_MIA_AOT", str(tmp_path))
    with pytest.raises(ValueError, match=r"python -m jaxsnn_mia\.aot\.wheels"):
        wheels.run_again([])
    environment = wheels.environment()
    assert environment["PYTHONPATH"].startswith(str(tmp_path))
    assert environment["JAX_PLATFORMS"] == "cpu"
    assert command.TARGET.name == "target"
