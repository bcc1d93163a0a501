"""One time step in two halves, and its cotangents: what every way of running a neuron over time shares.

A step is ``raw = integrate(p, carry, x, t)``, where the current x enters by a sum, then
``carry, out = fire(p, carry, raw, t)``: state function, firing, reset.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero


class Parameters(NamedTuple):
    """What a step computes with beside its state and its input, a pytree. None: the neuron has no such thing.

    Numbers are scalars or broadcast to [B, ...]. Functions are pytrees too: a `Surrogate`, or a `Hoisted` one.
    """

    alpha: Any = None  # decay of the synaptic current, in [0, 1]
    beta: Any = None  # decay of the membrane, in [0, 1]
    constant: Any = None  # the input current [B, ...] where it is the same at each step
    gain: Any = None  # of the synaptic current on its way to the membrane
    key: Any = None  # of a stochastic surrogate
    recurrent: Any = None  # weights [n, n] or a function, from the last spikes to the input current
    rho: Any = None  # decay of the threshold's adaptation, in [0, 1]
    spike: Any = None  # the spike function of membrane - threshold
    state_fn: Any = None  # acts on the integrated membrane
    strength: Any = None  # of the threshold's adaptation
    threshold: Any = None


class Cell(NamedTuple):
    """The parts of one step, functions of arrays alone: what may be traced comes in the `Parameters` p.

    integrate(p, carry, x, t) -> raw, the current x plus what does not depend on it; fire(p, carry, raw, t) -> (carry,
    out), out a tuple of arrays; rebuild(p, raw) -> (carry, out) after the step, or None where raw cannot tell them.
    """

    integrate: Callable[..., Any]
    fire: Callable[..., Any]
    rebuild: Callable[..., Any] | None


def pull_step(cell: Cell, join: Callable, wide: list, cotangents: tuple, before: Any, raw: Any, t: Any, out_ct: Any):
    """One step of the reverse scan.

    `join(wide)` is `p`; cotangents = (of the carry after the step, of each of `wide` so far). Returns the same pair
    before the step, and the cotangent of the current.
    """
    carry_ct, wide_ct = cotangents
    _, pull_fire = jax.vjp(lambda w, c, r: cell.fire(join(w), c, r, t), wide, before, raw)
    wide_fire, carry_fire, raw_ct = pull_fire((carry_ct, out_ct))
    _, pull_integrate = jax.vjp(lambda w, c: cell.integrate(join(w), c, jnp.zeros_like(raw), t), wide, before)
    wide_integrate, carry_integrate = pull_integrate(raw_ct)
    wide_ct = jax.tree.map(lambda total, a, b: total + a + b, wide_ct, wide_fire, wide_integrate)
    return (jax.tree.map(jnp.add, carry_fire, carry_integrate), wide_ct), raw_ct


def over_the_same_axes(*trees: Any) -> tuple:
    """The trees with every floating leaf varying over the mesh axes that any leaf varies over; outside `shard_map`
    that is nothing. The cotangent of what was the same on all devices is then their sum."""

    def varies(leaf):
        return jax.typeof(leaf).manual_axis_type.varying

    axes = set[Any]().union(*map(varies, jax.tree.leaves(trees)))

    def spread(leaf):
        missing = tuple(axes - varies(leaf))
        is_float = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        return jax.lax.pcast(jnp.asarray(leaf), missing, to="varying") if missing and is_float else leaf

    return jax.tree.map(spread, trees)


def is_zero(cotangent: Any) -> bool:
    """Whether a cotangent is known to be zero without being an array."""
    return isinstance(cotangent, SymbolicZero)


def widened(p: Any, shape: tuple[int, ...]) -> Any:
    """p with each floating parameter that acts on every element of [B, ...] = `shape` spread to it (a scalar, or ones
    along the batch), so that its cotangents are summed once, at the end. What a caller's function closed over keeps
    the shape that it was traced with."""

    def spread(leaf):
        if isinstance(leaf, Hoisted) or not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            return leaf
        size = jnp.shape(leaf)
        aligned = len(size) == len(shape) and size[0] == 1 != shape[0] and size[1:] == shape[1:]
        return jnp.broadcast_to(leaf, shape) if size == () or aligned else leaf

    return jax.tree.map(spread, p, is_leaf=lambda leaf: isinstance(leaf, Hoisted))


def sum_to(x: jax.Array, like: jax.Array) -> jax.Array:
    """x [B, ...] summed to the shape of the parameter that was spread to it."""
    if x.shape == like.shape:
        return x
    return x.sum() if like.ndim == 0 else x.sum(0, keepdims=True)


def split_floats(p: Any) -> tuple[list, Callable[..., Any]]:
    """(the floating leaves, a function that puts them back); with zeros=True the other leaves become None, which is
    the cotangent of a key or an integer."""
    leaves, structure = jax.tree.flatten(p)
    is_float = [jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves]

    def join(floats, zeros=False):
        rest = iter(floats)
        others = [np.zeros(jnp.shape(leaf), jax.dtypes.float0) if zeros else leaf for leaf in leaves]
        joined = [next(rest) if f else other for other, f in zip(others, is_float, strict=True)]
        return structure.unflatten(joined)

    return [jnp.asarray(leaf) for leaf, f in zip(leaves, is_float, strict=True) if f], join


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Hoisted:
    """A function of arrays alone: what the original closed over and may be traced is a leaf."""

    function: Callable = dataclasses.field(metadata={"static": True})
    constants: list = dataclasses.field(default_factory=list)

    def __call__(self, *args: jax.Array) -> jax.Array:
        return self.function(*args, *self.constants)


def hoist(function: Callable | None, example: jax.Array) -> Any:
    """A caller's function as an operand of a custom_vjp; pytrees (a `Surrogate`) and None are that already."""
    if function is None or jax.tree.structure(function) != LEAF:
        return function
    return Hoisted(*jax.closure_convert(function, example))


LEAF = jax.tree.structure(0)
