"""With nothing leaked every attack is at .5, also at few shadows, where plain leave-one-out is biased."""

import numpy as np
import pytest

from jaxsnn_mia import attacks, metrics
from jaxsnn_mia.attacks import lira
from jaxsnn_mia.attacks.lira import likelihood_ratio, multivariate
from tests.attacks import planted

N = 16_384  # with 16 shadows the largest number of examples that is one block
PLANTED = {"phi", "logp", "keep", "phi_population", "logp_population"}  # other signals have null tests of their own
NAMES = [name for name, attack in attacks.ATTACKS.items() if set(attack.needs) <= PLANTED]
NAMES.remove("lira_multivariate")  # below, of several queries
SPREADS = {v: {"variance": v} for v in likelihood_ratio.VARIANCES[1:]} | {"lira_median": {"location": "median"}}
LONG = pytest.mark.long
# to compile, or a variance that is below too; small ones are equal to their loops, which leave the partner out
SLOW = ("lira_median", "attack_r", "bavaria_n", "bavaria_offline", "lira_shrinkage", "lira_shrinkage_offline")
SIZES = [8, pytest.param(16, marks=LONG)]  # shadows: with fewer, a bias is larger


def assert_is_at_one_half(scores, keep):
    # standard error of a mean AUC over S targets of N/2 + N/2 examples: at most 1 / sqrt(6 N / 2 S)
    assert abs(metrics.auc(scores, keep) - 0.5) < 3 / np.sqrt(3 * N * len(keep) / 2)


def test_every_kind_of_attack_is_among_them():
    assert {"loss", "attack_p", "lira", "lira_fixed", "lira_median", "rmia_tuned", "attack_r", "watson"} <= set(NAMES)


@pytest.mark.parametrize("name", [pytest.param(n, marks=LONG if n in SLOW else ()) for n in NAMES])
@pytest.mark.parametrize("S", SIZES)
def test_without_a_leak_the_auc_is_one_half(name, S):
    keep = planted.pairs(S, N)
    phi = planted.phi(keep)
    phi_population = planted.phi(np.zeros((S, 500), bool), seed=3)
    arrays = {
        "phi": phi,
        "phi_population": phi_population,
        "logp": planted.logp(phi),
        "logp_population": planted.logp(phi_population),
        "keep": keep,
    }
    attack = attacks.ATTACKS[name]
    options = {"partner_s": np.arange(S) ^ 1} if "keep" in attack.needs else {}
    assert_is_at_one_half(attack.fn(*[arrays[need] for need in attack.needs], **options), keep)


@pytest.mark.parametrize("name", [pytest.param(n, marks=LONG if n in SLOW else ()) for n in SPREADS])
@pytest.mark.parametrize("S", SIZES)
@pytest.mark.parametrize("partnered", [True, False])
def test_every_variance_and_both_ways_to_leave_out_are_unbiased(name, S, partnered):
    """Examples differ in spread."""
    keep = planted.pairs(S, N)
    partner_s = np.arange(S) ^ 1 if partnered else None
    score = lira.score(planted.uneven(keep, leak=0.0), keep, partner_s=partner_s, **SPREADS[name])
    assert_is_at_one_half(score, keep)


@pytest.mark.parametrize("S", SIZES)
def test_several_queries_at_once_are_unbiased(S):
    keep = planted.pairs(S, N // 4)
    mixed = planted.phi(keep, A=3) @ np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0.1]], np.float32)
    score = multivariate.score(mixed, keep, partner_s=np.arange(S) ^ 1)
    assert abs(metrics.auc(score, keep) - 0.5) < 3 / np.sqrt(3 * N / 4 * S / 2)


def test_leaving_out_the_target_alone_would_be_biased():
    """The measured reason for leaving out pairs: .434 at 8 shadows with per-example variances."""
    S = 8
    keep, scores = planted.pairs(S, N), []
    phi = planted.phi(keep)[..., 0].astype(np.float64)
    for s in range(S):
        rest = np.arange(S) != s
        inside = np.where(keep[rest], phi[rest], np.nan)
        outside = np.where(~keep[rest], phi[rest], np.nan)
        log_in, log_out = (
            -0.5 * ((phi[s] - np.nanmean(v, 0)) / np.nanstd(v, 0)) ** 2 - np.log(np.nanstd(v, 0))
            for v in (inside, outside)
        )
        scores.append(log_in - log_out)
    assert metrics.auc(np.array(scores), keep) == pytest.approx(0.434, abs=0.01)
