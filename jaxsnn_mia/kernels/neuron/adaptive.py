"""Neurons whose threshold rises as they fire."""

from functools import partial
from typing import Any, NamedTuple

import jax

from jaxsnn_mia.kernels.neuron.cell import Cell, Parameters
from jaxsnn_mia.kernels.neuron.reset import conventions, integrate, settle
from jaxsnn_mia.kernels.neuron.unroll import Spike, StateFn, parameters, sequence, states
from jaxsnn_mia.kernels.numerics import floating


class Adaptive(NamedTuple):
    """State of an adaptive neuron: membrane and threshold adaptation [B, ...]."""

    membrane: jax.Array
    adaptation: jax.Array


def adaptive_lif_step(
    state: Adaptive,
    current: jax.Array,
    *,
    beta: Any,
    rho: Any,
    strength: Any = 1.0,
    threshold: Any = 1.0,
    spike: Spike,
    key: jax.Array | None = None,
    state_fn: StateFn | None = None,
    reset: str = "subtract",
    reset_delay: bool = True,
    detach_reset: bool = True,
    emit: str = "post",
    reset_again: bool = False,
) -> tuple[Adaptive, jax.Array]:
    """One step of a neuron whose threshold rises as it fires: `lif_step` with threshold + strength a, then
    a' = rho a + (1 - rho) s.

    `rho` is the decay of the adaptation, clipped to [0, 1]; the others are those of `lif_step`. Returns
    (state, spikes).
    Source: Bellec et al. 2018 (arXiv 1803.09574), section 2; Spyx's `ALIF` is PRESETS["spyx"].
    """
    c = conventions(reset, reset_delay, detach_reset, emit, reset_again)
    state, current = Adaptive(*map(floating, state)), floating(current)
    like = state.membrane
    p = parameters(
        like, beta=beta, threshold=threshold, spike=spike, state_fn=state_fn, key=key, rho=rho, strength=strength
    )
    raw = adaptive_integrate(c, p, state, current.astype(like.dtype), 0)
    state, (spikes, _) = adaptive_fire(c, p, state, raw, 0)
    return state, spikes.astype(current.dtype)


def raised(p: Parameters, state: Adaptive) -> Parameters:
    """The parameters with the threshold of the moment."""
    return p._replace(threshold=p.threshold + p.strength * state.adaptation)


def adaptive_integrate(c, p, state, x, t):
    return integrate(c, raised(p, state), state.membrane, x, t)


def adaptive_fire(c, p, state, raw, t):
    v, spikes = settle(c, raised(p, state), state.membrane, raw, t)
    return Adaptive(v, p.rho * state.adaptation + (1 - p.rho) * spikes), (spikes, v)


def adaptive_lif(
    current_tb: jax.Array,
    *,
    beta: Any,
    rho: Any,
    strength: Any = 1.0,
    threshold: Any = 1.0,
    spike: Spike,
    key: jax.Array | None = None,
    state_fn: StateFn | None = None,
    steps: int | None = None,
    recurrent: Any = None,
    state: Adaptive | None = None,
    state_dtype: Any = None,
    method: str = "auto",
    checkpoint_every: int | None = None,
    reset: str = "subtract",
    reset_delay: bool = True,
    detach_reset: bool = True,
    emit: str = "post",
    reset_again: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """A whole sequence of `adaptive_lif_step`: (spikes_tb, membrane_tb) [T, B, ...]. The arguments are those
    of `adaptive_lif_step` and `lif`."""
    c = conventions(reset, reset_delay, detach_reset, emit, reset_again)
    current_tb = floating(current_tb)
    start = Adaptive(*states(current_tb, steps, state_dtype, *(state or (None, None))))
    like = start.membrane
    p = parameters(
        like, beta=beta, threshold=threshold, spike=spike, state_fn=state_fn, key=key, rho=rho, strength=strength
    )
    cell = Cell(partial(adaptive_integrate, c), partial(adaptive_fire, c), None)
    x_tb = current_tb.astype(like.dtype)
    spikes_tb, membrane_tb = sequence(cell, p, start, x_tb, steps, recurrent, method, checkpoint_every)
    return spikes_tb.astype(current_tb.dtype), membrane_tb
