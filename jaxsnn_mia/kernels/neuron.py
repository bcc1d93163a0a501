"""Integrate-and-fire neurons: one step, and whole sequences whose backward stores no more than it needs.

Each neuron is a `..._step` and a sequence function of the same arguments. Arrays may have any trailing shape: [B, n],
[B, H, W, C]. `reset.py` spells the conventions out; `PRESETS` names those of the libraries. A leaky integrate-and-fire
neuron with beta = 1 is an integrate-and-fire neuron.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxsnn_mia.kernels.cell import Cell, hoist
from jaxsnn_mia.kernels.fused import checkpointed, over_time
from jaxsnn_mia.kernels.reset import (
    PRESETS,
    RESETS,
    align,
    conventions,
    integrate,
    late_reset,
    settle,
    take_off,
    unit_clip,
)

StateFn = Callable[[jax.Array], jax.Array]
Spike = Callable[..., jax.Array]

__all__ = [
    "PRESETS", "RESETS", "Adaptive", "Synaptic", "adaptive_lif", "adaptive_lif_step", "conventions", "leaky_integrator",
    "lif", "lif_step", "synaptic", "synaptic_step", "unit_clip",
]  # fmt: skip


class Synaptic(NamedTuple):
    """State of a current-based neuron: synaptic current and membrane [B, ...]."""

    current: jax.Array
    membrane: jax.Array


class Adaptive(NamedTuple):
    """State of an adaptive neuron: membrane and threshold adaptation [B, ...]."""

    membrane: jax.Array
    adaptation: jax.Array


def operands(like: jax.Array, *, beta, threshold=1.0, spike=None, state_fn=None, key=None, **decays) -> dict:
    """The pytree that a step computes with: clipped decays, threshold, spike and state functions, key."""
    return {
        "beta": unit_clip(align(beta, like)),
        "threshold": align(threshold, like),
        "spike": hoist(spike, like),
        "state_fn": hoist(state_fn, like),
        "key": key,
        **{name: unit_clip(align(value, like)) for name, value in decays.items()},
    }


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
    **reset: Any,
) -> tuple[jax.Array, jax.Array]:
    """One time step of a leaky integrate-and-fire neuron.

    Args:
      membrane: membrane potential before the step [...], in the unit of the threshold.
      current: input current [...], float32, bfloat16 or float16.
      beta: decay per step, clipped to [0, 1]; scalar or broadcastable to [...]. 1 is a neuron without leak.
      threshold: firing threshold; scalar or broadcastable.
      spike: a `Surrogate`, or any function of membrane - threshold (a `spyx.axn` one too).
      gain: multiplies the current (SpikingJelly's `decay_input` is 1 - beta).
      key: typed key of a stochastic surrogate, for this step.
      state_fn: acts on the membrane after integration and before firing (membrane quantization).
      **reset: reset="subtract" | "zero" | "none", reset_delay=True, detach_reset=True (no gradient through the reset),
        emit="post" | "pre", reset_again=False; see `reset.py`.

    Returns:
      (membrane [...] after the step, in its own dtype; spikes [...] 0 or 1, in the dtype of `current`).

    Raises:
      ValueError: an unknown `reset` or `emit`; a stochastic surrogate without a key.

    Source: Eshraghian et al. 2023 (arXiv 2109.12894), section III; snnTorch 1.0 `Leaky`.
    """
    c = conventions(**reset)
    p = operands(membrane, beta=beta, threshold=threshold, spike=spike, state_fn=state_fn, key=key)
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
    **reset: Any,
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
      method: "auto", "fused", "pallas" or "plain" (a scan with jax's own backward); see `fused.over_time`.
      checkpoint_every: keep the membrane only every so many steps and compute the rest again (long T).
      The others are those of `lif_step`.

    Returns:
      (spikes_tb [T, B, ...] in the dtype of the current, membrane_tb [T, B, ...] in `state_dtype`).

    Raises:
      ValueError: as `lif_step`; `checkpoint_every` below 1.
    """
    c = conventions(**reset)
    (state,) = states(current_tb, steps, state_dtype, state)
    p = operands(state, beta=beta, threshold=threshold, spike=spike, state_fn=state_fn, key=key)

    def after(p, v, raw, t):
        v, spikes = settle(c, p, v, raw, t)
        return v, (spikes, v)

    def rebuild(p, raw):
        return after(p, raw, raw, 0)

    # with a delayed reset the integrated membrane tells the whole state
    cell = Cell(partial(integrate, c), after, rebuild if c.emit == "post" and c.reset_delay else None)
    x_tb = scaled(current_tb, gain, state.dtype)
    spikes_tb, membrane_tb = sequence(cell, p, state, x_tb, steps, recurrent, method, checkpoint_every)
    return spikes_tb.astype(current_tb.dtype), membrane_tb


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
    **reset: Any,
) -> tuple[Synaptic, jax.Array]:
    """One step of a current-based neuron: i' = a i + x, then the membrane of `lif_step` with the current gain i'.

    `alpha` is the decay of the synaptic current, clipped to [0, 1]; the others are those of `lif_step`. Returns
    (state, spikes). Norse's LIF is alpha = 1 - dt/tau_syn, beta = 1 - dt/tau_mem, gain = dt/tau_mem and
    PRESETS["norse"].
    Source: snnTorch 1.0 `Synaptic`; Pehle and Pedersen 2021 (Norse).
    """
    c = conventions(**reset)
    p = operands(
        state.membrane, beta=beta, threshold=threshold, spike=spike, state_fn=state_fn, key=key, alpha=alpha
    ) | {"gain": align(gain, state.membrane)}
    raw = synaptic_before(c, p, state, current.astype(state.current.dtype), 0)
    state, (spikes, _) = synaptic_after(c, p, state, raw, 0)
    return state, spikes.astype(current.dtype)


def synaptic_before(c, p, state, x, t):
    """The synaptic current after a step."""
    return p["alpha"] * state.current + x


def synaptic_after(c, p, state, raw, t):
    """The second half of a current-based step, once the synaptic current `raw` is known. As in snnTorch, a delayed
    reset to zero empties the membrane after this step's input, not before."""
    integrated = p["beta"] * state.membrane + p["gain"] * raw
    fired = late_reset(c, p, state.membrane, t)
    if fired is not None:
        integrated = take_off(c, integrated, fired, p["threshold"])
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
    **reset: Any,
) -> tuple[jax.Array, jax.Array]:
    """A whole sequence of `synaptic_step`: (spikes_tb, membrane_tb) [T, B, ...]. The arguments are those of
    `synaptic_step` and `lif`; recurrent spikes enter the synaptic current."""
    c = conventions(**reset)
    start = Synaptic(*states(current_tb, steps, state_dtype, *(state or (None, None))))
    like = start.membrane
    p = operands(like, beta=beta, threshold=threshold, spike=spike, state_fn=state_fn, key=key, alpha=alpha)
    p["gain"] = align(gain, like)
    cell = Cell(partial(synaptic_before, c), partial(synaptic_after, c), None)
    x_tb = current_tb.astype(like.dtype)
    spikes_tb, membrane_tb = sequence(cell, p, start, x_tb, steps, recurrent, method, checkpoint_every)
    return spikes_tb.astype(current_tb.dtype), membrane_tb


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
    **reset: Any,
) -> tuple[Adaptive, jax.Array]:
    """One step of a neuron whose threshold rises as it fires: `lif_step` with threshold + strength a, then
    a' = rho a + (1 - rho) s.

    `rho` is the decay of the adaptation, clipped to [0, 1]; the others are those of `lif_step`. Returns
    (state, spikes).
    Source: Bellec et al. 2018 (arXiv 1803.09574), section 2; Spyx's `ALIF` is PRESETS["spyx"].
    """
    c = conventions(**reset)
    like = state.membrane
    p = operands(like, beta=beta, threshold=threshold, spike=spike, state_fn=state_fn, key=key, rho=rho)
    p["strength"] = align(strength, like)
    raw = adaptive_before(c, p, state, current.astype(like.dtype), 0)
    state, (spikes, _) = adaptive_after(c, p, state, raw, 0)
    return state, spikes.astype(current.dtype)


def raised(p: dict, state: Adaptive) -> dict:
    """The operands with the threshold of the moment."""
    return {**p, "threshold": p["threshold"] + p["strength"] * state.adaptation}


def adaptive_before(c, p, state, x, t):
    return integrate(c, raised(p, state), state.membrane, x, t)


def adaptive_after(c, p, state, raw, t):
    v, spikes = settle(c, raised(p, state), state.membrane, raw, t)
    return Adaptive(v, p["rho"] * state.adaptation + (1 - p["rho"]) * spikes), (spikes, v)


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
    **reset: Any,
) -> tuple[jax.Array, jax.Array]:
    """A whole sequence of `adaptive_lif_step`: (spikes_tb, membrane_tb) [T, B, ...]. The arguments are those
    of `adaptive_lif_step` and `lif`."""
    c = conventions(**reset)
    start = Adaptive(*states(current_tb, steps, state_dtype, *(state or (None, None))))
    like = start.membrane
    p = operands(like, beta=beta, threshold=threshold, spike=spike, state_fn=state_fn, key=key, rho=rho)
    p["strength"] = align(strength, like)
    cell = Cell(partial(adaptive_before, c), partial(adaptive_after, c), None)
    x_tb = current_tb.astype(like.dtype)
    spikes_tb, membrane_tb = sequence(cell, p, start, x_tb, steps, recurrent, method, checkpoint_every)
    return spikes_tb.astype(current_tb.dtype), membrane_tb


def leaky_integrator(
    current_tb: jax.Array, *, beta: Any, state: jax.Array | None = None, associative: bool = False
) -> jax.Array:
    """membrane_tb [T, B, ...] of v' = b v + x, which never fires: a readout for logits.

    `associative` takes a parallel scan over time, of depth log T, instead of the sequential one.
    """
    (state,) = states(current_tb, None, None, state)
    beta = unit_clip(align(beta, state))
    if associative:
        return linear_recurrence(current_tb, beta, state)
    cell = Cell(
        lambda p, v, x, t: p["beta"] * v + x,
        lambda p, v, raw, t: (raw, (raw,)),
        lambda p, raw: (raw, (raw,)),
    )
    return sequence(cell, {"beta": beta}, state, current_tb, None, None, "auto", None)[0]


def linear_recurrence(x_tb: jax.Array, beta: jax.Array, state: jax.Array) -> jax.Array:
    """v_t = b v_{t-1} + x_t for all t [T, B, ...] by an associative scan (Martin and Cundy 2018, arXiv 1709.04057)."""
    x_tb = jnp.concatenate([(beta * state + x_tb[0])[None], x_tb[1:]])
    decay_tb = jnp.broadcast_to(beta, x_tb.shape)

    def combine(early, late):
        return early[0] * late[0], late[0] * early[1] + late[1]

    return lax.associative_scan(combine, (decay_tb, x_tb))[1]


def scaled(current: jax.Array, gain: Any, dtype: Any) -> jax.Array:
    """gain x current, in the dtype of the membrane."""
    current = current.astype(dtype)
    return current if isinstance(gain, float) and gain == 1.0 else current * align(gain, current)


def states(current_tb: jax.Array, steps: int | None, dtype: Any, *given: jax.Array | None) -> list[jax.Array]:
    """Each state array in `dtype`, zeros [B, ...] where none is given."""
    if steps is not None and steps < 1:
        raise ValueError(f"`steps` must be at least 1, or None for a current over time [T, B, ...], got {steps}.")
    known = next((state.dtype for state in given if state is not None), current_tb.dtype)
    dtype = jnp.dtype(known if dtype is None else dtype)
    zeros = jnp.zeros(current_tb.shape if steps else current_tb.shape[1:], dtype)
    return [zeros if state is None else state.astype(dtype) for state in given]


def sequence(
    cell: Cell, p: dict, carry: Any, x_tb: jax.Array, steps: int | None, recurrent: Any, method: str,
    checkpoint_every: int | None,
) -> tuple:  # fmt: skip
    """The outputs [T, B, ...] of a cell over its input x [T, B, ...] or, with `steps`, x [B, ...] at each of them; with
    `recurrent`, its spikes of the last step are fed back."""
    if recurrent is not None:
        cell, p, carry = fed_back(cell, p, carry, recurrent, jnp.zeros_like(x_tb if steps else x_tb[0]))
    times = jnp.arange(steps or len(x_tb))
    if steps:
        p, x_tb = p | {"input": x_tb}, None
    run = partial(over_time, method, cell, p)
    if checkpoint_every is None:
        return run(carry, x_tb, times)[1]
    if checkpoint_every < 1:
        raise ValueError(f"`checkpoint_every` must be at least 1 or None, got {checkpoint_every}.")
    return checkpointed(run, carry, x_tb, times, checkpoint_every)[1]


def fed_back(cell: Cell, p: dict, carry: Any, recurrent: Any, silent: jax.Array) -> tuple[Cell, dict, Any]:
    """A cell whose state also holds the last spikes, which add `recurrent` of themselves to the input."""
    feedback = hoist(recurrent, silent) if callable(recurrent) else jnp.asarray(recurrent)

    def before(p, carry, x, t):
        inner, spikes = carry
        feedback = p["recurrent"]
        return cell.before(p, inner, x + (feedback(spikes) if callable(feedback) else spikes @ feedback), t)

    def after(p, carry, raw, t):
        inner, out = cell.after(p, carry[0], raw, t)
        return (inner, out[0]), out

    def rebuild(p, raw):
        inner, out = cell.rebuild(p, raw)  # type: ignore[misc]
        return (inner, out[0]), out

    return Cell(before, after, rebuild if cell.rebuild else None), p | {"recurrent": feedback}, (carry, silent)
