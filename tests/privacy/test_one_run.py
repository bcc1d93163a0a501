"""Bounds from one training of many canaries: against their definitions, an optimiser, and mechanisms that are known."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binom, norm

from jaxsnn_mia.privacy import lower_bounds
from tests.privacy.mechanisms import RUNS, allowed, p_value, right, wrong_bounds

LONG = pytest.mark.long


@pytest.mark.parametrize(("v", "delta", "eps"), [(1000, 0, 5.80907), (900, 0, 2.02123), (900, 1e-5, 2.02065)])
def test_the_one_run_numbers(v, delta, eps):
    assert lower_bounds.epsilon_one_run(1000, 1000, v, delta=delta) == pytest.approx(eps, abs=5e-6)
    assert lower_bounds.epsilon_one_run(1000, 1000, 500, delta=delta) == 0


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 80), st.integers(0, 80), st.integers(0, 80), st.sampled_from([0.0, 1e-4, 1e-2]))
def test_the_one_run_bound_is_where_the_p_value_reaches_beta(m, r, v, delta):
    r = min(r, m)
    v = min(v, r)
    eps = lower_bounds.epsilon_one_run(m, r, v, delta=delta)
    p = [p_value(m, r, v, e, delta) for e in np.linspace(0, eps, 6)]
    assert (np.diff(p) > -1e-12).all()  # one edge, so that the bound is the lower end of what is not refuted
    assert p[-1] == pytest.approx(0.05) if eps else p[0] > 0.05


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60))
def test_one_training_more_right_is_more_epsilon(m, r, v):
    r = min(r, m)
    v = min(v, r)
    for bound in (lower_bounds.epsilon_one_run, lambda *c, **kw: lower_bounds.epsilon_one_run_fdp(*c, **kw)[1]):
        base = bound(m, r, v, delta=1e-3)
        assert bound(m, r, v, delta=1e-2) <= base + 1e-9
        assert bound(m, r, v, delta=1e-3, beta=0.01) <= base + 1e-9
        assert v == r or bound(m, r, v + 1, delta=1e-3) >= base - 1e-9
        assert bound(m + 1, r + 1, v, delta=1e-3) <= base + 1e-9  # one more guess, wrong


@pytest.mark.parametrize(("eps", "delta"), [(0.5, 0.0), pytest.param(1.0, 1e-5, marks=LONG), (2.0, 0.01)])
def test_epsilon_of_one_training_covers_randomised_response(eps, delta):
    @cache
    def bound(v):
        return lower_bounds.epsilon_one_run(300, 300, v, delta=delta)

    drawn = np.random.default_rng(0).binomial(300, right(eps, delta), RUNS)
    assert np.mean([bound(v) > eps for v in drawn]) <= allowed(0.05)
    exact = wrong_bounds(bound, eps, binom.pmf(np.arange(301), 300, right(eps, delta)))
    assert exact <= 0.05
    assert delta or exact > 0.02  # tight: only the steps of a binomial are lost


@pytest.mark.parametrize(("mu", "m", "r", "v"), [(1.0, 4, 4, 4), (0.5, 4, 4, 3), (0.5, 8, 4, 3), (1.0, 6, 6, 5)])
def test_the_gaussian_recursion_is_the_optimum_of_the_convex_program(mu, m, r, v):
    """The largest tail under all constraints at once, by a general solver."""
    i = np.arange(r + 1)

    def slack(p):
        inside = np.clip([(p * i)[k:].sum() / m for k in range(1, r + 1)], 1e-300, 1 - 1e-12)
        outside = np.array([(p * (r - i))[k - 1 :].sum() / m for k in range(1, r + 1)])
        return outside - norm.cdf(norm.ppf(inside) - mu)

    best = minimize(
        lambda p: -p[v:].sum(),
        binom.pmf(i, r, 0.5),
        bounds=[(0, 1)] * (r + 1),
        constraints=[{"type": "eq", "fun": lambda p: p.sum() - 1}, {"type": "ineq", "fun": slack}],
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert best.success
    largest = lower_bounds.edge(lambda beta: beta < 1 and not lower_bounds.gdp_refuted(mu, m, r, v, beta))
    assert largest == pytest.approx(-best.fun, abs=1e-5)


def test_one_guess_on_one_canary_has_the_closed_form():
    for mu in (0.3, 1.0, 3.0):
        best = norm.cdf(mu / 2)  # accuracy of the best guess
        assert not lower_bounds.gdp_refuted(mu, 1, 1, 1, best - 1e-6)
        assert lower_bounds.gdp_refuted(mu, 1, 1, 1, best + 1e-6)


@cache
def fdp(m, r, v):
    return lower_bounds.epsilon_one_run_fdp(m, r, v, delta=1e-5)


@cache
def one_run(m, r, v):
    return lower_bounds.epsilon_one_run(m, r, v, delta=1e-5)


@pytest.mark.parametrize("mu", [0.2, pytest.param(1.0, marks=LONG), 2.0])
def test_mu_of_one_training_covers_the_gaussian_mechanism(mu):
    """m canaries, each with a noise of its own, with and without abstaining."""
    rng, m = np.random.default_rng(0), 200
    drawn = {40: [], m: []}
    for _ in range(RUNS):
        member = rng.random(m) < 0.5
        scores = rng.normal(size=m) + mu * member
        for r, v in drawn.items():
            v.append(int((lower_bounds.one_run_guesses(scores, r) == np.where(member, 1, -1)).sum()))
    for r, v in drawn.items():
        assert np.mean([fdp(m, r, n)[0] > mu for n in v]) <= allowed(0.05)
        if mu >= 1:  # next to no leak it may be the looser one
            assert np.mean([fdp(m, r, n)[1] for n in v]) > 1.3 * np.mean([one_run(m, r, n) for n in v])
    assert wrong_bounds(lambda v: fdp(m, m, v)[0], mu, binom.pmf(np.arange(m + 1), m, norm.cdf(mu / 2))) <= 0.05


@pytest.mark.parametrize("share", [pytest.param(0.04, marks=LONG), 0.1, pytest.param(0.3, marks=LONG)])
@pytest.mark.parametrize("accuracy", [0.7, 0.95])
def test_mu_of_one_training_covers_a_mechanism_that_leaks_in_few_runs(share, accuracy):
    """In a share of its runs all guesses are right with this accuracy, else they are coins: guesses are dependent, and
    counting them as independent trials is wrong too often. Its trade-off function is piecewise linear and touches the
    Gaussian one in its corner."""
    m = 500
    mu = norm.ppf(share * accuracy) - norm.ppf(share * (1 - accuracy))
    v = np.arange(m + 1)
    probability = share * binom.pmf(v, m, accuracy) + (1 - share) * binom.pmf(v, m, 0.5)
    assert wrong_bounds(lambda v: fdp(m, m, v)[0], mu, probability) <= 0.05
    naive = wrong_bounds(lambda v: 2 * norm.ppf(lower_bounds.rate_bounds(v, m - v, 0, 0, 0.1)[0]), mu, probability)
    assert naive > 0.05 or share < 0.05
    assert fdp(m, m, round(m * accuracy))[0] > 0.5 * mu


def test_the_one_run_bound_of_mu_stays_below_its_limit():
    for m, r, v in ((1000, 1000, 900), (20_000, 20_000, 18_000), (10_000, 2_000, 1_800)):
        limit = norm.ppf(0.05 * v / m) - norm.ppf(0.05 * (r - v) / m)
        assert 0.9 * limit < fdp(m, r, v)[0] < limit


def test_guesses_are_the_ends_of_the_order():
    np.testing.assert_array_equal(lower_bounds.one_run_guesses([5.0, 1.0, 3.0, 9.0, 2.0], 4), [1, -1, 0, 1, -1])
    np.testing.assert_array_equal(lower_bounds.one_run_guesses([5.0, 1.0, 3.0], 0), [0, 0, 0])
    guess = lower_bounds.one_run_guesses(np.random.default_rng(0).normal(size=10), 10)
    assert guess.dtype == np.int8
    assert guess.sum() == 0


def test_tied_guesses_do_not_follow_the_position():
    """Constant scores of canaries whose members all come last."""
    member = np.arange(1000) >= 500
    for r in (100, 1000):
        guess = lower_bounds.one_run_guesses(np.zeros(1000), r)
        assert np.abs(guess).sum() == r
        assert abs((guess == np.where(member, 1, -1)).sum() - r / 2) < 2 * np.sqrt(r)
