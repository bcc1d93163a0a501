"""Many curves are several figures."""

from jaxsnn_mia.report import figures


def test_many_curves_are_several_figures():
    assert [len(part) for part in figures.in_several(dict.fromkeys(range(16)))] == [7, 7, 2]
    assert figures.in_several({}) == []
