"""LiRA, the likelihood-ratio attack (Carlini et al. 2022, arXiv 2112.03570)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from jaxsnn_mia.attacks import references
from jaxsnn_mia.attacks.lira import hierarchical, median, released
from jaxsnn_mia.attacks.lira import variance as spread

MODES = ("online", "offline")
VARIANCES = ("auto", "hierarchical", *spread.VARIANCES)
LOCATIONS = ("mean", "median")
SAMPLE = 2**20  # confidences, of whole examples, from which the prior of the variances is estimated


def score(
    phi_sna: jax.Array,
    keep_sn: jax.Array,
    *,
    partner_s=None,
    valid_s=None,
    mode: str = "online",
    variance: str = "auto",
    location: str = "mean",
    sigma_floor: float | None = None,
    compat: str | None = None,
    target_phi_kna: jax.Array | None = None,
) -> np.ndarray:
    """LiRA scores of all S targets, each against the other shadows without itself and its partner.

    Args:
      phi_sna: logit confidences float32 [S, N, A] (`from_logits.logit_confidence`); may be a memory map.
      keep_sn: bool [S, N], who trained on what.
      partner_s: int [S], the other shadow of the complementary pair, left out with the target. None: one random model
        of the other side for each target and example, so that counts are equal whatever the truth.
      valid_s: bool [S]; the others, and their partners, are no references and get NaN.
      mode: "online", log N(phi; mu_in, s_in) - log N(phi; mu_out, s_out) (eq. 2 to 4), mean over queries;
        "offline", one-sided (phi - mu_out) / s_out (section VI-B), or where the variance is hierarchical a log ratio
        whose IN law is predicted from the OUT models.
      variance: "hierarchical", what the models know together of all examples (`hierarchical.py`), the strongest with
        few models; "per_example"; "pooled", the variance about each example's mean, pooled over examples for each
        target, query and side; "fixed", the variance about one common mean (the paper's); "shrinkage", between
        per_example and pooled (`variance.py`); "auto" takes "hierarchical" ("shrinkage" offline, where fewer
        than 32 examples have two IN models to learn the IN law from), and "per_example" with a median or compat.
      location: "mean", or "median" with 1.4826 x the median absolute deviation in place of the standard deviation of an
        example (variance "auto" or "per_example").
      sigma_floor: smallest standard deviation; None: a hundredth of the pooled one. For logits in steps of q, as
        quantized or counting readouts give them, pass q / sqrt(12).
      compat: "lira2021" reproduces the reference evaluator; see `released.py`.
      target_phi_kna: [K, N, A] of K separate targets, attacked with all S references.

    Returns:
      float32 [S, N] (or [K, N]), higher = more likely a member.

    Raises:
      ValueError: unknown mode, variance, location or compat, shapes that do not fit, NaN in phi, fewer than 3 IN or OUT
        models (2 for separate targets); offline, IN models of an example are not needed.
    """
    check_options(mode, variance, location, compat)
    against = references.prepare(
        phi_sna, keep_sn, "phi_sna", partner_s=partner_s, valid_s=valid_s, targets_kna=target_phi_kna,
        inside=mode == "online",
    )  # fmt: skip
    if variance == "auto":
        variance = chosen(against, mode) if location == "mean" and compat is None else "per_example"
    if compat:
        return released.score(against, mode, variance)
    if variance == "hierarchical":
        return hierarchical.score(against, mode, sigma_floor)
    sums = references.weighted_sums(against, _sums, "all" if variance == "fixed" else "own")
    pools = tuple(map(spread.pool, sums))
    if location == "median":
        floors = tuple(np.asarray(floored(0.0, pool, sigma_floor)) for pool in pools)
        return against.scores(partial(median.scores, floors=floors, mode=mode))
    priors = None
    if variance == "shrinkage":
        sample = slice(None, None, -(-phi_sna.size // SAMPLE))
        (sides,) = references.over_blocks(lambda part: jax.device_get(_moments(*against.block(part))), [sample])
        priors = spread.prior(used(mode, sides), used(mode, pools))

    def score_block(block, targets, part):
        return _score(block, targets, pools, priors, sigma_floor, mode=mode, variance=variance)

    return against.scores(score_block)


def chosen(against: references.Against, mode: str) -> str:
    """The variance of "auto": the hierarchical law, if it can be fitted."""
    enough = mode == "online" or hierarchical.fitting(against).sum() >= hierarchical.FEWEST
    return "hierarchical" if enough else "shrinkage"


def check_options(mode: str, variance: str, location: str, compat: str | None) -> None:
    """ValueError for a name that is not known, or a variance that does not go with the location."""
    for name, value, known in (
        ("mode", mode, MODES),
        ("variance", variance, VARIANCES),
        ("location", location, LOCATIONS),
        ("compat", compat, (None, "lira2021")),
    ):
        if value not in known:
            raise ValueError(f"`{name}` must be one of {known}, got {value!r}.")
    if location == "median" and variance not in ("auto", "per_example"):
        raise ValueError(f"`variance` must be 'auto' or 'per_example' for location='median', got {variance!r}.")
    if compat and (variance not in ("auto", "fixed", "per_example") or location == "median"):
        raise ValueError(f"compat='lira2021' knows variance 'fixed' and 'per_example', got {variance!r}, {location!r}.")


def used(mode: str, sides: tuple) -> tuple:
    """The sides of (IN, OUT) that a mode uses: offline there are no IN models."""
    return sides if mode == "online" else sides[1:]


@jax.jit
def _sums(block, weight_b):
    return tuple(spread.pool_sums(side, weight_b) for side in references.moments(*block))


_moments = jax.jit(references.moments)


@partial(jax.jit, static_argnames=("mode", "variance"))
def _score(block, targets, pools, priors, sigma_floor, *, mode, variance):
    sides, pools = used(mode, references.moments(*block)), used(mode, pools)
    variances = spread.of_sides(variance, sides, pools, priors)
    sigmas = [floored(jnp.sqrt(v), p, sigma_floor) for v, p in zip(variances, pools, strict=True)]
    if mode == "offline":
        return ((targets - sides[0][1]) / sigmas[0]).mean(-1)
    (_, mean_in, _), (_, mean_out, _) = sides
    return (norm.logpdf(targets, mean_in, sigmas[0]) - norm.logpdf(targets, mean_out, sigmas[1])).mean(-1)


def floored(sigma: Any, pool: spread.Pool, floor: float | None) -> jax.Array:
    """sigma, at least `floor`; None: at least a hundredth of the pooled one."""
    least = 0.01 * jnp.sqrt(pool.residual) if floor is None else floor
    return jnp.maximum(jnp.maximum(sigma, least), 1e-12)
