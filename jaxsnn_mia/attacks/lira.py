"""LiRA, the likelihood-ratio attack (Carlini et al. 2022, arXiv 2112.03570)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.attacks import references

MODES = ("online", "offline")
VARIANCES = ("auto", "pooled", "per_example")
FEW_SHADOWS = 64  # below, one pooled variance beats per-example ones


def score(
    phi_sna: jax.Array,
    keep_sn: jax.Array,
    *,
    partner_s=None,
    valid_s=None,
    mode: str = "online",
    variance: str = "auto",
    sigma_floor: float | None = None,
    target_phi_kna: jax.Array | None = None,
) -> np.ndarray:
    """LiRA scores of all S targets, each against the other shadows without itself and its opposite.

    Args:
      phi_sna: logit confidences float32 [S, N, A] (`signals.logit_confidence`).
      keep_sn: bool [S, N], who trained on what.
      partner_s: int [S], the complementary shadow, left out with the target; None: one random model of the
        other side for each target and example (counts stay equal whatever the truth).
      valid_s: bool [S]; the others, and their partners, are no reference and get NaN.
      mode: "online", log N(phi; mu_in, s_in) - log N(phi; mu_out, s_out) (eq. 2 to 4), mean over queries;
        "offline", one-sided (phi - mu_out) / s_out (section VI-B).
      variance: "per_example"; "pooled", one over all examples for each target, query and side;
        "auto": pooled below 64 shadows.
      sigma_floor: smallest standard deviation; by default a hundredth of the pooled one.
      target_phi_kna: [K, N, A] of K separate targets, attacked with all S references.

    Returns:
      float32 [S, N] (or [K, N]), higher = more likely a member.

    Raises:
      ValueError: unknown mode or variance, shapes that do not fit, NaN in phi, fewer than 3 IN or OUT models.
    """
    if mode not in MODES or variance not in VARIANCES:
        raise ValueError(f"`mode` must be in {MODES} and `variance` in {VARIANCES}, got {mode!r}, {variance!r}.")
    separate = target_phi_kna is not None
    usable_s, opposite = references.prepare(
        phi_sna, keep_sn, "phi_sna", partner_s=partner_s, valid_s=valid_s, separate=separate
    )
    if separate:
        references.check_finite(np.asarray(target_phi_kna), "target_phi_kna")
    pooled = variance == "pooled" or (variance == "auto" and usable_s.sum() < FEW_SHADOWS)
    phi_sna = np.asarray(phi_sna, np.float64)
    targets = np.asarray(target_phi_kna, np.float64) if separate else phi_sna
    with jax.enable_x64(True):  # what two left-out models leave of a sum of squares is lost in float32
        out = _score(phi_sna, keep_sn, opposite, usable_s, targets, sigma_floor, mode=mode, pooled=pooled)
    out = np.asarray(out, np.float32)
    return out if separate else np.where(usable_s[:, None], out, np.float32(np.nan))


@partial(jax.jit, static_argnames=("mode", "pooled"))
def _score(phi_sna, keep_sn, opposite, usable_s, targets, sigma_floor, *, mode, pooled):
    inside, outside = references.moments(phi_sna, keep_sn, opposite, usable_s)
    mu_out, s_out = location_scale(outside, pooled, sigma_floor)
    if mode == "offline":
        return ((targets - mu_out) / s_out).mean(-1)
    mu_in, s_in = location_scale(inside, pooled, sigma_floor)
    return (log_normal(targets, mu_in, s_in) - log_normal(targets, mu_out, s_out)).mean(-1)


def location_scale(side: tuple, pooled: bool, sigma_floor) -> tuple[jax.Array, jax.Array]:
    """(mean, standard deviation) of one side's moments; the pooled variance divides by the degrees of freedom."""
    count, mean, squares = side
    pooled_variance = squares.sum(1, keepdims=True) / (count - 1).sum(1, keepdims=True)
    floor = 0.01 * jnp.sqrt(pooled_variance) if sigma_floor is None else sigma_floor
    sigma = jnp.sqrt(pooled_variance if pooled else squares / count)
    return mean, jnp.maximum(jnp.maximum(sigma, floor), 1e-12)


def log_normal(x: jax.Array, mu: jax.Array, sigma: jax.Array) -> jax.Array:
    """log N(x; mu, sigma^2)."""
    return -0.5 * ((x - mu) / sigma) ** 2 - jnp.log(sigma) - 0.5 * jnp.log(2 * jnp.pi)
