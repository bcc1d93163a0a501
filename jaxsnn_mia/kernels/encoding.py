"""Encodings of real-valued inputs as spike trains [T, B, ...]: time first, spikes 0 or 1 in the dtype of x.

Except for `direct` and `delta`, inputs are meant to lie in [0, 1]. None looks at more than one element of x, unless it
says so: what an example becomes never depends on its batch-mates. Integers and booleans count as float32.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxsnn_mia.kernels.numerics import floating


def check_steps(steps: int) -> None:
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"`T` must be an int of at least 1, got {steps!r}.")


def direct(x: jax.Array, T: int) -> jax.Array:
    """The same analogue input at every step [T, B, ...] (constant current; Rueckauer et al. 2017)."""
    check_steps(T)
    x = floating(x)
    return jnp.broadcast_to(x, (T, *x.shape))


def rate(key: jax.Array, x: jax.Array, T: int, *, gain: Any = 1.0) -> jax.Array:
    """Bernoulli spikes with probability clip(gain x, 0, 1) at each step, by a typed key; snnTorch's `rate`."""
    check_steps(T)
    x = floating(x)
    return jax.random.bernoulli(key, jnp.clip(gain * x, 0, 1)[None], (T, *x.shape)).astype(x.dtype)


def poisson(key: jax.Array, x: jax.Array, T: int, *, gain: Any = 1.0) -> jax.Array:
    """Counts (0, 1, 2, ...) of a Poisson process with mean max(gain x, 0) per step, by a typed key."""
    check_steps(T)
    x = floating(x)
    return jax.random.poisson(key, jnp.maximum(gain * x, 0)[None], (T, *x.shape)).astype(x.dtype)


def latency(
    x: jax.Array,
    T: int,
    *,
    threshold: float = 0.01,
    tau: float = 1.0,
    linear: bool = False,
    normalize: bool = False,
    clip: bool = False,
    epsilon: float = 1e-7,
) -> jax.Array:
    """One spike each, the earlier the larger the input.

    Args:
      x: [B, ...] in [0, 1].
      T: steps; later spikes fall on the last one.
      threshold: inputs below it spike as late as it does, or never with `clip`.
      tau: time constant in steps; replaced by T - 1 where `linear` and `normalize` are on.
      linear: spike at tau (1 - x); otherwise at tau log(x / (x - threshold)), the charging time of a membrane.
      normalize: stretch over all T steps. The logarithmic code then divides by the largest time in x, as snnTorch does:
        there an example does depend on its batch-mates.
      clip: no spike below the threshold.
      epsilon: keeps the logarithm finite at the threshold.

    Returns:
      [T, B, ...]. Source: snnTorch 1.0 `spikegen.latency`; Bohte et al. 2002.
    """
    check_steps(T)
    x = floating(x)
    if linear:
        tau = T - 1 if normalize else tau
        time = jnp.minimum(-tau * (x - 1), -tau * (threshold - 1))
    else:
        above = jnp.maximum(x, threshold + epsilon)
        time = tau * jnp.log(above / (above - threshold))
        if normalize:
            time = time * (T - 1) / time.max()
    time = jnp.minimum(jnp.round(time), T - 1).astype(jnp.int32)
    spikes = jax.nn.one_hot(time, T, axis=0, dtype=x.dtype)
    return jnp.where((x < threshold)[None], 0, spikes) if clip else spikes


def delta(x_tb: jax.Array, threshold: Any = 0.1, *, off_spike: bool = False, padding: bool = False) -> jax.Array:
    """1 where the input rises by at least `threshold` from step to step, -1 where it falls so with `off_spike`.

    x_tb is [T, B, ...]; the first step is compared with 0, or with itself with `padding`. Source: snnTorch 1.0
    `spikegen.delta`; the output of an event camera.
    """
    x_tb = floating(x_tb)
    before = jnp.concatenate([x_tb[:1] if padding else jnp.zeros_like(x_tb[:1]), x_tb[:-1]])
    rise = x_tb - before
    on = (rise >= threshold).astype(x_tb.dtype)
    return on - (rise <= -threshold).astype(x_tb.dtype) if off_spike else on


def population(x: jax.Array, T: int, n: int, *, low: float = 0.0, high: float = 1.0, beta: float = 1.5) -> jax.Array:
    """Gaussian receptive fields: n neurons per input with centres spread over [low, high], each spiking once, at
    (1 - response) (T - 1), unless its response is below .1. [T, B, ..., n]. Source: Bohte et al. 2002, section 3."""
    check_steps(T)
    x = floating(x)
    if n < 3:
        raise ValueError(f"`n` must be at least 3, got {n}.")
    centre = low + (jnp.arange(1, n + 1, dtype=x.dtype) - 1.5) * (high - low) / (n - 2)
    width = (high - low) / (beta * (n - 2))
    centre = centre.reshape((1,) * x.ndim + (n,))
    response = jnp.exp(-0.5 * ((x[..., None] - centre) / width) ** 2)
    return latency(response, T, threshold=0.1, linear=True, normalize=True, clip=True)


def phase(x: jax.Array, T: int, *, bits: int = 8) -> jax.Array:
    """The binary digits of x in [0, 1), most significant first, one a step and again after `bits` steps; weigh step t
    by 2^-(1 + t mod bits). Source: Kim et al. 2018 (Neurocomputing 311), weighted spikes."""
    check_steps(T)
    x = floating(x)
    code = jnp.clip(jnp.floor(x * 2**bits), 0, 2**bits - 1).astype(jnp.int32)
    place = (bits - 1 - jnp.arange(T) % bits).reshape((T,) + (1,) * x.ndim)
    return ((code[None] >> place) & 1).astype(x.dtype)


def burst(x: jax.Array, T: int, *, longest: int = 5, gap: int = 2) -> jax.Array:
    """A burst of ceil(longest x) spikes from step 0 on: the larger the input, the more spikes, and the closer (an
    interval of one step for the longest burst, up to `gap` for a single spike). Source: Park et al. 2019
    (arXiv 1809.03142)."""
    check_steps(T)
    x = floating(x)
    count = jnp.ceil(longest * jnp.clip(x, 0, 1))
    interval = jnp.ceil(gap - (gap - 1) * jnp.clip(x, 0, 1)).astype(jnp.int32)
    t = jnp.arange(T).reshape((T,) + (1,) * x.ndim)
    on = (t % interval[None] == 0) & ((t // interval[None]).astype(x.dtype) < count[None])
    return on.astype(x.dtype)
