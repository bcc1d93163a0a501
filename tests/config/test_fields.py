"""Ranges and choices of single settings."""

import dataclasses

import pytest

from jaxsnn_mia.config.fields import LISTS, check_fields, expected, holds, known
from jaxsnn_mia.settings import Config, Metrics, Range

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("limits", "words", "inside", "outside"),
    [
        (Range(above=0), "above 0", (1e-9, 5), (0, -1, NAN, INF)),
        (Range(least=1), "at least 1", (1, 1e30), (0.99, NAN, INF)),
        (Range(least=0, finite=True), "finite and at least 0", (0, 1e30), (INF, NAN, -1)),
        (Range(least=0, most=1), "in [0, 1]", (0, 1), (-0.1, 1.1)),
        (Range(least=0, below=1), "in [0, 1)", (0, 0.9), (1, -0.1)),
        (Range(above=0, most=1), "in (0, 1]", (0.1, 1), (0, 1.1)),
        (Range(above=0, below=1), "in (0, 1)", (0.1,), (0, 1)),
        (Range(least=6, even=True), "even and at least 6", (6, 8), (7, 4)),
        (Range(least=2, also=0), "0 or at least 2", (0, 2), (1, -2)),
        (Range(least=0, most=1, note="0 for never"), "in [0, 1], 0 for never", (0, 1), (2,)),
    ],
)
def test_a_range_is_said_as_it_is_held(limits, words, inside, outside):
    assert expected(limits) == words
    assert all(holds(limits, value) for value in inside)
    assert not any(holds(limits, value) for value in outside)


def test_every_default_is_one_of_its_own_choices_and_in_its_own_range():
    checked = 0
    for section in dataclasses.fields(Config):
        values = getattr(Config(), section.name)
        check_fields(values, section.name)
        checked += sum(bool(field.metadata) for field in dataclasses.fields(values))
    assert checked > 60


def test_every_list_that_a_setting_names_is_there_and_used():
    named = {
        field.metadata["choices"][0]
        for section in dataclasses.fields(Config)
        for field in dataclasses.fields(getattr(Config(), section.name))
        if len(field.metadata.get("choices", ())) == 1
    }
    assert named == set(LISTS)
    assert all(len(known((name,))) > 1 for name in named)


def test_each_number_of_a_tuple_is_checked():
    with pytest.raises(ValueError, match=r"`metrics\.fprs` must be in \(0, 1\), got 1"):
        check_fields(Metrics(fprs=(0.5, 1)), "metrics")
