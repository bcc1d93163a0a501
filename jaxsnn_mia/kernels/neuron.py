"""Leaky integrate-and-fire neurons: one step, and a whole sequence.

With b = clip(beta, 0, 1), th the threshold, H the spike function and sg a stop-gradient, one step is

    r  = sg(H(v - th))                    what fired at the last step
    v' = b v + x - r th                   reset="subtract"; "zero": b (1 - r) v + x; "none": b v + x
    s  = H(v' - th)

This is snnTorch's `Leaky`; the reset acts one step late (`reset_delay=True`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

RESETS = ("subtract", "zero", "none")


def unit_clip(x: jax.Array) -> jax.Array:
    """x limited to [0, 1] with gradient 1 at both bounds (`jnp.clip` has .5 there) and 0 beyond."""
    return jnp.where(x < 0, 0.0, jnp.where(x > 1, 1.0, x)).astype(x.dtype)


def lif_step(
    membrane: jax.Array,
    current: jax.Array,
    *,
    beta: Any,
    threshold: Any = 1.0,
    spike: Callable[[jax.Array], jax.Array],
    reset: str = "subtract",
    state_fn: Callable[[jax.Array], jax.Array] | None = None,
) -> tuple[jax.Array, jax.Array]:
    """One time step of a leaky integrate-and-fire neuron.

    Args:
      membrane: membrane potential before the step [...].
      current: input current [...], same shape and dtype.
      beta: decay per step, clipped to [0, 1]; scalar or broadcastable to [...].
      threshold: firing threshold; scalar or broadcastable.
      spike: a `Surrogate` or any function of membrane - threshold.
      reset: "subtract", "zero" or "none".
      state_fn: acts on the membrane after integration and before firing (membrane quantization).

    Returns:
      (membrane [...], spikes [...]) after the step, dtype of `current`.

    Raises:
      ValueError: an unknown `reset`.

    Source: Eshraghian et al. 2023 (Proc. IEEE), eq. 4; snnTorch 1.0 `Leaky`.
    """
    if reset not in RESETS:
        raise ValueError(f"`reset` must be one of {RESETS}, got {reset!r}.")
    beta = unit_clip(jnp.asarray(beta, current.dtype))
    threshold = jnp.asarray(threshold, current.dtype)
    fired = lax.stop_gradient(spike(membrane - threshold))
    kept = membrane * (1 - fired) if reset == "zero" else membrane
    membrane = beta * kept + current
    if reset == "subtract":
        membrane = membrane - fired * threshold
    if state_fn is not None:
        membrane = state_fn(membrane)
    return membrane, spike(membrane - threshold)


def lif(
    current_tb: jax.Array, *, state: jax.Array | None = None, unroll: int | bool = True, **step: Any
) -> tuple[jax.Array, jax.Array]:
    """A whole sequence of `lif_step`.

    Args:
      current_tb: input current [T, B, ...].
      state: membrane before the first step [B, ...]; zeros by default.
      unroll: steps of the time scan per loop iteration (True: all).
      **step: the keyword arguments of `lif_step`.

    Returns:
      (spikes_tb [T, B, ...], membrane_tb [T, B, ...]).
    """
    if state is None:
        state = jnp.zeros_like(current_tb[0])

    def body(membrane, current):
        membrane, spikes = lif_step(membrane, current, **step)
        return membrane, (spikes, membrane)

    _, (spikes_tb, membrane_tb) = lax.scan(body, state, current_tb, unroll=unroll)
    return spikes_tb, membrane_tb


def leaky_integrator(
    current_tb: jax.Array, *, beta: Any, state: jax.Array | None = None, unroll: int | bool = True
) -> jax.Array:
    """membrane_tb [T, B, ...] of v' = b v + x, which never fires: a readout for logits."""
    if state is None:
        state = jnp.zeros_like(current_tb[0])
    beta = unit_clip(jnp.asarray(beta, current_tb.dtype))

    def body(membrane, current):
        membrane = beta * membrane + current
        return membrane, membrane

    return lax.scan(body, state, current_tb, unroll=unroll)[1]
