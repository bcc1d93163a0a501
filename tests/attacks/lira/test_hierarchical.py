"""Hierarchical LiRA: its law for one example by a slow loop, without a leak, planted, broken on purpose, outliers."""

import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import lira
from jaxsnn_mia.attacks.lira import curve, hierarchical, likelihood_ratio, priors
from tests.attacks import loops, planted

N = 2048
LAWS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy": lambda rng, shape: rng.standard_t(3, size=shape),
    "steps": lambda rng, shape: np.round(rng.normal(size=shape)),
}


@pytest.mark.parametrize("S", [pytest.param(6, marks=pytest.mark.long), 8, pytest.param(16, marks=pytest.mark.long)])
@pytest.mark.parametrize("law", ["heavy", *[pytest.param(law, marks=pytest.mark.long) for law in ("normal", "steps")]])
@pytest.mark.parametrize("mode", likelihood_ratio.MODES)
def test_without_a_leak_the_auc_is_one_half(mode, law, S):
    keep, rng = planted.pairs(S, N), np.random.default_rng(11)
    phi = (2 + 2 * rng.normal(size=(1, N, 1)) + LAWS[law](rng, (S, N, 1))).astype(np.float32)
    score = lira.score(phi, keep, partner_s=np.arange(S) ^ 1, mode=mode)
    assert abs(metrics.auc(score, keep) - 0.5) < 3 / np.sqrt(3 * N * S / 2)


@pytest.mark.parametrize("S", [6, pytest.param(8, marks=pytest.mark.long)])
def test_a_prior_fitted_with_the_target_would_be_biased(S):
    """What the null test must notice: references among which the target and its partner stay."""
    keep, rng = planted.pairs(S, N), np.random.default_rng(11)
    phi = (2 + 2 * rng.normal(size=(1, N, 1)) + rng.normal(size=(S, N, 1))).astype(np.float32)
    score = lira.score(phi, keep, target_phi_kna=phi)
    assert metrics.auc(score, keep) > 0.55


@pytest.mark.parametrize("mode", likelihood_ratio.MODES)
def test_it_beats_the_shrunk_variances_with_few_models_on_a_planted_leak(mode):
    """Examples leak by how hard they are: the OUT mean tells how much."""
    keep, rng = planted.pairs(8, N), np.random.default_rng(5)
    hard = rng.normal(size=(1, N, 1))
    leak = np.log1p(np.exp(2 * hard)) * keep[..., None]
    phi = (3 - 2 * hard + leak + rng.normal(size=(8, N, 1))).astype(np.float32)
    partner = np.arange(8) ^ 1
    ours = metrics.auc(lira.score(phi, keep, partner_s=partner, mode=mode), keep)
    assert ours > metrics.auc(lira.score(phi, keep, partner_s=partner, mode=mode, variance="shrinkage"), keep) + 0.01


@pytest.mark.parametrize("mode", likelihood_ratio.MODES)
@pytest.mark.parametrize("name", ["pairs", *(pytest.param(n, marks=pytest.mark.long) for n in ("alone", "separate"))])
def test_is_the_slow_loop(name, mode):
    """Given the priors, each example by scipy from its own list of confidences."""
    setting = planted.settings(N=40)[name]
    rng = np.random.default_rng(3)
    phi = setting.diverged(planted.uneven(setting.keep, A=2))
    targets = rng.normal(size=(2, 40, 2)).astype(np.float32) if name == "separate" else None
    score = lira.score(phi, setting.keep, **setting.options, mode=mode, target_phi_kna=targets)
    expected = loop(phi, setting, mode, targets)
    np.testing.assert_allclose(score, expected, rtol=2e-5, atol=2e-5)


def loop(phi, setting, mode, targets):
    """The scores with the fitted priors of `priors.fit`, one target and example at a time."""
    N, folds = phi.shape[1], 1 if mode == "online" else 8
    out = np.full((len(phi) if targets is None else len(targets), N), np.nan)
    for fold in range(folds):
        own = np.arange(N) % folds == fold
        others = ~own if folds > 1 else own
        c = 3 * np.median(np.abs(phi[setting.usable][:, others].astype(np.float64)))

        def squash(x, c=c):
            return (c * np.tanh(np.asarray(x, np.float64) / c)).mean(-1, keepdims=True)

        z, z_targets = squash(np.nan_to_num(phi)), None if targets is None else squash(targets)
        for t, row in enumerate(loops.every_target(z, setting, z_targets)):
            if row is None:
                continue
            x, inside, outside = row
            sides = [moments(values) for values in (inside, outside)]
            fitted_on = [[y[:, others] for y in side] for side in sides]
            prior = priors.fit(*fitted_on, mode)
            floor = 1e-4 * sum(y[2].sum() for y in fitted_on) / sum((y[0] - 1).sum() for y in fitted_on)
            for n in np.flatnonzero(own):
                out[t, n] = one(x[n, 0], [tuple(y[0, n] for y in side) for side in sides], prior, floor, mode)
    return out


def moments(values):
    """(count, mean, sum of squares about it) [1, N] of lists of confidences [M, 1]."""
    squares = [((v - v.mean()) ** 2).sum() for v in values]
    return tuple(np.array([row], float) for row in ([len(v) for v in values], [v.mean() for v in values], squares))


def one(x, sides, prior, floor, mode):
    (n_in, m_in, q_in), (n_out, m_out, q_out) = sides
    u = (m_in + m_out) / 2 if mode == "online" else m_out
    knots = prior.knots[0]

    def read(hinge):
        at, height = np.clip(u, knots[0], knots[-1]), hinge[0, 0]
        return height + sum(h * max(at - k, 0) for h, k in zip(hinge[0, 1:], knots, strict=False))

    log_power = {"out": read(prior.log_power[0]), "in": read(prior.log_power[1])}
    spread = {"out": prior.sides[0].spread[0, 0], "in": prior.sides[1].spread[0, 0]}
    shared, p = prior.sides[0].shared[0, 0], priors.POWER

    def c(d, power):
        return np.exp(scipy.special.gammaln(d / 2 + power) - scipy.special.gammaln(d / 2) - power * np.log(d / 2))

    def variance_prior(own, other, q, n, given):
        d = n - 1
        noise = (c(d, 2 * p) / c(d, p) ** 2 - 1) / p**2
        slope = shared / (spread[other] + noise) if given else 0.0
        relative = min((q / d) ** p / c(d, p) / np.exp(log_power[other]), priors.LARGEST)
        mean = log_power[own] / p - p * spread[own] / 2 + slope * (relative - 1) / p
        freedom = np.clip(loops.prior_freedom(spread[own] - slope * shared), *priors.FREEDOM)
        return freedom, np.exp(mean + scipy.special.psi(freedom / 2) - np.log(freedom / 2))

    d_out, s_out = variance_prior("out", "in", q_in, n_in, mode == "online")
    d_in, s_in = variance_prior("in", "out", q_out, n_out, True)
    f_out = d_out + n_out - 1
    v_out = max((d_out * s_out + q_out) / f_out, floor)
    gamma, omega2 = read(prior.gap), read(prior.gap_variance)
    if mode == "offline":
        laws = (1e6, m_out + gamma, max(s_in, floor) + omega2), (f_out, m_out, v_out * (1 + 1 / n_out))
    else:
        f_in, omega2 = d_in + n_in - 1, hierarchical.PEAKED * omega2
        v_in = max((d_in * s_in + q_in) / f_in, floor)
        precision = np.diag([n_out / v_out, n_in / v_in])
        to_means = np.array([[1.0, -v_out / n_out], [1.0, v_in / n_in]])  # (middle, gap) to means, up to a factor
        total = precision.sum()
        to_means[:, 1] = [-precision[1, 1] / total, precision[0, 0] / total]
        information = to_means.T @ precision @ to_means + np.diag([0.0, 1 / omega2])
        covariance = np.linalg.inv(information)
        mean = covariance @ (to_means.T @ precision @ np.array([m_out, m_in]) + np.array([0.0, gamma / omega2]))
        mean[1] = max(mean[1], 0.0)
        mu, var = to_means @ mean, np.diag(to_means @ covariance @ to_means.T)
        laws = (f_in, mu[1], v_in + var[1]), (f_out, mu[0], v_out + var[0])
    (_, mu_in, var_in), (_, mu_out, var_out) = laws
    held, narrower = x, 1 / var_in - 1 / var_out
    if abs(narrower) > 1e-9:
        extreme = (mu_in / var_in - mu_out / var_out) / narrower
        held = min(x, max(extreme, mu_in)) if narrower > 0 else max(x, min(extreme, mu_out))
    ratios = [np.subtract(*[scipy.stats.t.logpdf(at, f, mu, np.sqrt(v)) for f, mu, v in laws]) for at in (x, held)]
    return np.mean(ratios)


def test_one_extreme_example_leaves_the_others():
    keep = planted.pairs(8, N)
    phi = planted.phi(keep, leak=1.0)
    extreme = phi.copy()
    extreme[::2, 7] = 1e10
    partner = np.arange(8) ^ 1
    plain, other = (np.delete(lira.score(x, keep, partner_s=partner), 7, axis=1) for x in (phi, extreme))
    assert np.isfinite(other).all()
    assert np.quantile(np.abs(plain - other), 0.99) < 0.15 * plain.std()
    assert abs(metrics.auc(plain, np.delete(keep, 7, 1)) - metrics.auc(other, np.delete(keep, 7, 1))) < 1e-3


def test_offline_never_sees_an_answer_of_a_model_that_trained_on_the_example():
    keep = planted.pairs(8, 64)
    phi, partner = planted.phi(keep, leak=1.0), np.arange(8) ^ 1
    changed = phi.copy()
    changed[keep[:, 5], 5] -= 0.7
    a, b = (lira.score(x, keep, partner_s=partner, mode="offline")[:, 5] for x in (phi, changed))
    outside = ~keep[:, 5]
    np.testing.assert_allclose(a[outside], b[outside], rtol=1e-6, atol=1e-6)


def test_curves_are_read_as_they_were_fitted():
    rng = np.random.default_rng(0)
    u = rng.normal(size=(3, 400))
    knots = curve.knots(u)
    place = curve.weights(u, knots)
    heights = curve.fit(place, np.sin(u) + 0.01 * rng.normal(size=u.shape), knots.shape[1], 0.01)
    at = curve.at(place, heights)
    assert np.abs(at - np.sin(u)).mean() < 0.03
    (read,) = curve.read(u, knots, [curve.hinges(knots, heights)])
    np.testing.assert_allclose(read, at, atol=1e-5)


def test_log_t_is_scipys():
    freedom = np.array([1.0, 2.5, 30.0, 1e6])
    ours = hierarchical.log_t(0.7, freedom, 0.2, 1.7) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(ours, scipy.stats.t.logpdf(0.7, freedom, 0.2, np.sqrt(1.7)), atol=2e-6)


def test_the_prior_is_the_one_that_the_examples_were_drawn_from():
    """Log variances of both sides with deviation .7 and correlation .6, gaps N(1, .3^2), 8 models on each side."""
    rng, M, n = np.random.default_rng(0), 20_000, 8
    log_variances = rng.multivariate_normal([0, -0.5], 0.49 * np.array([[1, 0.6], [0.6, 1]]), M).T
    mu_out = rng.normal(size=M)
    mu_in = mu_out + 1.0 + 0.3 * rng.normal(size=M)
    sides = []
    for mu, log_variance in ((mu_in, log_variances[1]), (mu_out, log_variances[0])):
        values = mu[:, None] + np.exp(log_variance / 2)[:, None] * rng.normal(size=(M, n))
        sides.append((np.full((1, M), float(n)), values.mean(1)[None], (n * values.var(1))[None]))
    prior = priors.fit(*sides, "online")
    for side in prior.sides:
        assert side.spread[0, 0] == pytest.approx(0.49, abs=0.06)
        assert side.shared[0, 0] == pytest.approx(0.6 * 0.49, abs=0.05)

    def curve_of(hinges):
        u = np.linspace(-1, 1, 5)[None]
        return np.asarray(curve.read(u, prior.knots, [hinges])[0])

    np.testing.assert_allclose(curve_of(prior.gap), 1.0, atol=0.08)
    np.testing.assert_allclose(curve_of(prior.gap_variance), 0.09, atol=0.05)
    for log_power, mean in zip(prior.log_power, (0.0, -0.5), strict=True):  # E sigma^(2p) of a log normal
        want = priors.POWER * mean + priors.POWER**2 * 0.49 / 2
        np.testing.assert_allclose(curve_of(log_power), want, atol=0.03)
