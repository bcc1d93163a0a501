"""Values of seeds from rows."""

import pytest

from experiments.study import series
from tests.experiments.study import planted


def test_rows_that_differ_in_more_than_asked_are_refused():
    rows = [planted.row("iris", 0, 0.5, family="ann"), planted.row("iris", 0, 0.6, family="snn")]
    assert series.by_seed(rows, "auc", "lira", family="snn") == {0: 0.6}
    with pytest.raises(ValueError, match=r"seed 0 has 0\.5 and 0\.6"):
        series.by_seed(rows, "auc", "lira")
