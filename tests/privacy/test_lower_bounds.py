"""Bounds from many trainings, and what all bounds refuse; `test_one_run` has those from one training."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from jaxsnn_mia.privacy import lower_bounds
from tests.privacy.mechanisms import RUNS, allowed, right, wrong_bounds


def test_the_clopper_pearson_number():
    assert lower_bounds.epsilon_clopper_pearson(500, 0, 0, 500, alpha=0.01) == pytest.approx(4.5419, abs=5e-5)


@pytest.mark.parametrize(
    ("mu", "delta", "eps"),
    [(1, 1e-5, 4.37718), (1, 1e-6, 4.88655), (1, 0.05, 1.56888), (2, 1e-5, 9.99726), (0.5, 1e-5, 1.99309)],
)
def test_the_gaussian_numbers(mu, delta, eps):
    assert lower_bounds.gdp_epsilon(mu, delta) == pytest.approx(eps, abs=5e-6)


def test_gaussian_epsilon_at_the_ends():
    assert lower_bounds.gdp_epsilon(0.0, 1e-5) == lower_bounds.gdp_epsilon(1e-6, 1e-5) == 0
    assert lower_bounds.gdp_epsilon(1.0, 2 * norm.cdf(0.5) - 1 + 1e-9) == 0  # the total variation
    eps = lower_bounds.gdp_epsilon(100.0, 1e-5)
    assert norm.cdf(50 - eps / 100) - np.exp(eps + norm.logcdf(-50 - eps / 100)) == pytest.approx(1e-5, rel=1e-6)


@pytest.mark.parametrize(("tp", "fn", "fp", "tn"), [(90, 10, 3, 77), (60, 40, 20, 80), (5, 0, 0, 9)])
def test_the_rates_are_those_under_which_the_counts_are_rare(tp, fn, fp, tn):
    tpr, fpr = lower_bounds.rate_bounds(tp, fn, fp, tn, 0.1)
    assert binom.sf(tp - 1, tp + fn, tpr) == pytest.approx(0.05)
    assert binom.cdf(fp, fp + tn, fpr) == pytest.approx(0.05)
    for delta in (0.0, 0.01):
        both = np.log((tpr - delta) / fpr), np.log((1 - fpr - delta) / (1 - tpr))
        got = lower_bounds.epsilon_clopper_pearson(tp, fn, fp, tn, delta=delta, alpha=0.1)
        assert got == pytest.approx(max(*both, 0))
        assert got == pytest.approx(lower_bounds.epsilon_clopper_pearson(tn, fp, fn, tp, delta=delta, alpha=0.1))
    mu = lower_bounds.gdp_mu_lower(tp, fn, fp, tn, alpha=0.1)
    assert mu == pytest.approx(max(0, norm.ppf(tpr) - norm.ppf(fpr)))
    assert lower_bounds.epsilon_gdp(tp, fn, fp, tn, delta=1e-5, alpha=0.1) == lower_bounds.gdp_epsilon(mu, 1e-5)


def test_no_evidence_is_no_epsilon():
    for counts in ((0, 0, 0, 0), (0, 9, 0, 9), (9, 0, 9, 0), (0, 9, 9, 0)):
        assert lower_bounds.epsilon_clopper_pearson(*counts) == lower_bounds.gdp_mu_lower(*counts) == 0
    for r, v in ((0, 0), (9, 0), (9, 4)):
        assert lower_bounds.epsilon_one_run(9, r, v, delta=1e-5) == 0
        assert lower_bounds.epsilon_one_run_fdp(9, r, v, delta=1e-5) == (0, 0)


counts = st.tuples(*[st.integers(0, 80)] * 4)


@settings(deadline=None, max_examples=40)
@given(counts, st.sampled_from([0.0, 1e-3, 0.1]))
def test_many_trainings_more_right_is_more_epsilon(counts, delta):
    tp, fn, fp, tn = counts
    for bound in (
        lambda *c, **kw: lower_bounds.epsilon_clopper_pearson(*c, delta=delta, **kw),
        lambda *c, **kw: lower_bounds.epsilon_gdp(*c, delta=max(delta, 1e-5), **kw),
    ):
        base = bound(tp, fn, fp, tn)
        assert bound(tp + 1, fn, fp, tn) >= base - 1e-9
        assert bound(tp, fn, fp, tn + 1) >= base - 1e-9
        assert bound(tp, fn + 1, fp, tn) <= base + 1e-9
        assert bound(tp, fn, fp + 1, tn) <= base + 1e-9
        assert bound(tp, fn, fp, tn, alpha=0.01) <= base + 1e-9
    assert lower_bounds.epsilon_clopper_pearson(*counts, delta=delta + 0.01) <= lower_bounds.epsilon_clopper_pearson(
        *counts, delta=delta
    )


@pytest.mark.parametrize(("eps", "delta"), [(0.5, 0.0), (1.0, 0.0), (2.0, 0.02)])
def test_epsilon_over_many_trainings_covers_randomised_response(eps, delta):
    rng, q = np.random.default_rng(0), right(eps, delta)
    tp, tn = rng.binomial(1000, q, RUNS), rng.binomial(1000, q, RUNS)
    bounds = [
        lower_bounds.epsilon_clopper_pearson(a, 1000 - a, 1000 - b, b, delta=delta, alpha=0.05)
        for a, b in zip(tp, tn, strict=True)
    ]
    assert np.mean(np.array(bounds) > eps) <= allowed(0.05)
    assert np.mean(bounds) > 0.6 * eps  # and says something
    few, exact = binom.pmf(np.arange(26), 25, q), 0.0
    for a in range(26):
        exact += few[a] * wrong_bounds(
            lambda b, a=a: lower_bounds.epsilon_clopper_pearson(a, 25 - a, 25 - b, b, delta=delta), eps, few
        )
    assert exact <= 0.05


@pytest.mark.parametrize("mu", [0.5, 2.0])
def test_mu_over_many_trainings_covers_the_gaussian_mechanism(mu):
    rng = np.random.default_rng(0)
    member = np.arange(2000) < 1000
    bounds = []
    for _ in range(RUNS):
        scores = rng.normal(size=2000) + mu * member
        bounds.append(lower_bounds.gdp_mu_lower(*lower_bounds.canary_counts(scores, member, mu / 2)))
    assert np.mean(np.array(bounds) > mu) <= allowed(0.05)
    assert np.mean(bounds) > 0.6 * mu  # and says something


def test_counts_of_one_canary():
    scores = np.array([0.1, 0.5, 0.7, 0.2, 0.5])
    member = np.array([True, True, True, False, False])
    assert lower_bounds.canary_counts(scores, member, 0.5) == (2, 1, 1, 1)


def test_pooled_scores_are_refused():
    scores, member = np.zeros((4, 9)), np.zeros((4, 9), bool)
    with pytest.raises(ValueError, match=r"one score per training.*\(4, 9\).*not independent trials"):
        lower_bounds.canary_counts(scores, member, 0.0)
    with pytest.raises(ValueError, match=r"one score per canary.*\(4, 9\)"):
        lower_bounds.one_run_guesses(scores, 2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: lower_bounds.epsilon_clopper_pearson(0.9, 1, 1, 9), "`tp` must be a whole number"),
        (lambda: lower_bounds.epsilon_clopper_pearson(9.0, 1, 1, 9), "`tp` must be a whole number"),
        (lambda: lower_bounds.epsilon_clopper_pearson(9, 1, -1, 9), "`fp` must be a whole number"),
        (lambda: lower_bounds.epsilon_clopper_pearson(9, True, 1, 9), "`fn` must be a whole number"),
        (lambda: lower_bounds.gdp_mu_lower(9, 1, 1, np.array([9, 9])), "`tn` must be a whole number"),
        (lambda: lower_bounds.epsilon_clopper_pearson(9, 1, 1, 9, delta=1.0), r"`delta` must be in \[0, 1\)"),
        (lambda: lower_bounds.epsilon_clopper_pearson(9, 1, 1, 9, alpha=0.0), r"`alpha` must be in \(0, 0.5\)"),
        (lambda: lower_bounds.epsilon_gdp(9, 1, 1, 9, delta=0.0), r"`delta` must be in \(0, 1\)"),
        (lambda: lower_bounds.gdp_epsilon(-1.0, 1e-5), "`mu` must be finite"),
        (lambda: lower_bounds.gdp_epsilon(np.nan, 1e-5), "`mu` must be finite"),
        (lambda: lower_bounds.epsilon_one_run(9, 10, 9), "`v` <= `r` <= `m`"),
        (lambda: lower_bounds.epsilon_one_run(9, 8, 9), "`v` <= `r` <= `m`"),
        (lambda: lower_bounds.epsilon_one_run(9, 9, 8.5), "`v` must be a whole number"),
        (lambda: lower_bounds.epsilon_one_run(9, 9, 9, beta=0.7), r"`beta` must be in \(0, 0.5\)"),
        (lambda: lower_bounds.epsilon_one_run_fdp(9, 9, 9, delta=0.0), r"`delta` must be in \(0, 1\)"),
        (lambda: lower_bounds.one_run_guesses([1.0, 2.0, 3.0], 3), "`n_guesses` must be even"),
        (lambda: lower_bounds.one_run_guesses([1.0, 2.0, 3.0], 4), "at most 3"),
        (lambda: lower_bounds.one_run_guesses([1.0, np.nan, 3.0], 2), "1 NaN"),
        (lambda: lower_bounds.canary_counts([1.0, 2.0], [1, 0], 1.5), "`member_r` must be bool"),
        (lambda: lower_bounds.canary_counts([1.0, 2.0], [True], 1.5), "`member_r` must be bool"),
        (lambda: lower_bounds.canary_counts([1.0, 2.0], [True, False], np.nan), "`threshold`"),
    ],
)
def test_refusals(call, says):
    with pytest.raises(ValueError, match=says):
        call()
