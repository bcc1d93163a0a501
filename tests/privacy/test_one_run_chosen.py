"""Bounds whose number of guesses is chosen on the same run: without a leak, with one, and the band by brute force."""

import itertools
from functools import cache, partial

import numpy as np
import pytest
from scipy.stats import binom

from jaxsnn_mia.privacy import lower_bounds, one_run
from tests.privacy.mechanisms import RUNS, allowed, right

M = 200


@cache
def memoised(kind, m, r, v, delta, beta):
    return kind(m, r, v, delta=delta, beta=beta)


def steinke(m, r, v, *, delta, beta):
    return memoised(lower_bounds.epsilon_one_run, m, r, v, delta, beta)


def gaussian(m, r, v, *, delta, beta):
    return memoised(lower_bounds.epsilon_one_run_fdp, m, r, v, delta, beta)[1]


BOUNDS = {
    "band": one_run.epsilon_band,
    "steinke": partial(one_run.epsilon_chosen, bound=steinke),
    "gaussian": partial(one_run.epsilon_chosen, delta=1e-5, bound=gaussian),
}


@pytest.mark.parametrize("name", ["band", *(pytest.param(n, marks=pytest.mark.long) for n in ("steinke", "gaussian"))])
def test_without_a_leak_a_bound_is_above_zero_in_at_most_one_of_twenty_runs(name):
    rights = np.random.default_rng(0).random((RUNS, M)) < 0.5
    above = np.mean([BOUNDS[name](M, right_k) > 0 for right_k in rights])
    assert above <= allowed(0.05)
    assert name != "band" or above > 0.03  # nothing is lost but the steps of a binomial


def test_the_best_number_without_a_correction_would_be_wrong_too_often():
    rights = np.random.default_rng(0).random((RUNS, M)) < 0.5
    tried, counts = one_run.numbers(M, M), np.cumsum(rights, axis=1)
    best = [max(steinke(M, int(r), int(v[r - 1]), delta=0.0, beta=0.05) for r in tried) for v in counts]
    assert np.mean(np.array(best) > 0) > 0.1


@pytest.mark.long
@pytest.mark.parametrize("eps", [1.0, 2.0])
@pytest.mark.parametrize("name", ["band", "steinke"])
def test_randomised_response_is_covered_and_found(name, eps):
    rights = np.random.default_rng(1).random((40, M)) < right(eps)
    bounds = np.array([BOUNDS[name](M, right_k) for right_k in rights])
    assert np.mean(bounds > eps) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)
    assert 0.6 * eps < bounds.mean() < eps


def test_who_is_sure_of_a_few_is_found_where_a_fixed_number_finds_little():
    """A twentieth of the canaries is told for certain, the others not at all."""
    rng = np.random.default_rng(2)
    member = rng.random(1000) < 0.5
    scores = rng.normal(size=1000)
    scores[:50] += np.where(member[:50], 9, -9)
    right_k = one_run.in_order(scores, member)
    assert right_k[:40].all()
    fixed = lower_bounds.epsilon_one_run(1000, 400, int(right_k[:400].sum()))
    assert one_run.epsilon_band(1000, right_k) > 2 > 2 * fixed
    assert one_run.epsilon_band(1000, right_k, delta=1e-5) <= one_run.epsilon_band(1000, right_k)
    assert one_run.epsilon_band(1000, right_k, delta=1e-4) == 0  # 2 m delta is more than beta


def test_the_order_is_of_the_surest_guesses_whatever_their_place():
    scores, member = np.array([0.1, 9.0, -5.0, 4.0, 0.2, -7.0]), np.array([1, 1, 0, 0, 1, 1], bool)
    np.testing.assert_array_equal(one_run.in_order(scores, member), [True, False, False, True, True, False])
    guesses = lower_bounds.one_run_guesses(scores, 4)
    assert one_run.in_order(scores, member)[:4].sum() == (guesses == np.where(member, 1, -1)).sum()
    with pytest.raises(ValueError, match=r"`member_n` must be bool \(6,\), got int64"):
        one_run.in_order(scores, member.astype(int))


@pytest.mark.parametrize("q", [0.5, 0.7])
def test_the_band_is_that_of_all_sequences_of_guesses(q):
    tried, seen = np.array([2, 5, 9]), np.array([2, 4, 7])
    least = min(binom.sf(v - 1, r, q) for r, v in zip(tried, seen, strict=True))
    chance = 0.0
    for guesses in itertools.product((0, 1), repeat=9):
        counts = np.cumsum(guesses)
        if min(binom.sf(counts[r - 1] - 1, r, q) for r in tried) <= least * (1 + 1e-9):
            chance += q ** sum(guesses) * (1 - q) ** (9 - sum(guesses))
    assert one_run.band_p_value(tried, seen, q) == pytest.approx(chance)
