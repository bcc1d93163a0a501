"""Specs take the settings of the same names; only what is computed is written out."""

import dataclasses

import numpy as np
import pytest

from jaxsnn_mia import config
from jaxsnn_mia.config import specs
from jaxsnn_mia.models import Hyper, ModelSpec, QuantSpec
from jaxsnn_mia.settings import Model, Train
from jaxsnn_mia.training.spec import TrainSpec

X = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
Y = np.arange(60) % 3
KEEP = np.arange(60) % 2 == (np.arange(6) % 2)[:, None]


def inputs(keep=KEEP, **sections):
    return specs.training_inputs(config.from_dict(sections), X, Y, 3, keep)


def test_default_settings_give_the_defaults_of_the_specs():
    made = inputs()
    assert made.spec == TrainSpec(ModelSpec("snn", (6,), 3), batch_size=30, rows=30)
    same = made.hyper._replace(dp_clip=Hyper().dp_clip)  # is off in the settings, and has no effect
    assert same == Hyper()


def test_every_setting_of_a_shared_name_arrives():
    model = {"family": "ann", "architecture": "vgg11", "hidden": (5,), "time_steps": 3, "encoding": "rate",
             "norm": "tdbn", "reset": "zero", "readout": "spike_count", "surrogate": "fast_sigmoid"}  # fmt: skip
    quant = {"preset": "brevitas", "edges": "keep8", "calibration": "percentile", "percentile": 90.0, "decay": 0.5,
             "levels": "keep_zero", "lower": 0.5, "upper": 0.75}  # fmt: skip
    train = {"optimizer": "sgd", "momentum": 0.5, "schedule": "cosine", "epochs": 7}
    traced = {"lr": 0.5, "weight_decay": 0.25, "smoothing": 0.125}
    made = inputs(
        data={"standardise": "range"}, model={**model, "beta": 0.5, "threshold": 2.0, "slope": 3.0},
        quantization={**quant, "what": "both", "bits": 4}, train={**train, **traced, "batch_size": 8},
    )  # fmt: skip
    for spec, wanted in ((made.spec.model, model), (made.spec.model.quant, quant), (made.spec, train)):
        assert {name: getattr(spec, name) for name in wanted} == wanted
    for name, value in {**traced, "beta": 0.5, "threshold": 2.0, "slope": 3.0}.items():
        assert getattr(made.hyper, name) == value
    assert made.spec.batch_size == 8


def test_what_is_computed_is_not_the_setting_of_the_same_name():
    made = inputs(data={"rows": 50}, train={"mixup": 0.5, "dropout": 0.25, "stop_at_train_accuracy": 0.75})
    assert (made.spec.rows, made.spec.mixup, made.spec.model.dropout) == (30, True, True)
    assert (made.hyper.mixup, made.hyper.dropout, made.hyper.stop_at) == (0.5, 0.25, 0.75)
    assert made.spec.stop == "train_accuracy"


def test_a_field_that_is_neither_a_setting_nor_computed_is_refused():
    with pytest.raises(TypeError, match=r"ModelSpec: no setting and no computed value for .*'in_shape', 'n_classes'"):
        specs.from_settings(ModelSpec, Model())
    with pytest.raises(TypeError, match="'stop_at'"):
        specs.from_settings(Hyper, Model(), Train(), slope=1.0, qmax_weight=0, qmax_activation=0, qmax_state=0)
    assert specs.from_settings(QuantSpec, QuantSpec(decay=0.5)) == QuantSpec(decay=0.5)
    assert specs.from_settings(QuantSpec, QuantSpec(), decay=0.5) == dataclasses.replace(QuantSpec(), decay=0.5)


def test_rows_that_leave_a_whole_batch_empty_are_told():
    few = KEEP.copy()
    few[0, 20:] = False  # 10 rows of at most 30
    assert not inputs(train={"batch_size": 10}).spec.ragged
    assert not inputs(few, train={"batch_size": 30}).spec.ragged
    assert inputs(few, train={"batch_size": 10}).spec.ragged


def test_post_training_quantization_trains_all_epochs_in_float():
    after = inputs(quantization={"bits": 4, "what": "both", "mode": "ptq"}, train={"epochs": 5}).spec
    aware = inputs(quantization={"bits": 4, "what": "both", "warmup_epochs": 2}, train={"epochs": 5}).spec
    assert (after.post_training, after.float_epochs) == (True, 5)
    assert (aware.post_training, aware.float_epochs) == (False, 2)


@pytest.mark.parametrize(
    ("family", "activation", "state"),
    [("ann", 255.0, 0.0), ("snn", 127.0, 3.0)],  # outputs of ReLUs have no sign, and an ANN has no membranes
)
def test_each_part_has_the_codes_of_its_own_bits(family, activation, state):
    settings = {"model": {"family": family}, "quantization": {"bits": 4, "bits_activation": 8, "bits_state": 2,
                                                              "what": "all"}}  # fmt: skip
    codes = specs.largest_codes(config.from_dict(settings))
    assert codes == {"qmax_weight": 7.0, "qmax_activation": activation, "qmax_state": state}
