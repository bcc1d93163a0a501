"""One example with extreme confidences does not rule the scores of the others: whoever is audited could plant it."""

import numpy as np
import pytest

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import lira, references
from jaxsnn_mia.attacks.lira import bavaria, multivariate
from tests.attacks import planted

ATTACKS = {
    "lira": lira.score,
    "lira_offline": lambda *args, **pairs: lira.score(*args, mode="offline", **pairs),
    "pooled": lambda *args, **pairs: lira.score(*args, variance="pooled", **pairs),
    "shrinkage": lambda *args, **pairs: lira.score(*args, variance="shrinkage", **pairs),
    "per_example": lambda *args, **pairs: lira.score(*args, variance="per_example", **pairs),
    "median": lambda *args, **pairs: lira.score(*args, location="median", **pairs),
    "bavaria": bavaria.score,
    "multivariate": multivariate.score,
}
KEEP = planted.pairs(16, 120)
PHI = planted.phi(KEEP, leak=1.0)
PAIRS = {"partner_s": np.arange(16) ^ 1}
MOST = 0.02  # of AUC, by one of 120 examples


def without_first(score, phi):
    """The AUC over all examples but the first."""
    return metrics.auc(score(phi, KEEP, **PAIRS)[:, 1:], KEEP[:, 1:])


BY_DEFAULT = ("lira", "shrinkage", "bavaria")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in BY_DEFAULT else pytest.mark.long) for n in ATTACKS])
def test_the_others_are_found_as_before(name):
    score, clean = ATTACKS[name], without_first(ATTACKS[name], PHI)
    assert clean > 0.65
    for where in (KEEP[:, 0], np.arange(16) == 3):  # in all members, or in one model
        for value in (1e4, -1e10, 1e30):
            phi = PHI.copy()
            phi[where, 0] = value
            assert abs(without_first(score, phi) - clean) < MOST


def test_the_example_is_named_and_ordinary_values_are_left_alone(caplog):
    phi = PHI.copy()
    phi[KEEP[:, 7], 7] = 1e10
    phi[2, 5] = -1e4
    lira.score(phi, KEEP, variance="pooled", **PAIRS)
    (said,) = [record.message for record in caplog.records]
    assert said.startswith("`phi_sna` of example 7 is extreme in 8 of 16 models")
    assert "and 1 more examples are" in said
    caplog.clear()
    lira.score(PHI, KEEP, variance="pooled", **PAIRS)
    assert not caplog.records
    low, high = references.bounds(PHI, np.ones(16, bool))
    assert low < PHI.min() - 10
    assert high > PHI.max() + 10


def test_values_that_are_nearly_all_equal_have_no_bounds():
    phi = np.zeros_like(PHI)
    phi[0, 0] = 5.0
    assert references.bounds(phi, np.ones(16, bool)) == (-np.inf, np.inf)
