"""With nothing leaked every attack is at .5, also at few shadows, where plain leave-one-out is biased."""

import numpy as np
import pytest

from jaxsnn_mia import attacks, metrics
from jaxsnn_mia.attacks import lira
from tests.attacks import planted

N = 20_000
# of the others, which need inputs, labels or networks, the null cases stand beside their own tests
POSSIBLE = [name for name, attack in attacks.ATTACKS.items()
            if set(attack.needs) <= {"phi", "logp", "keep", "phi_population", "logp_population"}]  # fmt: skip


@pytest.mark.parametrize("S", [8, 16])
@pytest.mark.parametrize("name", POSSIBLE)
def test_without_a_leak_the_auc_is_one_half(name, S):
    keep = planted.pairs(S, N)
    phi = planted.phi(keep)
    arrays = {
        "phi": phi,
        "phi_population": planted.phi(np.zeros((S, 500), bool), seed=3),
        "logp": planted.logp(phi),
        "logp_population": planted.logp(planted.phi(np.zeros((S, 500), bool), seed=3)),
        "keep": keep,
    }
    attack = attacks.ATTACKS[name]
    options = {"partner_s": np.arange(S) ^ 1} if "keep" in attack.needs else {}
    scores = attack.fn(*[arrays[need] for need in attack.needs], **options)
    # standard error of a mean AUC over S targets of N/2 + N/2 examples: at most 1 / sqrt(6 N / 2 S)
    assert abs(metrics.auc(scores, keep) - 0.5) < 3 / np.sqrt(3 * N * S / 2)


@pytest.mark.parametrize("S", [8, 16])
@pytest.mark.parametrize("variance", ["pooled", "per_example", "shrinkage", "fixed"])
@pytest.mark.parametrize("partnered", [True, False])
def test_every_variance_and_both_ways_to_leave_out_are_unbiased(S, variance, partnered):
    keep = planted.pairs(S, N)
    partner_s = np.arange(S) ^ 1 if partnered else None
    score = lira.score(planted.phi(keep), keep, partner_s=partner_s, variance=variance)
    assert abs(metrics.auc(score, keep) - 0.5) < 3 / np.sqrt(3 * N * S / 2)


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
