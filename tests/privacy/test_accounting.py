"""The accountant against closed forms, slow sums and integrals."""

import math

import numpy as np
import pytest
from scipy import optimize
from scipy.special import logsumexp
from scipy.stats import norm

from jaxsnn_mia.privacy import accounting

DELTA = 1e-5


def gaussian_delta(eps, noise):
    """Of the Gaussian mechanism, sensitivity 1. Balle and Wang 2018 (arXiv 1805.06530), theorem 8."""
    return norm.cdf(0.5 / noise - eps * noise) - math.exp(eps) * norm.cdf(-0.5 / noise - eps * noise)


def sampled_delta(eps, noise, rate, remove):
    """Of one sum of rows chosen with `rate`, noise N(0, s^2): the larger of P - e^eps Q over all sets, where one side
    is a mixture of N(1, s^2) with share `rate`. The loss grows with x, so that the set is a half line."""
    if remove:
        level = math.exp(eps)
        x = noise**2 * math.log((level - 1 + rate) / rate) + 0.5 if level > 1 - rate else -math.inf
        inside, outside = norm.sf(x, 1, noise), norm.sf(x, 0, noise)
        return rate * inside + (1 - rate) * outside - level * outside
    if math.exp(-eps) <= 1 - rate:
        return 0.0
    x = noise**2 * math.log((math.exp(-eps) - 1 + rate) / rate) + 0.5
    inside, outside = norm.cdf(x, 1, noise), norm.cdf(x, 0, noise)
    return outside - math.exp(eps) * (rate * inside + (1 - rate) * outside)


def two_steps_delta(eps, noise, rate, remove):
    """Of two such sums, by a midpoint sum over both outcomes. Losses add, so the sum over the second one is a tail."""
    x, width = np.linspace(-9 * noise, 1 + 9 * noise, 6001, retstep=True)
    outside, inside = norm.logpdf(x, 0, noise), norm.logpdf(x, 1, noise)
    mixed = np.logaddexp(math.log(rate) + inside, math.log1p(-rate) + outside)
    p, q = (mixed, outside) if remove else (outside, mixed)
    loss, p, q = p - q, np.exp(p), np.exp(q)
    order = np.argsort(loss)
    tail_p, tail_q = (np.append(np.cumsum(side[order][::-1])[::-1], 0.0) for side in (p, q))
    beyond = np.searchsorted(loss[order], eps - loss, side="right")
    return float(p @ tail_p[beyond] - math.exp(eps) * (q @ tail_q[beyond])) * width**2


@pytest.mark.parametrize("noise", [0.7, pytest.param(1.0, marks=pytest.mark.long), 3.0])
def test_one_step_of_all_rows_is_the_gaussian_mechanism(noise):
    exact = optimize.brentq(lambda eps: gaussian_delta(eps, noise) - DELTA, 0, 50, xtol=1e-12)
    assert exact - 1e-9 <= accounting.epsilon(noise, 1.0, 1, DELTA) <= exact + 1e-3


def test_steps_of_all_rows_are_one_with_less_noise():
    many, one = accounting.epsilon(6.0, 1.0, 36, DELTA), accounting.epsilon(1.0, 1.0, 1, DELTA)
    assert many == pytest.approx(one, abs=2e-3)


@pytest.mark.parametrize(
    ("noise", "rate"), [(0.6, 0.1), *(pytest.param(*c, marks=pytest.mark.long) for c in ((1.0, 0.3), (2.0, 0.5)))]
)
@pytest.mark.parametrize(("steps", "delta_of"), [(1, sampled_delta), (2, two_steps_delta)])
def test_sampled_steps_agree_with_closed_forms_and_integrals(noise, rate, steps, delta_of):
    eps = accounting.epsilon(noise, rate, steps, DELTA)
    worst = max(delta_of(eps, noise, rate, remove) for remove in (True, False))
    assert worst <= DELTA * (1 + 1e-6)  # never too small
    assert max(delta_of(eps - 3e-3, noise, rate, remove) for remove in (True, False)) > DELTA


def renyi_bounds(noise, rate, steps, delta):
    """Epsilons by Renyi divergences of whole orders (Mironov et al. 2019, arXiv 1908.10530, eq. 30), turned
    into (epsilon, delta) by Mironov 2017 (arXiv 1702.07476), proposition 3."""
    for order in range(2, 65):
        k = np.arange(order + 1)
        log_choose = np.array([math.log(math.comb(order, i)) for i in k])
        terms = log_choose + (order - k) * math.log1p(-rate) + k * math.log(rate) + k * (k - 1) / (2 * noise**2)
        yield steps * logsumexp(terms) / (order - 1) + math.log(1 / delta) / (order - 1)


def test_the_known_number_of_mnist():
    """60 epochs of 60000 rows in batches of 256: 3.0 for noise 1.1 and 2.92 for 1.12 are what tutorials of TensorFlow
    Privacy give, by Renyi divergences."""
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
    from dp_accounting.rdp import RdpAccountant

    rate, steps = 256 / 60000, 60 * 60000 // 256
    assert min(renyi_bounds(1.1, rate, steps, DELTA)) == pytest.approx(3.0, abs=0.02)
    assert min(renyi_bounds(1.12, rate, steps, DELTA)) == pytest.approx(2.92, abs=0.005)
    event = SelfComposedDpEvent(PoissonSampledDpEvent(rate, GaussianDpEvent(1.1)), steps)
    renyi = RdpAccountant().compose(event).get_epsilon(DELTA)
    ours = accounting.epsilon(1.1, rate, steps, DELTA)
    assert 2.3 < ours < renyi < 2.7
    assert ours == pytest.approx(2.38, abs=0.01)


def test_coarse_steps_of_large_epsilons_are_bounds_too():
    exact = optimize.brentq(lambda eps: math.log(gaussian_delta(eps, 0.1) / DELTA), 50, 150, xtol=1e-9)
    assert exact <= accounting.epsilon(1.0, 1.0, 100, DELTA) <= 1.001 * exact
    assert accounting.epsilon(0.05, 0.5, 1000, DELTA) < 1e6
    assert accounting.epsilon(0.0, 0.1, 10, DELTA) == math.inf


@pytest.mark.parametrize(
    ("target", "rate", "steps"),
    [(8.0, 1.0, 5), *[pytest.param(*case, marks=pytest.mark.long) for case in ((0.3, 0.05, 200), (2.0, 0.1, 800))]],
)
def test_the_noise_of_a_target_inverts_epsilon(target, rate, steps):
    noise = accounting.noise_for(target, rate, steps, DELTA)
    assert accounting.epsilon(float(np.float32(noise)), rate, steps, DELTA) <= target
    assert accounting.epsilon(noise * (1 - 2e-4), rate, steps, DELTA) > target


def test_a_target_that_no_noise_reaches_is_refused():
    with pytest.raises(ValueError, match=r"`train\.dp_epsilon` must be larger, got 1e-09"):
        accounting.noise_for(1e-9, 0.1, 1000, DELTA)


def slow_tail(limit, rate, rows):
    return math.fsum(math.comb(rows, k) * rate**k * (1 - rate) ** (rows - k) for k in range(limit + 1, rows + 1))


@pytest.mark.parametrize(
    ("rate", "rows", "steps", "most"), [(0.1, 200, 50, 1e-14), (0.5, 31, 7, 1e-3), (0.9, 40, 9, 0.01)]
)
def test_capacity_is_the_least_that_rarely_overflows(rate, rows, steps, most):
    room = accounting.capacity(rate, rows, steps, most)
    assert steps * slow_tail(room, rate, rows) <= most < steps * slow_tail(room - 1, rate, rows)
    assert accounting.overflow(room, rate, rows, steps) == pytest.approx(steps * slow_tail(room, rate, rows), rel=1e-9)


def test_capacity_never_passes_the_rows():
    assert accounting.capacity(1.0, 40, 10, 1e-14) == 40
    assert accounting.overflow(40, 1.0, 40, 10) == 0
    assert accounting.overflow(39, 1.0, 40, 10) == 1


def test_overflow_is_paid_for_on_both_neighbours():
    args = (1.0, 0.1, 50, DELTA)
    free = accounting.epsilon(*args)
    assert accounting.epsilon(*args, beta=1e-14) == accounting.epsilon(1.0, 0.1, 50, 0.99 * DELTA) > free
    dear = 0.01 * DELTA / (1 + math.exp(free + 0.01))  # what the spare part of delta is enough for
    assert accounting.epsilon(*args, beta=dear) < math.inf
    assert accounting.epsilon(*args, beta=dear * math.exp(0.02)) == math.inf


@pytest.mark.long
def test_a_plan_is_of_public_numbers_and_a_neighbour_more():
    p = accounting.plan(30, 101, 101, 4, 5, delta=1e-3, noise=1.3)
    assert p.steps == 20
    assert 30 / 101 <= p.rate < 30 / 101 + 2**-23
    assert float(np.float32(p.rate)) == p.rate
    assert p.capacity == accounting.capacity(p.rate, 102, 20, accounting.RARE * 1e-3)
    beta = accounting.overflow(p.capacity, p.rate, 102, 20)
    spent = accounting.epsilon(p.noise, p.rate, 20, 0.99e-3)
    assert p.epsilon == spent
    assert (1 + math.exp(spent)) * beta <= 1e-5
    for target in (2.0, accounting.LARGEST):
        assert 0.998 * target < accounting.plan(30, 101, 101, 4, 5, delta=1e-3, target=target).epsilon <= target
    assert accounting.plan(101, 101, 101, 1, 5, delta=1e-3, noise=9.0).capacity == 102
    with pytest.raises(ValueError, match=r"`train\.dp_delta` must be in \(0, 1 / 101\), .* got 0\.01"):
        accounting.plan(30, 101, 101, 4, 5, delta=0.01, noise=1.3)
