"""Every combination of a sweep is one variant."""

import re

import pytest

from jaxsnn_mia import config
from jaxsnn_mia.config import sweep
from jaxsnn_mia.settings import Config, Sweep


def test_a_sweep_is_every_combination():
    c = config.from_dict({"sweep": {"dataset": ["digits", "iris"], "family": ("ann", "snn"), "bits": (4, 32)}})
    variants = sweep.variants(c)
    assert list(variants) == [
        f"{dataset}-{family}-bits{bits}"
        for dataset in ("digits", "iris")
        for family in ("ann", "snn")
        for bits in (4, 32)
    ]
    assert variants["iris-ann-bits4"].data.name == "iris"
    assert variants["iris-ann-bits4"].quantization.bits == 4


def test_an_axis_changes_its_own_setting_and_no_other():
    plain = Config()
    other = {"dataset": "iris", "family": "ann", "architecture": "convnet", "quantize": "both",
             "readout": "spike_count", "reset": "zero", "encoding": "rate", "surrogate": "fast_sigmoid"}  # fmt: skip
    for axis, (part, field) in sweep.SWEPT.items():
        value = other.get(axis, 7)
        (variant,) = sweep.variants(Config(sweep=Sweep(**{axis: (value,)}))).values()
        changed = {
            (section, name)
            for section in sweep.PARTS
            for name, now in vars(getattr(variant, section)).items()
            if now != getattr(getattr(plain, section), name)
        }
        assert changed == {(part, field)} | ({("train", "seed")} if axis == "seed" else set()), axis
        assert getattr(getattr(variant, part), field) == value
        assert variant.sweep == Sweep()
    assert {axis for axis in vars(Sweep())} == set(sweep.SWEPT)


def test_networks_without_membranes_are_left_out_of_quantized_states():
    c = config.from_dict({"sweep": {"family": ("ann", "snn"), "quantize": ("weight", "state")}})
    assert list(sweep.variants(c)) == [
        "digits-ann-quantizeweight", "digits-snn-quantizeweight", "digits-snn-quantizestate"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("dataset", "folder"), [("moving_glyphs:10", "moving_glyphs-10-snn"), ("npz:/a/b.npz", r"npz-\w{6}-snn")]
)
def test_names_of_variants_are_folders(dataset, folder):
    (name,) = sweep.variants(Config(sweep=Sweep(dataset=(dataset,))))
    assert re.fullmatch(folder, name)


def test_an_axis_is_called_as_its_setting():
    """But for those that would not say enough."""
    others = {"dataset": "name", "quantize": "what"}
    assert {axis: field for axis, (_, field) in sweep.SWEPT.items() if axis != field} == others
