"""What only the data can tell of settings."""

import numpy as np
import pytest

from jaxsnn_mia import config
from jaxsnn_mia.config import against_data

TABLE = {"shape": (30,), "timed": False, "images": False, "n_classes": 3}
EVENTS = {"shape": (4, 8, 8, 2), "timed": True, "images": False, "n_classes": 3}
IMAGES = {"shape": (8, 8, 3), "timed": False, "images": True, "n_classes": 3}


def check(about, sections, **more):
    against_data.check(config.from_dict(sections), **about, **more)


@pytest.mark.parametrize(
    ("about", "sections", "message"),
    [
        (TABLE, {"data": {"augment": "flip"}}, "`data.augment` must be 'none' for digits, which holds no uint8 images"),
        (TABLE, {"signals": {"queries": 2}}, "`signals.queries` must be 1 for digits, which holds no uint8 images"),
        (TABLE, {"model": {"architecture": "convnet"}}, "`model.architecture` must be 'dense' or 'recurrent'"),
        (TABLE, {"defence": {"top_k": 2}}, r"`defence.top_k` must be in \[0, 1\] for digits, which holds 3 classes"),
        (EVENTS, {}, "`model.time_steps` must be 4 for digits, which holds so many steps, got 10"),
        (EVENTS, {"model": {"time_steps": 4}, "signals": {"names": ("boundary",)}}, r"without \['boundary'\]"),
    ],
)
def test_settings_that_examples_do_not_allow(about, sections, message):
    with pytest.raises(ValueError, match=message):
        check(about, sections)


def test_settings_that_examples_allow():
    check(TABLE, {"defence": {"top_k": 1}})
    check(IMAGES, {"data": {"augment": "flip"}, "signals": {"queries": 18}, "model": {"architecture": "vgg11"}})
    check(EVENTS, {"model": {"architecture": "convnet", "time_steps": 4}})


def test_coded_inputs_lie_between_0_and_1():
    coded = {"model": {"encoding": "rate"}, "data": {"standardise": "none"}}
    check(TABLE, coded, span=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"`model.encoding`='rate' needs inputs in \[0, 1\], got -1 to 1 for digits"):
        check(TABLE, coded, span=(-1.0, 1.0))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"inversion": {"names": ("black",)}, "defence": {"top_k": 1}}, "must be empty where answers are defended"),
        ({"inversion": {"names": ("spikes",)}}, "must be without 'spikes' for an ANN or an input that is not spikes"),
        ({"inversion": {"names": ("black",), "keep": 4}}, r"`inversion.keep` must be in \[0, 3\], the classes, got 4"),
        ({"inversion": {"names": ("black",), "tv": 0.1}}, "image shape missing"),
        ({"inversion": {"names": ("black",), "image": (5, 5, 1)}}, r"must be \(H, W, channels\) of 30 features"),
        (
            {"inversion": {"names": ("gradients_layer",)}, "model": {"architecture": "recurrent"}},
            r"must be without \['gradients_layer'\] where the first layer is not a dense one",
        ),
    ],
)
def test_inversions_that_the_data_does_not_allow(sections, message):
    c = config.from_dict(sections)
    with pytest.raises(ValueError, match=message):
        against_data.check_inversion(c, TABLE["shape"], timed=False, n_classes=3)


def test_a_column_is_named_or_numbered():
    def column(given):
        c = config.from_dict({"attribute": {"names": ("label_only",), "column": given, "bins": 2}})
        return against_data.column_index(c, ["a", "b", "c"], (3,))

    assert (column("b"), column("2")) == (1, 2)
    with pytest.raises(ValueError, match=r"must be one of a, b, c, or a number in \[0, 3\) for digits, got '3'"):
        column("3")


def test_a_constant_column_is_refused():
    c = config.from_dict({"attribute": {"names": ("label_only",), "column": "1"}})
    with pytest.raises(ValueError, match=r"`attribute.column`='1' of digits: "):
        against_data.check_column(c, [], np.zeros((5, 3)))
