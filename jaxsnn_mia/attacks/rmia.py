"""RMIA, the robust membership-inference attack (Zarifzadeh et al. 2024, arXiv 2312.03262)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.attacks import references

MODES = ("offline", "online")


def score(
    logp_sna: jax.Array,
    keep_sn: jax.Array,
    logp_sza: jax.Array,
    *,
    partner_s=None,
    valid_s=None,
    mode: str = "offline",
    gamma: float = 2.0,
    a: float = 0.3,
    target_logp_kna: jax.Array | None = None,
    target_logp_kza: jax.Array | None = None,
) -> np.ndarray:
    """RMIA scores of all S targets: the share of the population that x beats by a factor gamma.

    Args:
      logp_sna: log confidences float32 [S, N, A] (`signals.log_confidence`).
      keep_sn: bool [S, N], who trained on what.
      logp_sza: log confidences of the population [S, Z, A]; its examples are in no training set.
      partner_s, valid_s: as in `lira.score`.
      mode: "offline", p(x) = ((1 + a) mean p_out + (1 - a)) / 2 (appendix B.2.2); "online",
        (mean p_in + mean p_out) / 2.
      gamma: the factor, at least 1.
      a: in [0, 1], how the offline mode stretches the mean of OUT models.
      target_logp_kna, target_logp_kza: [K, N, A] and [K, Z, A] of K separate targets, attacked with all S
        references.

    Returns:
      float32 [S, N] (or [K, N]) in [0, 1): mean over queries of the ECDF of r(z) at r(x) / gamma (eq. 2 and 4), where
      r = p_target / p; within a step of the ECDF, r(x) breaks ties. Higher = more likely a member.

    Raises:
      ValueError: shapes that do not fit, NaN, an empty population, unknown mode, gamma < 1, a outside [0, 1],
        fewer than 3 IN or OUT models.
    """
    if mode not in MODES or gamma < 1 or not 0 <= a <= 1:
        raise ValueError(f"`mode` must be in {MODES}, gamma >= 1, 0 <= a <= 1; got {mode!r}, {gamma}, {a}.")
    references.check(logp_sna, keep_sn, "logp_sna")
    s, _, queries = logp_sna.shape
    if logp_sza.ndim != 3 or logp_sza.shape[0] != s or logp_sza.shape[2] != queries or logp_sza.shape[1] < 1:
        raise ValueError(
            f"`logp_sza` must be [{s}, Z, {queries}] with Z >= 1, got {logp_sza.shape}. "
            "RMIA needs a population slice: set `data.population`."
        )
    if (target_logp_kna is None) != (target_logp_kza is None):
        raise ValueError("`target_logp_kna` and `target_logp_kza` go together: pass both or neither.")
    separate = target_logp_kna is not None
    usable_s, opposite = references.prepare(
        logp_sna, keep_sn, "logp_sna", partner_s=partner_s, valid_s=valid_s, separate=separate
    )
    references.check_finite(np.asarray(logp_sza)[usable_s], "logp_sza")
    known = [np.asarray(logp, np.float64) for logp in (logp_sna, logp_sza)]
    targets = [np.asarray(logp, np.float64) for logp in (target_logp_kna, target_logp_kza)] if separate else known
    with jax.enable_x64(True):  # as in `lira.score`
        out = _score(known, keep_sn, opposite, usable_s, partner_s, targets, gamma, a, mode=mode)
    out = np.asarray(out, np.float32)
    return out if separate else np.where(usable_s[:, None], out, np.float32(np.nan))


@partial(jax.jit, static_argnames="mode")
def _score(references_logp, keep_sn, opposite, usable_s, partner_s, targets, gamma, a, *, mode):
    logp_sna, logp_sza = references_logp
    target_logp_x, target_logp_z = targets
    inside, outside = references.moments(jnp.exp(logp_sna), keep_sn, opposite, usable_s)
    p_out = outside[1]
    p_x = (inside[1] + p_out) / 2 if mode == "online" else ((1 + a) * p_out + (1 - a)) / 2
    # every model is an OUT model of the population; a target and its partner are left out of the mean
    p_sza = jnp.where(usable_s[:, None, None], jnp.exp(logp_sza), 0.0)
    total, count = p_sza.sum(0, keepdims=True), usable_s.sum().astype(p_sza.dtype)
    if opposite is not None:
        total, count = total - p_sza, count - 1
        if partner_s is not None:
            total, count = total - p_sza[partner_s], count - 1
    p_z = total / count
    if mode == "offline":
        p_z = ((1 + a) * p_z + (1 - a)) / 2
    tiny = jnp.finfo(logp_sna.dtype).tiny
    log_r_x = target_logp_x - jnp.log(jnp.maximum(p_x, tiny))
    log_r_z = target_logp_z - jnp.log(jnp.maximum(p_z, tiny))
    return ecdf(jnp.moveaxis(log_r_z, 1, 2), jnp.moveaxis(log_r_x, 1, 2), jnp.log(gamma)).mean(1)


def ecdf(log_r_z: jax.Array, log_r_x: jax.Array, log_gamma: jax.Array) -> jax.Array:
    """Share of z with r(z) <= r(x) / gamma, [S, A, N] from [S, A, Z] and [S, A, N], ties broken by r(x).

    The tie-break is a monotone function of log r(x) below one step of the ECDF.
    """
    size = log_r_z.shape[-1]
    count = jax.vmap(jax.vmap(partial(jnp.searchsorted, side="right")))(jnp.sort(log_r_z, axis=-1), log_r_x - log_gamma)
    tie_break = 0.5 + 0.5 * log_r_x / (1 + jnp.abs(log_r_x))
    return (count.astype(tie_break.dtype) + tie_break) / (size + 1)
