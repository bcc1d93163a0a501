"""LiRA as a hierarchical Bayesian test: what the reference models know together, for each example.

The model, for one target, over examples n, with z = c tanh(phi / c), c three times the median of |phi|:

    side g of example n (IN or OUT):    z ~ N(mu_g, sigma_g^2), count n_g, mean m_g, sum of squares Q_g
    log sigma_g^2 = curve_g(u) + eta_g, (eta_out, eta_in) jointly normal over examples               (1)
    gap = mu_in - mu_out ~ N(gamma(u), omega^2(u)), not negative in the mean                          (2)

omega^2 is a quarter of the gaps' variance about their curve less what sampling adds: most gaps are near the curve and a
few far away, and a normal law of their full variance would take the noise of a few models for a gap.
u is the middle of the two observed means (offline: the OUT mean), and all curves are penalised splines in it
(`priors.py`). By (1) sigma_g^2 has an inverse-chi-square prior with d_g degrees of freedom and scale s_g^2 that is
informed by the other side's spread, and the posterior v_g = (d_g s_g^2 + Q_g) / (d_g + n_g - 1). The precision-weighted
middle a = (w_in m_in + w_out m_out) / (w_in + w_out), w_g = n_g / v_g, is independent of the observed gap
m_in - m_out, whose variance is V = 1 / w_in + 1 / w_out. So with P = 1 / (1 / omega^2 + 1 / V)

    gap^ = max(P (gamma / omega^2 + (m_in - m_out) / V), 0)
    mu_in  = a + gap^ w_out / (w_in + w_out),  var = 1 / (w_in + w_out) + (w_out / (w_in + w_out))^2 P
    mu_out = a - gap^ w_in / (w_in + w_out),   var = 1 / (w_in + w_out) + (w_in / (w_in + w_out))^2 P

and the score is the log of the ratio of the Student t predictive densities, with d_g + n_g - 1 degrees of freedom and
scale^2 = v_g + var. Confidences are skewed: OUT models spread more, to the left. A ratio of symmetric densities then
turns back beyond its extreme, as if more confidence spoke against membership. The score is the mean of that ratio and
of the same one held constant beyond its extreme.

Offline the OUT law is N(m_out, v_out / n_out) with its own inverse-chi-square prior. The IN law is read off m_out:
normal, mean m_out + gamma(m_out), variance s_in^2(m_out, Q_out) + the full variance of gaps there. The curves for an
example are fitted on other examples: no answer of a model that trained on an example is used for that example.

But for c, nothing is fitted on the target or its partner, so without a leak a score says nothing. Sources: Carlini et
al. 2022 (arXiv 2112.03570); Smyth 2004 and Phipson et al. 2016 for variances with a trend; the joint model is ours.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.attacks import references
from jaxsnn_mia.attacks.lira import curve, priors

SQUASH = 3.0  # times the median of |phi|
SAMPLE = 2**20  # confidences, of whole examples, that the priors are fitted on
MANY = 2048  # examples of the sample: then two folds are as good as eight
FEWEST = 32  # examples with IN models from which an IN law is learned
PEAKED = 0.25  # of the variance of gaps about their curve: most gaps are near it and a few far away
MONOTONE = 0.5  # weight of the ratio that is held constant beyond its extreme


def score(against: references.Against, mode: str, sigma_floor: float | None) -> np.ndarray:
    """float32 [S, N] (or [K, N]): `likelihood_ratio.score` with variance="hierarchical", after its checks. The squashed
    confidences of an example are averaged over queries. The smallest standard deviation is `sigma_floor`; None: a
    hundredth of the root mean square one."""
    step = -(-against.keep_sn.size // SAMPLE) | 1  # odd, so that a sample has examples of every fold
    sample = np.flatnonzero(fitting(against))[::step]
    folds = 1 if mode == "online" else 8 if len(sample) < MANY else 2
    fold_n = np.arange(against.keep_sn.shape[1]) % folds
    fitted = []
    for fold in range(folds):
        others = sample if folds == 1 else sample[fold_n[sample] != fold]
        if len(others) < 2:
            raise ValueError(
                f"`variance`='hierarchical' learns from examples with 2 IN and 2 OUT models, got {len(sample)}. "
                "Pass variance='shrinkage'."
            )
        scale = squash_scale(against, others)
        inside, outside = _sample_moments(against, scale, others)
        fitted.append((scale, priors.fit(inside, outside, mode), floors((inside, outside), sigma_floor)))

    def of(block, targets, part):
        out = np.empty((len(targets), block[0].shape[1]))
        for fold, (scale, prior, floor) in enumerate(fitted):
            at = fold_n[part] == fold
            values, keep, opposite, usable_s = block
            some = (values[:, at], keep[:, at], None if opposite is None else opposite[:, at], usable_s)
            laws = conditionals(prior, mode, some, against.separate)
            curves = (prior.knots, prior.log_power, prior.gap, prior.gap_variance)
            out[:, at] = jax.block_until_ready(_score(some, targets[:, at], scale, curves, laws, floor, mode=mode))
        return out

    return against.scores(of)


def fitting(against: references.Against) -> np.ndarray:
    """bool [N]: the examples of which two models of each side are left, so that means and variances can be learned."""
    least_in, least_out = references.fewest(True, against.separate)
    inside_n, outside_n = references.counts(against.keep_sn, against.usable_s)
    return (inside_n >= least_in) & (outside_n >= least_out)


def squash_scale(against: references.Against, examples: np.ndarray) -> float:
    """SQUASH times the median of |phi| of these examples; infinity where that is 0."""
    values = np.abs(np.asarray(against.values_sna[:, examples])[against.usable_s])
    return float(SQUASH * np.median(values).astype(np.float64)) or np.inf


def _sample_moments(against: references.Against, scale: float, examples: np.ndarray) -> tuple:
    with jax.enable_x64(True):
        return jax.device_get(_moments(*against.block(examples), scale))


def squashed(phi: jax.Array, scale: float) -> jax.Array:
    """The mean over queries of scale x tanh(phi / scale): [S, B, 1]."""
    return jnp.where(jnp.isinf(scale), phi, scale * jnp.tanh(phi / scale)).mean(-1, keepdims=True)


def floors(sides: tuple, sigma_floor: float | None) -> np.ndarray:
    """The smallest variance [S or 1, 1], of both sides."""
    if sigma_floor is not None:
        return np.full((1, 1), max(sigma_floor, 1e-12) ** 2)
    squares = sum(x[2].sum(1, keepdims=True) for x in sides)
    freedom = sum((x[0] - 1 + 0 * x[1]).sum(1, keepdims=True) for x in sides)
    return np.maximum(1e-4 * squares / freedom, 1e-24)


@jax.jit
def _moments(values, keep, opposite, usable_s, scale):
    z = squashed(jnp.where(usable_s[:, None, None], values, 0.0), scale)
    sides = references.moments(z, keep, opposite, usable_s)
    return tuple(tuple(x[..., 0] for x in side) for side in sides)


def conditionals(prior: priors.Prior, mode: str, block: tuple, separate: bool) -> tuple:
    """The variance priors of (OUT, IN) in a block, and what their counts need of special functions, in numpy: the
    counts are [1, B] and few."""
    _, keep, _, usable_s = block
    used = keep & usable_s[:, None], ~keep & usable_s[:, None]
    counts, which = np.unique(np.stack([x.sum(0) for x in used]), axis=1, return_inverse=True)
    n_in, n_out = (x[None] - (0.0 if separate else 1.0) for x in counts)
    out_side, in_side = prior.sides
    of_out = priors.given_other(out_side, in_side if mode == "online" else None, n_in)
    of_in = priors.given_other(in_side, out_side, n_out)
    expected = tuple(priors.power_mean(n - 1, priors.POWER) for n in (n_out, n_in))

    def of_examples(x):
        return x if x.shape[1] == 1 else x[:, which.ravel()]

    return jax.tree.map(of_examples, (of_out, of_in, expected))


@partial(jax.jit, static_argnames="mode")
def _score(block, targets, scale, curves, laws, floor, *, mode):
    x = squashed(targets, scale)[..., 0]
    (n_in, m_in, q_in), (n_out, m_out, q_out) = _moments(*block, scale)
    knots, log_powers, gap, gap_variance = curves
    u = (m_in + m_out) / 2 if mode == "online" else m_out
    log_out, log_in, gamma, omega2 = curve.read(u, knots, [*log_powers, gap, gap_variance])
    of_out, of_in, expected = laws

    def variance_prior(law, log_power):
        return jnp.exp(log_power / priors.POWER + law.offset)

    def given_other(law, other_log_power, other_q, other_n, other_expected):
        power = (other_q / (other_n - 1)) ** priors.POWER / other_expected
        return jnp.exp(law.slope * (jnp.minimum(power / jnp.exp(other_log_power), priors.LARGEST) - 1))

    scale_out = variance_prior(of_out, log_out)
    if mode == "online":
        scale_out *= given_other(of_out, log_in, q_in, n_in, expected[1])
    scale_in = variance_prior(of_in, log_in) * given_other(of_in, log_out, q_out, n_out, expected[0])
    v_out = jnp.maximum((of_out.freedom * scale_out + q_out) / (of_out.freedom + n_out - 1), floor)
    df_out = of_out.freedom + n_out - 1
    if mode == "offline":
        law_in = 1e6, m_out + gamma, jnp.maximum(scale_in, floor) + omega2
        return ratio(x, law_in, (df_out, m_out, v_out * (1 + 1 / n_out)))
    v_in = jnp.maximum((of_in.freedom * scale_in + q_in) / (of_in.freedom + n_in - 1), floor)
    df_in = of_in.freedom + n_in - 1
    w_in, w_out, omega2 = n_in / v_in, n_out / v_out, PEAKED * omega2
    total = w_in + w_out
    middle, sampling = (w_in * m_in + w_out * m_out) / total, 1 / w_in + 1 / w_out
    left = 1 / (1 / omega2 + 1 / sampling)
    shift = jnp.maximum(left * (gamma / omega2 + (m_in - m_out) / sampling), 0.0)
    share = w_out / total
    law_in = df_in, middle + shift * share, v_in + 1 / total + share**2 * left
    law_out = df_out, middle - shift * (1 - share), v_out + 1 / total + (1 - share) ** 2 * left
    return ratio(x, law_in, law_out)


def ratio(x, law_in: tuple, law_out: tuple) -> jax.Array:
    """log t(x; IN) - log t(x; OUT), each law (degrees of freedom, mean, scale^2); for MONOTONE of its weight, held
    constant beyond the extreme of the ratio of the normal densities with these means and variances."""
    (_, mu_in, v_in), (_, mu_out, v_out) = law_in, law_out
    narrower = 1 / v_in - 1 / v_out
    extreme = (mu_in / v_in - mu_out / v_out) / jnp.where(jnp.abs(narrower) < 1e-9, 1e-9, narrower)
    held = jnp.where(
        narrower > 1e-9,
        jnp.minimum(x, jnp.maximum(extreme, mu_in)),
        jnp.where(narrower < -1e-9, jnp.maximum(x, jnp.minimum(extreme, mu_out)), x),
    )
    plain, constant = (log_t(at, *law_in) - log_t(at, *law_out) for at in (x, held))
    return (1 - MONOTONE) * plain + MONOTONE * constant


def log_t(x, freedom, mu, scale2) -> jax.Array:
    """log density of Student's t with this location and squared scale, less log sqrt(2 pi)."""
    half = freedom / 2
    return (
        log_gamma_ratio(half)
        - 0.5 * jnp.log(half * scale2)
        - (half + 0.5) * jnp.log1p((x - mu) ** 2 / (freedom * scale2))
    )


def log_gamma_ratio(x) -> jax.Array:
    """log Gamma(x + 1/2) - log Gamma(x) for x >= 1/2 within 1e-9: four steps of the recursion, then Stirling."""
    product, y = 1.0, x
    for _ in range(4):
        product, y = product * y / (y + 0.5), y + 1.0
    z = 1 / y
    return jnp.log(product) + 0.5 * jnp.log(y) - z / 8 + z**3 / 192 - z**5 / 640 + 17 * z**7 / 14336
