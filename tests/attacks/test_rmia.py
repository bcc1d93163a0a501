import numpy as np
import pytest

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import rmia
from tests.attacks import loops, planted

KEEP = planted.pairs(8, 30)
LOGP = planted.logp(planted.phi(KEEP, A=2, leak=1.0))
POPULATION = planted.logp(planted.phi(np.zeros((8, 40), bool), A=2, seed=3))
PARTNERS = np.arange(8) ^ 1


@pytest.mark.parametrize("mode", rmia.MODES)
@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_the_ecdf_equals_the_pair_matrix(mode, gamma):
    got = rmia.score(LOGP, KEEP, POPULATION, partner_s=PARTNERS, mode=mode, gamma=gamma)
    np.testing.assert_allclose(got, loops.rmia(LOGP, KEEP, POPULATION, mode, gamma), rtol=1e-5, atol=1e-6)


def test_with_one_query_the_ranking_is_that_of_the_ratio():
    got = rmia.score(LOGP[..., :1], KEEP, POPULATION[..., :1], partner_s=PARTNERS)
    p = np.exp(LOGP[..., 0].astype(np.float64))
    for s in range(8):
        mean_out = [np.mean(loops.sides(p[:, n], KEEP[:, n], s, s ^ 1)[1]) for n in range(30)]
        ratio = p[s] / (1.3 * np.array(mean_out) + 0.7)
        np.testing.assert_array_equal(np.argsort(got[s]), np.argsort(ratio))


def test_a_planted_leak_is_found():
    keep = planted.pairs(32, 400)
    population = planted.logp(planted.phi(np.zeros((32, 200), bool), seed=3))
    score = rmia.score(planted.logp(planted.phi(keep, leak=1.0)), keep, population, partner_s=np.arange(32) ^ 1)
    assert metrics.auc(score, keep) > 0.68


def test_separate_targets_are_compared_with_all_references():
    targets, z = LOGP[:2] - 0.1, POPULATION[:2] - 0.1
    got = rmia.score(LOGP, KEEP, POPULATION, target_logp_kna=targets, target_logp_kza=z)
    p_out = np.where(~KEEP[..., None], np.exp(LOGP.astype(np.float64)), np.nan)
    r_x = np.exp(targets) / ((1.3 * np.nanmean(p_out, 0) + 0.7) / 2)
    r_z = np.exp(z) / ((1.3 * np.exp(POPULATION.astype(np.float64)).mean(0) + 0.7) / 2)
    wins = (r_x[:, :, None] >= 2 * r_z[:, None]).sum(2)
    tie = 0.5 + 0.5 * np.log(r_x) / (1 + np.abs(np.log(r_x)))
    np.testing.assert_allclose(got, ((wins + tie) / 41).mean(-1), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logp_sza": POPULATION[:, :0]}, "needs a population slice"),
        ({"logp_sza": POPULATION[:4]}, r"must be \[8, Z, 2\]"),
        ({"gamma": 0.5}, "gamma >= 1"),
        ({"a": 1.5}, "0 <= a <= 1"),
        ({"mode": "on"}, "'on'"),
        ({"target_logp_kna": LOGP}, "go together"),
    ],
)
def test_bad_arguments_are_refused_with_the_reason(change, message):
    with pytest.raises(ValueError, match=message):
        rmia.score(**{"logp_sna": LOGP, "keep_sn": KEEP, "logp_sza": POPULATION, "partner_s": PARTNERS, **change})
