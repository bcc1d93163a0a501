"""What all neurons share: the parameters of a step, states of zeros, and a cell run over time, fed back or not."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxsnn_mia.kernels import surrogate
from jaxsnn_mia.kernels.neuron.cell import Cell, Parameters, hoist
from jaxsnn_mia.kernels.neuron.scan import checkpointed, over_time
from jaxsnn_mia.kernels.numerics import align, floating, unit_clip

StateFn = Callable[[jax.Array], jax.Array]
Spike = Callable[..., jax.Array]


def parameters(
    like: jax.Array, *, beta, threshold=1.0, spike=None, state_fn=None, key=None, gain=None, strength=None, **decays
) -> Parameters:
    """The parameters of a neuron with a membrane as `like` [B, ...]: decays are clipped to [0, 1], functions of the
    caller's become pytrees."""
    if isinstance(spike, str):
        spike = surrogate.named(spike)
    numbers = {"threshold": threshold, "gain": gain, "strength": strength}
    return Parameters(
        beta=unit_clip(align(beta, like)),
        spike=hoist(spike, like),
        state_fn=hoist(state_fn, like),
        key=key,
        **{name: align(value, like) for name, value in numbers.items() if value is not None},
        **{name: unit_clip(align(value, like)) for name, value in decays.items()},
    )


def scaled(current: jax.Array, gain: Any, dtype: Any) -> jax.Array:
    """gain x current, in the dtype of the membrane."""
    current = current.astype(dtype)
    return current if isinstance(gain, float) and gain == 1.0 else current * align(gain, current)


def states(current_tb: jax.Array, steps: int | None, dtype: Any, *given: jax.Array | None) -> list[jax.Array]:
    """Each state array in `dtype`, zeros [B, ...] where none is given."""
    if steps is not None and steps < 1:
        raise ValueError(f"`steps` must be at least 1, or None for a current over time [T, B, ...], got {steps}.")
    known = next((floating(state).dtype for state in given if state is not None), current_tb.dtype)
    dtype = jnp.dtype(known if dtype is None else dtype)
    zeros = jnp.zeros(current_tb.shape if steps else current_tb.shape[1:], dtype)
    return [zeros if state is None else jnp.asarray(state, dtype) for state in given]


def sequence(
    cell: Cell, p: Parameters, carry: Any, x_tb: jax.Array, steps: int | None, recurrent: Any, method: str,
    checkpoint_every: int | None,
) -> tuple:  # fmt: skip
    """The outputs [T, B, ...] of a cell over its input x [T, B, ...] or, with `steps`, x [B, ...] at each of them; with
    `recurrent`, its spikes of the last step are fed back."""
    if recurrent is not None:
        cell, p, carry = fed_back(cell, p, carry, recurrent, jnp.zeros_like(x_tb if steps else x_tb[0]))
    times = jnp.arange(steps or len(x_tb))
    if steps:
        p, x_tb = p._replace(constant=x_tb), None
    run = partial(over_time, method, cell, p)
    if checkpoint_every is None:
        return run(carry, x_tb, times)[1]
    if checkpoint_every < 1:
        raise ValueError(f"`checkpoint_every` must be at least 1 or None, got {checkpoint_every}.")
    return checkpointed(run, carry, x_tb, times, checkpoint_every)[1]


def fed_back(cell: Cell, p: Parameters, carry: Any, recurrent: Any, silent: jax.Array) -> tuple[Cell, Parameters, Any]:
    """A cell whose state also holds the last spikes, which add `recurrent` of themselves to the input."""
    feedback = hoist(recurrent, silent) if callable(recurrent) else jnp.asarray(recurrent)

    def integrate(p, carry, x, t):
        inner, spikes = carry
        current = p.recurrent(spikes) if callable(p.recurrent) else spikes @ p.recurrent
        return cell.integrate(p, inner, x + current, t)

    def fire(p, carry, raw, t):
        inner, out = cell.fire(p, carry[0], raw, t)
        return (inner, out[0]), out

    def rebuild(p, raw):
        inner, out = cell.rebuild(p, raw)  # type: ignore[misc]
        return (inner, out[0]), out

    return Cell(integrate, fire, rebuild if cell.rebuild else None), p._replace(recurrent=feedback), (carry, silent)
