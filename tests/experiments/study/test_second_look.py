"""The second look: its mean over data sets, what stopping early gives, and that the committed page is of the rows."""

import numpy as np
import pytest

from experiments.study import second_look, sheet


def test_equal_data_sets_have_the_mean_and_no_variance_between():
    t = second_look.together([0.1, 0.1, 0.1], [0.02, 0.02, 0.02])
    assert t == pytest.approx((0.1, 0.1, 0.1, 0.1, 0.1))


def test_the_mean_over_data_sets_by_hand():
    """Errors so small that only the variance between counts: the mean of 0, .1, .2 with sd .1, t of 2 and of 1."""
    t = second_look.together([0.0, 0.1, 0.2], [1e-6] * 3)
    assert t.mean == pytest.approx(0.1)
    assert t.high - t.mean == pytest.approx(4.30265 * 0.1 / 3**0.5, rel=1e-4)
    assert t.predicted_high - t.mean == pytest.approx(12.7062 * np.hypot(0.1, 0.1 / 3**0.5), rel=1e-4)
    assert t.mean - t.low == pytest.approx(t.high - t.mean)


def test_a_precise_data_set_counts_more_where_they_agree():
    t = second_look.together([0.0, 0.0, 0.03], [0.01, 0.01, 0.1])
    assert t.mean == pytest.approx(0.03 * 100 / 20100)


@pytest.mark.long
def test_the_committed_page_is_made_of_the_committed_rows():
    assert "\n".join(second_look.page()) == (sheet.RESULTS / "second_look.md").read_text()
