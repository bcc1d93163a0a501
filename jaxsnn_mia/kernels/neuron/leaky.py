"""Integrate-and-fire neurons: one step, and whole sequences whose backward stores no more than it needs.

Each neuron is a `..._step` and a sequence function of the same arguments. Arrays may have any trailing shape: [B, n],
[B, H, W, C]. `reset.py` spells the conventions out; `PRESETS` names those of the libraries. A leaky integrate-and-fire
neuron with beta = 1 is an integrate-and-fire neuron.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxsnn_mia.kernels.neuron.cell import Cell, Parameters
from jaxsnn_mia.kernels.neuron.reset import conventions, integrate, settle
from jaxsnn_mia.kernels.neuron.unroll import Spike, StateFn, parameters, scaled, sequence, states
from jaxsnn_mia.kernels.numerics import align, floating, unit_clip


def lif_step(
    membrane: jax.Array,
    current: jax.Array,
    *,
    beta: Any,
    threshold: Any = 1.0,
    spike: Spike,
    gain: Any = 1.0,
    key: jax.Array | None = None,
    state_fn: StateFn | None = None,
    reset: str = "subtract",
    reset_delay: bool = True,
    detach_reset: bool = True,
    emit: str = "post",
    reset_again: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """One time step of a leaky integrate-and-fire neuron.

    Args:
      membrane: membrane potential before the step [...], in the unit of the threshold.
      current: input current [...], float32, bfloat16 or float16; integers count as float32.
      beta: decay per step, clipped to [0, 1]; scalar or broadcastable to [...]. 1 is a neuron without leak.
      threshold: firing threshold; scalar or broadcastable.
      spike: a `Surrogate`, the name of one, or any function of membrane - threshold (a `spyx.axn` one too).
      gain: multiplies the current (SpikingJelly's `decay_input` is 1 - beta).
      key: typed key of a stochastic surrogate, for this step.
      state_fn: acts on the membrane after integration and before firing (membrane quantization).
      reset: "subtract", "zero" or "none"; detach_reset: no gradient through it.
      reset_delay, emit ("post" or "pre"), reset_again: see `reset.py`, and `PRESETS` for those of the libraries.

    Returns:
      (membrane [...] after the step, in its own dtype; spikes [...] 0 or 1, in the dtype of `current`).

    Raises:
      ValueError: an unknown `reset` or `emit`; a stochastic surrogate without a key.

    Source: Eshraghian et al. 2023 (arXiv 2109.12894), section III; snnTorch 1.0 `Leaky`.
    """
    c = conventions(reset, reset_delay, detach_reset, emit, reset_again)
    membrane, current = floating(membrane), floating(current)
    p = parameters(membrane, beta=beta, threshold=threshold, spike=spike, state_fn=state_fn, key=key)
    raw = integrate(c, p, membrane, scaled(current, gain, membrane.dtype), 0)
    membrane, spikes = settle(c, p, membrane, raw, 0)
    return membrane, spikes.astype(current.dtype)


def lif(
    current_tb: jax.Array,
    *,
    beta: Any,
    threshold: Any = 1.0,
    spike: Spike,
    gain: Any = 1.0,
    key: jax.Array | None = None,
    state_fn: StateFn | None = None,
    steps: int | None = None,
    recurrent: Any = None,
    state: jax.Array | None = None,
    state_dtype: Any = None,
    method: str = "auto",
    checkpoint_every: int | None = None,
    reset: str = "subtract",
    reset_delay: bool = True,
    detach_reset: bool = True,
    emit: str = "post",
    reset_again: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """A whole sequence of `lif_step`. Its backward stores the membrane alone where the reset is delayed and spikes are
    emitted after integration (the default), and the state before each step beside it otherwise.

    Args:
      current_tb: input current [T, B, ...], float32, bfloat16 or float16; [B, ...] with `steps`.
      beta, threshold: as in `lif_step`; they receive gradients.
      key: typed key of a stochastic surrogate; step t uses fold_in(key, t).
      steps: T, for one current [B, ...] that is the same at every step: it is not spread over time, and neither is its
        cotangent.
      recurrent: weights [n, n] from the last step's spikes [B, n] to its current, or a function of those spikes.
      state: membrane before the first step [B, ...]; zeros by default.
      state_dtype: dtype of the membrane; by default that of `state`, or else of the current.
      method: "auto", "fused", "pallas" or "plain" (a scan with jax's own backward); see `scan.over_time`.
      checkpoint_every: keep the membrane only every so many steps and compute the rest again (long T).
      The others are those of `lif_step`.

    Returns:
      (spikes_tb [T, B, ...] in the dtype of the current, membrane_tb [T, B, ...] in `state_dtype`).

    Raises:
      ValueError: as `lif_step`; `checkpoint_every` below 1.
    """
    c = conventions(reset, reset_delay, detach_reset, emit, reset_again)
    current_tb = floating(current_tb)
    (state,) = states(current_tb, steps, state_dtype, state)
    p = parameters(state, beta=beta, threshold=threshold, spike=spike, state_fn=state_fn, key=key)

    def fire(p, v, raw, t):
        v, spikes = settle(c, p, v, raw, t)
        return v, (spikes, v)

    def rebuild(p, raw):
        return fire(p, raw, raw, 0)

    # with a delayed reset the integrated membrane tells the whole state
    cell = Cell(partial(integrate, c), fire, rebuild if c.emit == "post" and c.reset_delay else None)
    x_tb = scaled(current_tb, gain, state.dtype)
    spikes_tb, membrane_tb = sequence(cell, p, state, x_tb, steps, recurrent, method, checkpoint_every)
    return spikes_tb.astype(current_tb.dtype), membrane_tb


def leaky_integrator(
    current_tb: jax.Array, *, beta: Any, state: jax.Array | None = None, associative: bool = False
) -> jax.Array:
    """membrane_tb [T, B, ...] of v' = b v + x, which never fires: a readout for logits.

    `associative` takes a parallel scan over time, of depth log T, instead of the sequential one.
    """
    current_tb = floating(current_tb)
    (state,) = states(current_tb, None, None, state)
    beta = unit_clip(align(beta, state))
    if associative:
        return linear_recurrence(current_tb, beta, state)
    cell = Cell(
        lambda p, v, x, t: p.beta * v + x,
        lambda p, v, raw, t: (raw, (raw,)),
        lambda p, raw: (raw, (raw,)),
    )
    return sequence(cell, Parameters(beta=beta), state, current_tb, None, None, "auto", None)[0]


def linear_recurrence(x_tb: jax.Array, beta: jax.Array, state: jax.Array) -> jax.Array:
    """v_t = b v_{t-1} + x_t for all t [T, B, ...] by an associative scan (Martin and Cundy 2018, arXiv 1709.04057)."""
    x_tb = jnp.concatenate([(beta * state + x_tb[0])[None], x_tb[1:]])
    decay_tb = jnp.broadcast_to(beta, x_tb.shape)

    def combine(early, late):
        return early[0] * late[0], late[0] * early[1] + late[1]

    return lax.associative_scan(combine, (decay_tb, x_tb))[1]
