"""The conventions of a step: what integrates, when it fires, how it resets.

With b = clip(beta, 0, 1), th the threshold, H the spike function, sg a stop-gradient and reset "subtract":

    delayed (snnTorch's default)      r = sg H(v - th);  v' = b v + x - r th;  s = H(v' - th)
    immediate (reset_delay=False)     u = b v + x;  s = H(u - th);  v' = u - s th
    emit="pre" (Spyx)                 s = H(v - th);  v' = b v + x - s th

Reset "zero" multiplies by (1 - r) or (1 - s) instead, "none" leaves the membrane alone. snnTorch's immediate reset
first takes off what still lies above the threshold (`reset_again=True`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import lax

from jaxsnn_mia.kernels.neuron.cell import Parameters
from jaxsnn_mia.kernels.surrogate import Surrogate

RESETS = ("subtract", "zero", "none")
EMITS = ("post", "pre")
Spike = Callable[..., jax.Array]

# keyword arguments of `lif`, for neurons without feedback: recurrent ones of these libraries differ further, see the
# README of the kernels; Norse's two-state neuron is `synaptic` with alpha = 1 - dt/tau_syn, beta = 1 - dt/tau_mem,
# gain = dt/tau_mem, and SpikingJelly's `decay_input` is gain = 1 - beta
PRESETS: dict[str, dict[str, Any]] = {
    "snntorch": {"reset_delay": True, "detach_reset": True, "emit": "post"},
    "snntorch_immediate": {"reset_delay": False, "detach_reset": False, "emit": "post", "reset_again": True},
    "spyx": {"detach_reset": False, "emit": "pre"},
    "spikingjelly": {"reset_delay": False, "detach_reset": False, "emit": "post"},
    "norse": {"reset": "zero", "reset_delay": False, "detach_reset": False, "emit": "post"},
}


class Conventions(NamedTuple):
    """The static choices of a neuron, checked."""

    reset: str
    reset_delay: bool
    detach_reset: bool
    emit: str
    reset_again: bool


def conventions(
    reset: str = "subtract",
    reset_delay: bool = True,
    detach_reset: bool = True,
    emit: str = "post",
    reset_again: bool = False,
) -> Conventions:
    """Raises ValueError for an unknown `reset` or `emit`, or a `reset_again` that means nothing."""
    if reset not in RESETS:
        raise ValueError(f"`reset` must be one of {RESETS}, got {reset!r}.")
    if emit not in EMITS:
        raise ValueError(f"`emit` must be one of {EMITS}, got {emit!r}.")
    if reset_again and (reset_delay or emit == "pre"):
        raise ValueError('`reset_again` goes with reset_delay=False and emit="post" alone.')
    return Conventions(reset, reset_delay, detach_reset, emit, reset_again)


def take_off(c: Conventions, v: jax.Array, fired: jax.Array, threshold: jax.Array) -> jax.Array:
    """The membrane after a reset of those that fired."""
    if c.reset == "none":
        return v
    return v * (1 - fired) if c.reset == "zero" else v - fired * threshold


def fire(p: Parameters, excess: jax.Array, t: Any) -> jax.Array:
    """Spikes where excess = membrane - threshold is positive; `t` is folded into the key of a stochastic surrogate."""
    spike = p.spike
    if isinstance(spike, Surrogate) and spike.stochastic:
        return spike(excess, p.key if p.key is None else jax.random.fold_in(p.key, t))
    return spike(excess)


def late_reset(c: Conventions, p: Parameters, v: jax.Array, t: Any) -> jax.Array | None:
    """What a delayed reset takes off at step t: the spikes of step t - 1, read off the membrane; None for no such."""
    if c.reset == "none" or c.emit == "pre" or not (c.reset_delay or c.reset_again):
        return None
    if c.detach_reset or c.reset_again:
        return lax.stop_gradient(fire(p, v - p.threshold, t))
    return fire(p, v - p.threshold, t - 1)


def integrate(c: Conventions, p: Parameters, v: jax.Array, x: jax.Array, t: Any) -> jax.Array:
    """The decayed membrane plus the input, after a delayed reset."""
    fired = late_reset(c, p, v, t)
    if fired is None:
        return p.beta * v + x
    return p.beta * (v * (1 - fired)) + x if c.reset == "zero" else p.beta * v + (x - fired * p.threshold)


def settle(c: Conventions, p: Parameters, v: jax.Array, raw: jax.Array, t: Any) -> tuple[jax.Array, jax.Array]:
    """(membrane, spikes) after a step, from the membrane before it and the integrated one."""
    threshold = p.threshold
    integrated = raw if p.state_fn is None else p.state_fn(raw)
    spikes = fire(p, (v if c.emit == "pre" else integrated) - threshold, t)
    if c.emit == "post" and c.reset_delay:
        return integrated, spikes
    taken = lax.stop_gradient(spikes) if c.detach_reset else spikes
    again = late_reset(c, p, v, t)
    return take_off(c, integrated, taken if again is None else taken - again, threshold), spikes
