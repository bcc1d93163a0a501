"""Current-based neurons: a synaptic current with a decay of its own drives the membrane."""

from functools import partial
from typing import Any, NamedTuple

import jax

from jaxsnn_mia.kernels.neuron.cell import Cell
from jaxsnn_mia.kernels.neuron.reset import conventions, late_reset, settle, take_off
from jaxsnn_mia.kernels.neuron.unroll import Spike, StateFn, parameters, sequence, states
from jaxsnn_mia.kernels.numerics import floating


class Synaptic(NamedTuple):
    """State of a current-based neuron: synaptic current and membrane [B, ...]."""

    current: jax.Array
    membrane: jax.Array


def synaptic_step(
    state: Synaptic,
    current: jax.Array,
    *,
    alpha: Any,
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
) -> tuple[Synaptic, jax.Array]:
    """One step of a current-based neuron: i' = a i + x, then the membrane of `lif_step` with the current gain i'.

    `alpha` is the decay of the synaptic current, clipped to [0, 1]; the others are those of `lif_step`. Returns
    (state, spikes). Norse's LIF is alpha = 1 - dt/tau_syn, beta = 1 - dt/tau_mem, gain = dt/tau_mem and
    PRESETS["norse"].
    Source: snnTorch 1.0 `Synaptic`; Pehle and Pedersen 2021 (Norse).
    """
    c = conventions(reset, reset_delay, detach_reset, emit, reset_again)
    state, current = Synaptic(*map(floating, state)), floating(current)
    like = state.membrane
    p = parameters(
        like, beta=beta, threshold=threshold, spike=spike, state_fn=state_fn, key=key, alpha=alpha, gain=gain
    )
    raw = synaptic_integrate(c, p, state, current.astype(state.current.dtype), 0)
    state, (spikes, _) = synaptic_fire(c, p, state, raw, 0)
    return state, spikes.astype(current.dtype)


def synaptic_integrate(c, p, state, x, t):
    """The synaptic current after a step."""
    return p.alpha * state.current + x


def synaptic_fire(c, p, state, raw, t):
    """The second half of a current-based step, once the synaptic current `raw` is known. As in snnTorch, a delayed
    reset to zero empties the membrane after this step's input, not before."""
    integrated = p.beta * state.membrane + p.gain * raw
    fired = late_reset(c, p, state.membrane, t)
    if fired is not None:
        integrated = take_off(c, integrated, fired, p.threshold)
    v, spikes = settle(c, p, state.membrane, integrated, t)
    return Synaptic(raw, v), (spikes, v)


def synaptic(
    current_tb: jax.Array,
    *,
    alpha: Any,
    beta: Any,
    threshold: Any = 1.0,
    spike: Spike,
    gain: Any = 1.0,
    key: jax.Array | None = None,
    state_fn: StateFn | None = None,
    steps: int | None = None,
    recurrent: Any = None,
    state: Synaptic | None = None,
    state_dtype: Any = None,
    method: str = "auto",
    checkpoint_every: int | None = None,
    reset: str = "subtract",
    reset_delay: bool = True,
    detach_reset: bool = True,
    emit: str = "post",
    reset_again: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """A whole sequence of `synaptic_step`: (spikes_tb, membrane_tb) [T, B, ...]. The arguments are those of
    `synaptic_step` and `lif`; recurrent spikes enter the synaptic current."""
    c = conventions(reset, reset_delay, detach_reset, emit, reset_again)
    current_tb = floating(current_tb)
    start = Synaptic(*states(current_tb, steps, state_dtype, *(state or (None, None))))
    like = start.membrane
    p = parameters(
        like, beta=beta, threshold=threshold, spike=spike, state_fn=state_fn, key=key, alpha=alpha, gain=gain
    )
    cell = Cell(partial(synaptic_integrate, c), partial(synaptic_fire, c), None)
    x_tb = current_tb.astype(like.dtype)
    spikes_tb, membrane_tb = sequence(cell, p, start, x_tb, steps, recurrent, method, checkpoint_every)
    return spikes_tb.astype(current_tb.dtype), membrane_tb
