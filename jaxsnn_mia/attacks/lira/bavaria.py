"""BaVarIA, the Bayesian LiRA (Brännvall 2026, arXiv 2603.11799): a normal-inverse-gamma prior on each example's law.

Of one side (IN or OUT) of one example, with n confidences of mean m and sum of squares Q about it, and the mean M and
variance W of all confidences of the side: mu ~ N(M, sigma^2 / kappa0), sigma^2 ~ IG(a0, W). The posterior has
kappa = kappa0 + n, mean mu' = (kappa0 M + n m) / kappa, a = a0 + n / 2 and
b = W + Q / 2 + kappa0 n (m - M)^2 / (2 kappa).

The released scores fix what is left open: "t" has a0 = 2 and the predictive Student t (2 a degrees of freedom, at mu',
scale^2 b (kappa + 1) / (a kappa)); "n" has a0 = 1 and N(m, b / (a - 1)). Offline the IN law is that of no data:
Student t with 2 a0 degrees of freedom at M, scale^2 W (kappa0 + 1) / (a0 kappa0), or N(M, W).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.attacks import references
from jaxsnn_mia.attacks.lira import variance as spread
from jaxsnn_mia.attacks.lira.hierarchical import log_t

A0 = {"t": 2.0, "n": 1.0}


def score(
    phi_sna,
    keep_sn,
    *,
    partner_s=None,
    valid_s=None,
    mode: str = "online",
    kind: str = "t",
    a0: float | None = None,
    kappa0: float = 1.0,
    target_phi_kna=None,
) -> np.ndarray:
    """BaVarIA-t or -n.

    Args:
      phi_sna, keep_sn, partner_s, valid_s, target_phi_kna: as in `likelihood_ratio.score`.
      mode: "online" or "offline".
      kind: "t" or "n".
      a0, kappa0: strength of the prior of a variance (None: 2 for "t", 1 for "n") and of a mean, in models.

    Returns:
      float32 [S, N] (or [K, N]), mean over queries of log p_in - log p_out; higher = more likely a member.

    Raises:
      ValueError: an unknown mode or kind, a0 or kappa0 not above 0, and what `likelihood_ratio.score` refuses.
    """
    if mode not in ("online", "offline") or kind not in A0 or not (a0 is None or a0 > 0) or kappa0 <= 0:
        raise ValueError(
            f"`mode` must be 'online' or 'offline', `kind` 't' or 'n', `a0` None or above 0 and `kappa0` above 0; got "
            f"{mode!r}, {kind!r}, {a0}, {kappa0}."
        )
    against = references.prepare(
        phi_sna, keep_sn, "phi_sna", partner_s=partner_s, valid_s=valid_s, targets_kna=target_phi_kna
    )
    priors = [_centre_and_variance(x) for x in references.weighted_sums(against, _sums, "all")]
    strength = A0[kind] if a0 is None else float(a0)
    return against.scores(lambda block, x, part: _score(block, x, priors, strength, kappa0, mode=mode, kind=kind))


@jax.jit
def _sums(block, weight_b):
    return tuple(spread.pool_sums(side, weight_b) for side in references.moments(*block))


def _centre_and_variance(sums: tuple) -> tuple[np.ndarray, np.ndarray]:
    """(M, W) of a side, each [S or 1, 1, A]."""
    count, _, _, first, second = (x[:, None] for x in sums)
    return first / count, np.maximum(second / count - (first / count) ** 2, 1e-24)


@partial(jax.jit, static_argnames=("mode", "kind"))
def _score(block, x, priors, a0, kappa0, *, mode, kind):
    inside, outside = references.moments(*block)
    of = student if kind == "t" else normal
    log_out = of(x, outside, priors[1], a0, kappa0)
    nothing = 0.0, priors[0][0], 0.0
    if mode == "offline" and kind == "n":
        return (log_normal(x, *priors[0]) - log_out).mean(-1)
    return (of(x, inside if mode == "online" else nothing, priors[0], a0, kappa0) - log_out).mean(-1)


def student(x, side: tuple, prior: tuple, a0, kappa0) -> jax.Array:
    kappa, a, b = posterior(side, prior, a0, kappa0)
    count, mean, _ = side
    centre = (kappa0 * prior[0] + count * mean) / kappa
    return log_t(x, 2 * a, centre, b * (kappa + 1) / (a * kappa))


def normal(x, side: tuple, prior: tuple, a0, kappa0) -> jax.Array:
    _, a, b = posterior(side, prior, a0, kappa0)
    return log_normal(x, side[1], b / (a - 1))


def posterior(side: tuple, prior: tuple, a0, kappa0) -> tuple:
    """(kappa, a, b) after the confidences of a side."""
    (count, mean, squares), (centre, variance) = side, prior
    kappa = kappa0 + count
    return kappa, a0 + count / 2, variance + squares / 2 + kappa0 * count * (mean - centre) ** 2 / (2 * kappa)


def log_normal(x, mu, variance) -> jax.Array:
    """log N(x; mu, variance) + log sqrt(2 pi)."""
    return -0.5 * (jnp.log(variance) + (x - mu) ** 2 / variance)
