"""Leaky integrate-and-fire neurons: one step, and a whole sequence.

With b = clip(beta, 0, 1), th the threshold, H the spike function and sg a stop-gradient, one step is

    r  = sg(H(v - th))                    what fired at the last step
    v' = b v + x - r th                   reset="subtract"; "zero": b (1 - r) v + x; "none": b v + x
    s  = H(v' - th)

This is snnTorch's `Leaky`; the reset acts one step late (`reset_delay=True`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxsnn_mia.kernels.surrogate import Surrogate, heaviside, slope_at

RESETS = ("subtract", "zero", "none")


def unit_clip(x: jax.Array) -> jax.Array:
    """x limited to [0, 1] with gradient 1 at both bounds (`jnp.clip` has .5 there) and 0 beyond."""
    return jnp.where(x < 0, 0.0, jnp.where(x > 1, 1.0, x)).astype(x.dtype)


def align(parameter: Any, like: jax.Array) -> jax.Array:
    """A scalar or [...] parameter in the dtype and, unless scalar, the rank of `like`, ones in front."""
    parameter = jnp.asarray(parameter, like.dtype)
    return parameter.reshape((1,) * (like.ndim - parameter.ndim) + parameter.shape) if parameter.ndim else parameter


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
    beta, threshold = unit_clip(align(beta, current)), align(threshold, current)
    fired = lax.stop_gradient(spike(membrane - threshold))
    kept = membrane * (1 - fired) if reset == "zero" else membrane
    membrane = beta * kept + current
    if reset == "subtract":
        membrane = membrane - fired * threshold
    if state_fn is not None:
        membrane = state_fn(membrane)
    return membrane, spike(membrane - threshold)


def lif(
    current_tb: jax.Array,
    *,
    beta: Any,
    threshold: Any = 1.0,
    spike: Callable[[jax.Array], jax.Array],
    reset: str = "subtract",
    state: jax.Array | None = None,
    state_fn: Callable[[jax.Array], jax.Array] | None = None,
    fused: bool = True,
) -> tuple[jax.Array, jax.Array]:
    """A whole sequence of `lif_step`.

    Args:
      current_tb: input current [T, B, ...].
      state: membrane before the first step [B, ...]; zeros by default.
      fused: take the hand-written backward where it applies (`spike` is a `Surrogate`, no `state_fn`): it stores
        the membrane alone and recomputes the spikes.
      The others are those of `lif_step`.

    Returns:
      (spikes_tb [T, B, ...], membrane_tb [T, B, ...]).
    """
    if reset not in RESETS:
        raise ValueError(f"`reset` must be one of {RESETS}, got {reset!r}.")
    if state is None:
        state = jnp.zeros_like(current_tb[0])
    if fused and state_fn is None and isinstance(spike, Surrogate):
        return _fused(reset, current_tb, state, unit_clip(align(beta, state)), align(threshold, state), spike)
    step = {"beta": beta, "threshold": threshold, "spike": spike, "reset": reset, "state_fn": state_fn}

    def body(membrane, current):
        membrane, spikes = lif_step(membrane, current, **step)
        return membrane, (spikes, membrane)

    _, (spikes_tb, membrane_tb) = lax.scan(body, state, current_tb, unroll=unrolled(current_tb))
    return spikes_tb, membrane_tb


def unrolled(x_tb: jax.Array) -> bool:
    """Whether the time loop is written out: XLA fuses up to about ten steps well, and beyond that recomputes the
    chain for every step."""
    return x_tb.shape[0] <= 10


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _fused(reset, current_tb, state, beta, threshold, spike):
    return _fused_forward(reset, current_tb, state, beta, threshold, spike)[0]


def _fused_forward(reset, current_tb, state, beta, threshold, spike):
    def body(membrane, current):
        membrane, _ = lif_step(membrane, current, beta=beta, threshold=threshold, spike=spike, reset=reset)
        return membrane, membrane

    _, membrane_tb = lax.scan(body, state, current_tb, unroll=unrolled(current_tb))
    outputs = (spike(membrane_tb - align(threshold, membrane_tb)), membrane_tb)
    return outputs, (membrane_tb, state, beta, threshold, spike)


def _fused_backward(reset, saved, cotangents):
    membrane_tb, state, beta, threshold, spike = saved
    before_tb = jnp.concatenate([state[None], membrane_tb[:-1]])

    def body(from_later, step):
        membrane, before, spike_ct, membrane_ct = step
        through_spike = spike_ct * slope_at(spike.derivative, membrane - threshold, spike.params)
        total = from_later + membrane_ct + through_spike
        fired = heaviside(before - threshold, spike.at_zero)
        kept = before * (1 - fired) if reset == "zero" else before
        to_threshold = -through_spike - total * fired if reset == "subtract" else -through_spike
        to_before = beta * total * (1 - fired) if reset == "zero" else beta * total
        return to_before, (total, total * kept, to_threshold)

    steps = (membrane_tb, before_tb, *cotangents)
    to_state, (to_current_tb, to_beta_tb, to_threshold_tb) = lax.scan(
        body, jnp.zeros_like(state), steps, reverse=True, unroll=unrolled(membrane_tb)
    )
    return to_current_tb, to_state, sum_to(to_beta_tb, beta), sum_to(to_threshold_tb, threshold), None


def sum_to(x_tb: jax.Array, like: jax.Array) -> jax.Array:
    """x [T, B, ...] summed to the shape of a parameter, scalar or aligned, that was broadcast against [B, ...]."""
    if not like.ndim:
        return x_tb.sum()
    return x_tb.sum(0).sum(tuple(i for i, n in enumerate(like.shape) if n == 1), keepdims=True)


_fused.defvjp(_fused_forward, _fused_backward)


def leaky_integrator(current_tb: jax.Array, *, beta: Any, state: jax.Array | None = None) -> jax.Array:
    """membrane_tb [T, B, ...] of v' = b v + x, which never fires: a readout for logits."""
    if state is None:
        state = jnp.zeros_like(current_tb[0])
    beta = unit_clip(align(beta, state))

    def body(membrane, current):
        membrane = beta * membrane + current
        return membrane, membrane

    return lax.scan(body, state, current_tb, unroll=unrolled(current_tb))[1]
