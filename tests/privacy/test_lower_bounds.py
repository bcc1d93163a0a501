from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binom, norm

from jaxsnn_mia.privacy import lower_bounds

RUNS = 1000


def allowed(alpha):
    """The largest share of wrong bounds in RUNS runs that a bound of level alpha explains."""
    return alpha + 3 * np.sqrt(alpha * (1 - alpha) / RUNS)


def right(eps, delta=0.0):
    """How often a mechanism is right that reveals the bit with probability delta, else answers at random with eps."""
    return delta + (1 - delta) / (1 + np.exp(-eps))


def wrong_bounds(bound, truth, probability_v):
    """The exact probability that a bound on the count v lies above the truth."""
    return sum(p for v, p in enumerate(probability_v) if p > 1e-12 and bound(v) > truth)


def p_value(m, r, v, eps, delta):
    """Steinke et al.'s p-value of v right guesses, as a loop."""
    q = right(eps)
    between = [binom.cdf(v - 1, r, q) - binom.cdf(v - i - 1, r, q) for i in range(1, v + 1)]
    return binom.sf(v - 1, r, q) + 2 * m * delta * max([p / i for i, p in enumerate(between, 1)], default=0.0)


def test_the_clopper_pearson_number():
    assert lower_bounds.epsilon_clopper_pearson(500, 0, 0, 500, alpha=0.01) == pytest.approx(4.5419, abs=5e-5)


@pytest.mark.parametrize(
    ("mu", "delta", "eps"),
    [(1, 1e-5, 4.37718), (1, 1e-6, 4.88655), (1, 0.05, 1.56888), (2, 1e-5, 9.99726), (0.5, 1e-5, 1.99309)],
)
def test_the_gaussian_numbers(mu, delta, eps):
    assert lower_bounds.gdp_epsilon(mu, delta) == pytest.approx(eps, abs=5e-6)


@pytest.mark.parametrize(("v", "delta", "eps"), [(1000, 0, 5.80907), (900, 0, 2.02123), (900, 1e-5, 2.02065)])
def test_the_one_run_numbers(v, delta, eps):
    assert lower_bounds.epsilon_one_run(1000, 1000, v, delta=delta) == pytest.approx(eps, abs=5e-6)
    assert lower_bounds.epsilon_one_run(1000, 1000, 500, delta=delta) == 0


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


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 120), st.integers(0, 120), st.integers(0, 120), st.sampled_from([0.0, 1e-4, 1e-2]))
def test_the_one_run_bound_is_where_the_p_value_reaches_beta(m, r, v, delta):
    r = min(r, m)
    v = min(v, r)
    eps = lower_bounds.epsilon_one_run(m, r, v, delta=delta)
    p = [p_value(m, r, v, e, delta) for e in np.linspace(0, eps, 9)]
    assert (np.diff(p) > -1e-12).all()  # one edge, so that the bound is the lower end of what is not refuted
    assert p[-1] == pytest.approx(0.05) if eps else p[0] > 0.05


counts = st.tuples(*[st.integers(0, 80)] * 4)


@settings(deadline=None, max_examples=60)
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


@settings(deadline=None, max_examples=60)
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


@pytest.mark.parametrize(("eps", "delta"), [(0.5, 0.0), (1.0, 1e-5), (2.0, 0.01)])
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

    found = minimize(
        lambda p: -p[v:].sum(),
        binom.pmf(i, r, 0.5),
        bounds=[(0, 1)] * (r + 1),
        constraints=[{"type": "eq", "fun": lambda p: p.sum() - 1}, {"type": "ineq", "fun": slack}],
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert found.success
    largest = lower_bounds.edge(lambda beta: beta < 1 and not lower_bounds.gdp_refuted(mu, m, r, v, beta))
    assert largest == pytest.approx(-found.fun, abs=1e-5)


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


@pytest.mark.parametrize("mu", [0.2, 1.0, 2.0])
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


@pytest.mark.parametrize("share", [0.04, 0.1, 0.3])
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
