"""A time scan with a backward of its own, for neurons whose input current enters by a sum.

One step is ``raw = before(p, carry, x, t)``, integration, then ``carry, out = after(p, carry, raw, t)``: state
function, firing, reset. The forward keeps `raw` and, only where `rebuild(p, raw)` cannot give the carry back, the
carry; the input current is never read again, and everything else is recomputed in the reverse scan. For a plain LIF
that is 4 bytes stored per neuron-step in float32, and 24 moved: current in, spike and membrane out; membrane and spike
cotangent in, current cotangent out.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

LONGEST_UNROLLED = 10  # XLA fuses this many steps well; beyond, it recomputes the chain for every step


class Cell(NamedTuple):
    """The parts of one step, functions of arrays alone: what may be traced comes in the pytree `p`.

    before(p, carry, x, t) -> raw, the current x plus what does not depend on it; after(p, carry, raw, t) -> (carry,
    out), out a tuple of arrays; rebuild(p, raw) -> (carry, out) after the step, or None where raw cannot tell them.
    """

    before: Callable[..., Any]
    after: Callable[..., Any]
    rebuild: Callable[..., Any] | None


def unroll(steps: int) -> bool:
    """Whether a time loop of `steps` is written out."""
    return steps <= LONGEST_UNROLLED


def plain_scan(cell: Cell, p: Any, carry: Any, x_tb: jax.Array, times: jax.Array) -> tuple[Any, Any]:
    """(last carry, out_tb) by a scan that jax differentiates: the reference for `fused_scan`."""

    def body(carry, step):
        x, t = step
        return cell.after(p, carry, cell.before(p, carry, x, t), t)

    return lax.scan(body, carry, (x_tb, times), unroll=unroll(len(x_tb)))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def fused_scan(cell: Cell, p: Any, carry: Any, x_tb: jax.Array, times: jax.Array) -> tuple[Any, Any]:
    """(last carry, out_tb) of the cell over currents x [T, B, ...] at the steps `times` int [T]; see the module."""
    return _forward(cell, p, carry, x_tb, times)[0]


def _forward(cell, p, carry, x_tb, times):
    def body(carry, step):
        x, t = step
        raw = cell.before(p, carry, x, t)
        after, out = cell.after(p, carry, raw, t)
        return after, (raw, None, None) if cell.rebuild else (raw, carry, out)

    last, (raw_tb, before_tb, out_tb) = lax.scan(body, carry, (x_tb, times), unroll=unroll(len(x_tb)))
    if cell.rebuild:
        _, out_tb = jax.vmap(partial(cell.rebuild, p))(raw_tb)
    return (last, out_tb), (p, carry, raw_tb, before_tb, times)


def _backward(cell, saved, cotangents):
    p, first, raw_tb, before_tb, times = saved
    last_ct, out_ct = cotangents
    floats, join = split_floats(p)
    shape = raw_tb.shape[1:]

    def pull_step(state, before, raw, t, out_ct):
        """Cotangents of one step; those of scalars and [B, ...] parameters stay [B, ...] until the end."""
        carry_ct, p_ct = state
        wide = [jnp.broadcast_to(leaf, shape) if spreads(leaf, shape) else leaf for leaf in floats]
        _, pull_after = jax.vjp(lambda f, c, r: cell.after(join(f), c, r, t), wide, before, raw)
        p_after, carry_after, raw_ct = pull_after((carry_ct, out_ct))
        _, pull_before = jax.vjp(lambda f, c: cell.before(join(f), c, jnp.zeros_like(raw), t), wide, before)
        p_before, carry_before = pull_before(raw_ct)
        p_ct = jax.tree.map(lambda total, a, b: total + a + b, p_ct, p_after, p_before)
        return (jax.tree.map(jnp.add, carry_after, carry_before), p_ct), raw_ct

    def before_step(i, before):
        if cell.rebuild is None:
            return before
        rebuilt, _ = cell.rebuild(p, raw_tb[jnp.maximum(i - 1, 0)])
        return jax.tree.map(lambda given, known: jnp.where(i == 0, given, known), first, rebuilt)

    def body(state, step):
        i, t, raw, before, out_ct = step
        return pull_step(state, before_step(i, before), raw, t, out_ct)

    zeros = [jnp.zeros(shape if spreads(leaf, shape) else leaf.shape, leaf.dtype) for leaf in floats]
    steps = (jnp.arange(len(raw_tb)), times, raw_tb, before_tb, out_ct)
    (first_ct, p_ct), x_ct = lax.scan(body, (last_ct, zeros), steps, reverse=True, unroll=unroll(len(raw_tb)))
    p_ct = [sum_to(ct, leaf) for ct, leaf in zip(p_ct, floats, strict=True)]
    return join(p_ct, zeros=True), first_ct, x_ct, None


def spreads(leaf: jax.Array, shape: tuple[int, ...]) -> bool:
    """Whether a parameter acts on each element of [B, ...]: a scalar, or aligned with one axis at least of size one."""
    return leaf.ndim == 0 or (
        leaf.ndim == len(shape) and leaf.shape[0] == 1 != shape[0] and leaf.shape[1:] == shape[1:]
    )


def sum_to(x: jax.Array, like: jax.Array) -> jax.Array:
    """x [B, ...] summed to the shape of the parameter that was spread to it."""
    if x.shape == like.shape:
        return x
    return x.sum() if like.ndim == 0 else x.sum(0, keepdims=True)


fused_scan.defvjp(_forward, _backward)


def split_floats(p: Any) -> tuple[list, Callable[..., Any]]:
    """(the floating leaves, a function that puts them back); with zeros=True the other leaves become None, which is
    the cotangent of a key or an integer."""
    leaves, structure = jax.tree.flatten(p)
    is_float = [jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves]

    def join(floats, zeros=False):
        rest = iter(floats)
        others = [zero_of(leaf) if zeros else leaf for leaf in leaves]
        joined = [next(rest) if f else other for other, f in zip(others, is_float, strict=True)]
        return structure.unflatten(joined)

    return [jnp.asarray(leaf) for leaf, f in zip(leaves, is_float, strict=True) if f], join


def zero_of(leaf: Any) -> Any:
    """The float0 zero of an integer or a key."""
    return np.zeros(jnp.shape(leaf), jax.dtypes.float0)


@partial(jax.tree_util.register_dataclass, data_fields=["constants"], meta_fields=["function"])
@dataclasses.dataclass(frozen=True)
class Hoisted:
    """A function of arrays alone: what the original closed over and may be traced is a leaf."""

    function: Callable
    constants: list

    def __call__(self, *args: jax.Array) -> jax.Array:
        return self.function(*args, *self.constants)


def hoist(function: Callable | None, example: jax.Array) -> Any:
    """A caller's function as an operand of a custom_vjp; pytrees (a `Surrogate`) and None are that already."""
    if function is None or jax.tree.structure(function) != LEAF:
        return function
    return Hoisted(*jax.closure_convert(function, example))


LEAF = jax.tree.structure(0)


def checkpointed(scan: Callable, carry: Any, x_tb: jax.Array, times: jax.Array, every: int) -> tuple[Any, Any]:
    """`scan(carry, x_tb, times)` that keeps only the carry of each `every` steps and runs the rest again in the
    backward."""
    whole = len(x_tb) // every * every
    block = jax.checkpoint(scan)
    blocks = (x_tb[:whole].reshape(-1, every, *x_tb.shape[1:]), times[:whole].reshape(-1, every))
    carry, out = lax.scan(lambda carry, part: block(carry, *part), carry, blocks)
    out = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), out)
    if whole < len(x_tb):
        carry, rest = block(carry, x_tb[whole:], times[whole:])
        out = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), out, rest)
    return carry, out
