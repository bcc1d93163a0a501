"""Values of seeds from rows."""

import pytest

from experiments.study import series
from tests.experiments.study import planted


def test_rows_that_differ_in_more_than_asked_are_refused():
    rows = [planted.row("iris", 0, 0.5, family="ann"), planted.row("iris", 0, 0.6, family="snn")]
    assert series.by_seed(rows, "auc", "lira", family="snn") == {0: 0.6}
    with pytest.raises(ValueError, match=r"seed 0 has 0\.5 and 0\.6"):
        series.by_seed(rows, "auc", "lira")


def test_a_value_is_that_of_the_last_epoch():
    rows = [planted.row("iris", seed, 0.5 + epoch / 100, epoch=str(epoch)) for seed in (1, 0) for epoch in (3, 40, 8)]
    assert series.by_seed(rows, "auc", "lira") == {0: 0.9, 1: 0.9}
    assert list(series.by_seed(rows, "auc", "lira")) == [0, 1]
    assert series.less({0: 0.9, 1: 0.8}, {1: 0.5, 2: 0.1}) == pytest.approx([0.3])
    (curve,) = series.curves([r for r in with_accuracy(rows) if r["seed"] == "0"], "iris", "", "").values()
    assert curve["epoch"].tolist() == [3, 8, 40]
    assert curve["auc"].tolist() == [0.53, 0.58, 0.9]
    assert curve["test_accuracy"].tolist() == [0.03, 0.08, 0.4]


def with_accuracy(rows):
    for row in rows:
        yield row
        yield row | {"attack": "", "metric": "test_accuracy", "value": str(int(row["epoch"]) / 100)}
