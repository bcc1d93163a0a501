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
    lira.score(phi, KEEP, variance="pooled", **PAIRS)
    (said,) = [record.message for record in caplog.records]
    assert said.startswith("the confidences of example 7 are extreme: it would make up 100 % of the variance")
    caplog.clear()
    lira.score(PHI, KEEP, variance="pooled", **PAIRS)
    assert not caplog.records
    for some in (PHI, planted.uneven(KEEP, differ=1.0)):  # some examples vary ten times as much as others
        against = references.prepare(some, KEEP, "phi_sna", valid_s=None, **PAIRS)
        for about in ("own", "all"):
            np.testing.assert_array_equal(references.weights(against, about), 1.0)


def test_no_example_counts_for_more_than_its_share():
    rng = np.random.default_rng(0)
    for huge in ([1e60], [1e9, 1e12], [300.0, 1e30, 50.0]):
        square_n = np.r_[rng.chisquare(8, 100), huge]
        capped_n = np.minimum(square_n, references.cap(square_n))
        assert capped_n.max() == pytest.approx(0.2 * capped_n.sum())  # and no lower than it must be
        assert (capped_n[:100] == square_n[:100]).all()
    for fine in (rng.chisquare(8, 100), np.ones(4), np.r_[np.zeros(99), 1.0], np.zeros(50)):
        assert references.cap(fine) == np.inf
    assert references.cap(np.r_[np.ones(39), 1e9]) == pytest.approx(39.0)  # of few examples one may be a half
