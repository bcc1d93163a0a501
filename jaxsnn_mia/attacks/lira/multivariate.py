"""LiRA over several queries of an example at once: aligned views, time steps of a spiking network, input masks.

`lira.score` takes the mean over queries, as if they were equally good and independent. Here the confidences of an
example are Gaussian, with a mean of its own and one covariance over queries, pooled over examples for each target and
side.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.attacks import references

MODES = ("online", "offline")
RIDGE = 1e-4  # of the mean variance, for queries that hardly vary, such as a first time step


def score(
    phi_sna, keep_sn, *, partner_s=None, valid_s=None, mode: str = "online", shrink: float = 0.1, target_phi_kna=None
) -> np.ndarray:
    """Multivariate LiRA.

    Args:
      phi_sna: logit confidences float32 [S, N, A]; the queries are the same for every model.
      keep_sn, partner_s, valid_s, target_phi_kna: as in `lira.score`.
      mode: "online", log N(phi; mu_in, C_in) - log N(phi; mu_out, C_out); "offline", the distance from mu_out along a
        shift common to all queries, 1' C_out^-1 (phi - mu_out) / sqrt(1' C_out^-1 1), one-sided.
      shrink: in [0, 1], how far the covariances are drawn to their diagonals.

    Returns:
      float32 [S, N] (or [K, N]), higher = more likely a member; with one query `lira.score` with a pooled variance.

    Raises:
      ValueError: an unknown mode, shrink outside [0, 1], and what `lira.score` refuses.

    Source: Carlini et al. 2022 (arXiv 2112.03570), section VI-C; the pooled and shrunk covariance is ours.
    """
    if mode not in MODES or not 0 <= shrink <= 1:
        raise ValueError(f"`mode` must be in {MODES} and 0 <= shrink <= 1, got {mode!r}, {shrink}.")
    against = references.prepare(
        phi_sna, keep_sn, "phi_sna", partner_s=partner_s, valid_s=valid_s, targets_kna=target_phi_kna
    )
    total = references.weighted_sums(against, _sums, "own")
    covariances = [shrunk(products / freedom, shrink) for products, freedom in total]
    whiteners = [np.linalg.inv(np.linalg.cholesky(c)) for c in covariances]
    return against.scores(lambda block, targets, part: _score(block, targets, whiteners, mode=mode))


def shrunk(covariance: np.ndarray, shrink: float) -> np.ndarray:
    """Covariances [..., A, A] drawn to their diagonals, with a ridge."""
    eye = np.eye(covariance.shape[-1])
    diagonal = covariance * eye
    ridge = RIDGE * np.trace(covariance, axis1=-2, axis2=-1)[..., None, None] / len(eye)
    return (1 - shrink) * covariance + shrink * diagonal + np.maximum(ridge, 1e-12) * eye


def residuals(block: tuple) -> list[tuple]:
    """For IN, then OUT models: (count [1, B, 1], mean [1, B, A], residuals of the side's models [S, B, A], and the
    residual of the model that each target leaves out [S, B, A], or None)."""
    phi, keep, partner_sb, usable_s = block
    out = []
    for side in (keep & usable_s[:, None], ~keep & usable_s[:, None]):
        w = side[..., None].astype(phi.dtype)
        count = references.sum_over_shadows(w)
        mean = references.sum_over_shadows(jnp.where(w > 0, phi, 0.0)) / count
        residual = jnp.where(w > 0, phi - mean, 0.0)
        left_out = None
        if partner_sb is not None:
            left_out = jnp.where(w > 0, residual, references.of_partners(residual, partner_sb))
        out.append((count, mean, residual, left_out))
    return out


@jax.jit
def _sums(block, weight_b):
    """For each side, summed over a block: products of residuals [S or 1, A, A], and their degrees of freedom, each
    example with its weight (`references.weights`)."""
    sums = []
    for count, _, residual, left_out in residuals(block):
        products = jnp.einsum("b,sba,sbc->ac", weight_b, residual, residual)[None]
        freedom = ((count - 1) * weight_b[None, :, None]).sum().reshape(1, 1, 1)
        if left_out is not None:  # leaving r out of m takes m / (m - 1) r r' off the products
            off = left_out * (count / (count - 1) * weight_b[None, :, None])
            products = products - jnp.einsum("sba,sbc->sac", off, left_out)
            freedom = ((count - 2) * weight_b[None, :, None]).sum().reshape(1, 1, 1)
        sums.append((products, freedom))
    return tuple(sums)


@partial(jax.jit, static_argnames="mode")
def _score(block, targets, whiteners, *, mode):
    logs, whites = [], []
    for (count, mean, _, left_out), whitener in zip(residuals(block), whiteners, strict=True):
        middle = mean if left_out is None else mean - left_out / (count - 1)
        white = whitened(whitener, targets - middle)
        log_scale = jnp.log(jnp.diagonal(whitener, axis1=-2, axis2=-1)).sum(-1)
        logs.append(log_scale[:, None] - 0.5 * (white**2).sum(-1))
        whites.append(white)
    if mode == "online":
        return logs[0] - logs[1]
    shift = whitened(whiteners[1], jnp.ones_like(targets[:, :1]))  # common to all queries
    return (whites[1] * shift).sum(-1) / jnp.sqrt((shift**2).sum(-1))


def whitened(whitener: jax.Array, x: jax.Array) -> jax.Array:
    """W x for inverse Cholesky factors W [S or 1, A, A] and x [S, B, A]."""
    return jnp.einsum("sac,sbc->sba", jnp.broadcast_to(whitener, (len(x), *whitener.shape[1:])), x)
