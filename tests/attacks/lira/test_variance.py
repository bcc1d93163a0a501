import numpy as np
import pytest
import scipy.special

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import lira
from jaxsnn_mia.attacks.lira import likelihood_ratio
from jaxsnn_mia.attacks.lira import variance as spread
from tests.attacks import loops, planted
from tests.attacks.lira.cases import KEEP, PARTNERS, SETTINGS, given

SIZES = {8: 16_384, 16: 4096, 64: 1000, 256: 500}  # examples of simulations; with 8 shadows those of test_null
LONG = pytest.mark.long


def test_the_loop_of_the_shrunk_variances_meets_every_case():
    strengths = []
    for name in SETTINGS:
        setting, phi, targets = given(name)
        loops.each(loops.lira_shrinkage("online", strengths=strengths), phi, setting, targets)
    shared, own = np.array(strengths).T
    assert ((shared > 0.5) & (shared < 10)).any()
    assert (own < 10).any()
    assert (own == loops.ALIKE).any()


def test_the_strength_of_shrinkage_is_read_off_a_sample(monkeypatch):
    phi = planted.uneven(KEEP, A=2, differ=0.8, inside=0.6)
    monkeypatch.setattr(likelihood_ratio, "SAMPLE", phi.size // 3)
    everyone = np.ones(12, bool)
    setting = planted.Setting(KEEP, np.broadcast_to(PARTNERS[:, None], KEEP.shape), everyone, everyone, PARTNERS)
    got = lira.score(phi, KEEP, partner_s=PARTNERS, variance="shrinkage")
    want = loops.each(loops.lira_shrinkage("online", step=3), phi, setting)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)
    monkeypatch.undo()
    assert np.abs(got - lira.score(phi, KEEP, partner_s=PARTNERS, variance="shrinkage")).max() > 0.01


def test_the_inverse_of_trigamma():
    y = np.logspace(-5, 2.5, 40)
    np.testing.assert_allclose(scipy.special.polygamma(1, spread.trigamma_inverse(y)), y, rtol=1e-8)
    assert (spread.trigamma_inverse(np.array([-1.0, 0.0])) > 0.99 * spread.MOST_FREEDOM).all()


def test_planted_degrees_of_freedom_are_found():
    """Variances of examples as 8 / chi2(8), of 7 models on each side."""
    rng = np.random.default_rng(0)
    spread_n1 = 8 / rng.chisquare(8, (20_000, 1))
    ones = np.ones((1, 20_000, 1))
    sides = [(7 * ones, 0 * ones, (spread_n1 * rng.chisquare(6, (20_000, 1)))[None]) for _ in range(2)]
    pools = [spread.Pool(np.full((1, 1, 1), 8 / 6), None)] * 2
    shared, own = spread.prior(sides, pools)
    assert shared.item() == pytest.approx(8, rel=0.1)
    assert own.item() > 100  # no side has a deviation of its own


def aucs(phi, keep):
    partner = np.arange(len(keep)) ^ 1
    variances = ("shrinkage", "pooled", "per_example")
    return [metrics.auc(lira.score(phi, keep, partner_s=partner, variance=v), keep) for v in variances]


@pytest.mark.parametrize("inside", [1.0, 0.7])
@pytest.mark.parametrize("S", [8, *[pytest.param(S, marks=LONG) for S in (16, 64, 256)]])
def test_shrinkage_loses_to_no_other_variance_where_examples_differ(S, inside):
    keep = planted.pairs(S, SIZES[S])
    seeds = range(1 if S == 8 else 2)
    shrunk, pooled, own = np.mean([aucs(planted.uneven(keep, inside=inside, seed=s), keep) for s in seeds], 0)
    assert shrunk >= max(pooled, own) - 0.001
    if S in (16, 64):  # with fewer it is almost the pooled variance, with more almost each example's own
        assert shrunk > max(pooled, own)


@pytest.mark.parametrize(("S", "step"), [(8, 0.25), (8, 1.0), pytest.param(16, 1.0, marks=LONG)])
def test_shrinkage_loses_to_no_other_variance_where_logits_come_in_steps(S, step):
    """Models that agree exactly have no log variance: counted as one of -69, a few of them undo the shrinkage."""
    keep = planted.pairs(S, SIZES[S])
    phi = np.round(planted.uneven(keep, differ=0.0) / step) * step
    shrunk, pooled, own = aucs(phi.astype(np.float32), keep)
    assert shrunk >= max(pooled, own) - 0.001
