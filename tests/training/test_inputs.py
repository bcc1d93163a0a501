"""Groups of shadows, cut from what a training needs."""

import numpy as np

from jaxsnn_mia.models import Hyper
from jaxsnn_mia.training.inputs import Inputs, first_rows, group_length, group_of, repeat_last
from tests.training.ensembles import MASK, ROWS, S, X, Y, spec

PLAN = {"group_size": 4, "groups": 2, "width": 3}


def member(lr):
    return Inputs(spec(), Hyper(lr=lr), (X, Y), ROWS, 0)


def test_the_last_group_may_be_shorter():
    assert [group_length(member(0.1), PLAN, group) for group in (0, 1)] == [4, S - 4]


def test_a_group_holds_its_shadows_of_every_member_and_is_padded_to_whole_blocks():
    shadows, real = group_of([member(0.5), member(0.25)], PLAN, 1, 2)
    assert real == 2
    assert shadows.ids.tolist() == [4, 5, 4, 5, 5, 5]  # two devices of width 3
    assert shadows.hyper.lr.tolist() == [0.5, 0.5, 0.25, 0.25, 0.25, 0.25]
    assert shadows.hyper.lr.dtype == np.float32
    np.testing.assert_array_equal(shadows.rows[0], ROWS[0][shadows.ids])
    np.testing.assert_array_equal(shadows.rows[1], MASK[shadows.ids])


def test_padding_is_taken_off_again():
    tree = {"a": np.arange(3), "b": np.arange(6).reshape(3, 2)}
    padded = repeat_last(tree, 5)
    assert padded["a"].tolist() == [0, 1, 2, 2, 2]
    assert padded["b"][3:].tolist() == [[4, 5], [4, 5]]
    np.testing.assert_array_equal(first_rows(padded, 3)["b"], tree["b"])
