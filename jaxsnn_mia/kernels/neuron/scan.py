"""A neuron run over time with a backward of its own, for neurons whose input current enters by a sum.

The forward keeps `raw`, the integrated membrane, and, only where `cell.rebuild(p, raw)` cannot give the carry back,
the carry; the input current is never read again, and everything else is recomputed in the reverse scan. For a plain LIF
that is 4 bytes stored per neuron-step in float32, and 24 moved: current in, spike and membrane out; membrane and spike
cotangent in, current cotangent out. The time loop is a `lax.scan`, or one Pallas kernel on an accelerator.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxsnn_mia.kernels.neuron import pallas
from jaxsnn_mia.kernels.neuron.cell import (
    Cell,
    Parameters,
    is_zero,
    over_the_same_axes,
    pull_step,
    split_floats,
    sum_to,
    widened,
)
from jaxsnn_mia.kernels.platform import platform
from jaxsnn_mia.kernels.surrogate import Surrogate

METHODS = ("auto", "plain", "fused", "pallas")
LONGEST_UNROLLED = 10  # XLA fuses this many steps well; beyond, it recomputes the chain for every step
LONGEST_ON_ACCELERATOR = 32  # a step that is not written out is a kernel, and its arrays go through memory
LONGEST_SUMMED = 32  # steps of a reverse loop that are one kernel on CPUs where only their sum is asked for


def over_time(
    method: str, cell: Cell, p: Parameters, carry: Any, x_tb: jax.Array | None, times: jax.Array
) -> tuple[Any, Any]:
    """(last carry, out_tb) of the cell over currents x [T, B, ...] at the steps `times` int [T]; where `x_tb` is None,
    over the current p.constant [B, ...] at each of them.

    `method` is "plain" (a scan that jax differentiates, in forward mode too: the reference), "fused", "pallas"
    (compiled on a GPU or TPU, interpreted elsewhere) or "auto": Pallas where it was seen to work, else fused; on GPUs a
    current that stays the same is fused too, where short loops are written out. These two have a backward of their own,
    so `jax.jvp`, `jacfwd`, `hessian` and `linearize` refuse them. Raises ValueError for another method, or for "pallas"
    where a step is not made of elementwise operations alone.
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}, got {method!r}.")
    if x_tb is None:
        cell = cell._replace(integrate=partial(constant, cell.integrate))
    p, carry, x_tb = over_the_same_axes(p, carry, x_tb)
    if method == "plain":
        return plain_scan(cell, p, carry, x_tb, times)
    if isinstance(p.spike, Surrogate):
        p = p._replace(spike=dataclasses.replace(p.spike, reverse=True))
    refusal = pallas.refusal(p, len(times))
    if method == "pallas" and refusal:
        raise ValueError(f'`method="pallas"` takes no {refusal}. Pass method="fused" or "auto".')
    pays = x_tb is not None or platform() == "tpu"
    in_pallas = method == "pallas" or (method == "auto" and pays and not refusal and pallas.works())
    if in_pallas or refusal or platform() != "cpu":
        return fused_scan(cell, in_pallas, p, carry, x_tb, times)
    shape = jax.tree.leaves(carry)[0].shape
    last, out_tb = fused_scan(cell, False, *one_axis(shape, p, carry, x_tb), times)
    unflat = lambda a: a.reshape(*a.shape[:-1], *shape)  # noqa: E731
    return jax.tree.map(unflat, last), jax.tree.map(unflat, out_tb)


def constant(integrate: Callable, p: Parameters, carry: Any, x: None, t: Any) -> Any:
    """`cell.integrate` of the current that stays the same."""
    return integrate(p, carry, p.constant, t)


def one_axis(shape: tuple[int, ...], p: Parameters, carry: Any, x_tb: jax.Array | None) -> tuple[Any, Any, Any]:
    """The operands of elementwise steps with the axes `shape` = [B, ...] of a carry as one: on CPUs, loops over ten
    classes are ten times slower than one loop over all."""

    def flat(a):
        return a.reshape(*a.shape[: a.ndim - len(shape)], math.prod(shape))

    spread = jax.tree.map(lambda a: flat(jnp.broadcast_to(a, shape)) if jnp.ndim(a) else a, p)
    return spread, jax.tree.map(flat, carry), None if x_tb is None else flat(x_tb)


def plain_scan(cell: Cell, p: Any, carry: Any, x_tb: jax.Array, times: jax.Array) -> tuple[Any, Any]:
    """(last carry, out_tb) by a scan that jax differentiates: the reference for `fused_scan`."""

    def body(carry, step):
        x, t = step
        return cell.fire(p, carry, cell.integrate(p, carry, x, t), t)

    return lax.scan(body, carry, (x_tb, times), unroll=len(times) <= LONGEST_UNROLLED)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def fused_scan(cell: Cell, in_pallas: bool, p: Any, carry: Any, x_tb: jax.Array, times: jax.Array) -> tuple[Any, Any]:
    """(last carry, out_tb) as `plain_scan`, with the backward of this module."""
    run = pallas.forward if in_pallas else scan_forward
    return run(cell, p, carry, x_tb, times)[:2]


def _forward(cell, in_pallas, *args):
    p, carry, x_tb, times = jax.tree.map(lambda a: a.value, args, is_leaf=lambda a: hasattr(a, "perturbed"))
    run = differentiable(pallas.forward, scan_forward) if in_pallas else scan_forward
    last, out_tb, raw_tb, before_tb = run(cell, p, carry, x_tb, times)
    return (last, out_tb), (p, carry, raw_tb, before_tb, times)


def _backward(cell, in_pallas, saved, cotangents):
    run = differentiable(pallas.backward, scan_backward) if in_pallas else scan_backward
    return *run(cell, *saved, *cotangents), None


fused_scan.defvjp(_forward, _backward, symbolic_zeros=True)


def differentiable(run: Callable, same: Callable) -> Callable:
    """run(cell, *args), a Pallas kernel, with the derivative of `same`, a scan: for whoever differentiates a gradient
    again, such as a search for the batch that it came from."""

    def call(cell, *args):
        leaves, tree = jax.tree.flatten(args, is_leaf=is_zero)
        arrays = [leaf for leaf in leaves if not is_zero(leaf)]

        def of(function, *arrays):
            given = iter(arrays)
            return function(cell, *tree.unflatten([leaf if is_zero(leaf) else next(given) for leaf in leaves]))

        once = jax.custom_vjp(partial(of, run))
        once.defvjp(
            lambda *arrays: (of(run, *arrays), arrays),
            lambda arrays, cotangents: jax.vjp(partial(of, same), *arrays)[1](cotangents),
        )
        return once(*arrays)

    return call


def unroll(steps: int, *, summed: bool = False) -> bool:
    """Whether a time loop is written out: on accelerators where it is short; on CPUs, where a step is no launch, only
    the reverse loop that keeps nothing but sums over time (`summed`)."""
    if platform() == "cpu":
        return summed and steps <= LONGEST_SUMMED
    return steps <= LONGEST_ON_ACCELERATOR


def scan_forward(cell, p, carry, x_tb, times):
    """(last carry, out_tb, raw_tb, the carry before each step or None)."""

    def body(carry, step):
        x, t = step
        raw = cell.integrate(p, carry, x, t)
        after, out = cell.fire(p, carry, raw, t)
        return after, (raw, None, None) if cell.rebuild else (raw, carry, out)

    last, (raw_tb, before_tb, out_tb) = lax.scan(body, carry, (x_tb, times), unroll=unroll(len(times)))
    if cell.rebuild:
        _, out_tb = jax.vmap(partial(cell.rebuild, p))(raw_tb)
    return last, out_tb, raw_tb, before_tb


def scan_backward(cell, p, first, raw_tb, before_tb, times, last_ct, out_ct):
    """Cotangents of p, of the carry before the first step, and of the currents [T, B, ...], or None where p holds the
    one current."""
    last_ct, out_ct = jax.tree.map(dense, (last_ct, out_ct), is_leaf=is_zero)
    last_ct, out_ct, _ = over_the_same_axes(last_ct, out_ct, raw_tb)
    floats, join = split_floats(p)
    shape = raw_tb.shape[1:]
    wide, _ = split_floats(widened(p, shape))

    def before_step(i, before):
        if cell.rebuild is None:
            return before
        rebuilt, _ = cell.rebuild(p, raw_tb[jnp.maximum(i - 1, 0)])
        return jax.tree.map(lambda given, known: jnp.where(i == 0, given, known), first, rebuilt)

    def body(cotangents, step):
        i, t, raw, before, out_ct = step
        cotangents, x_ct = pull_step(cell, join, wide, cotangents, before_step(i, before), raw, t, out_ct)
        return cotangents, None if summed else x_ct

    summed = p.constant is not None
    steps = (jnp.arange(len(raw_tb)), times, raw_tb, before_tb, out_ct)
    start = (last_ct, jax.tree.map(jnp.zeros_like, wide))
    (first_ct, wide_ct), x_ct = lax.scan(body, start, steps, reverse=True, unroll=unroll(len(times), summed=summed))
    p_ct = [sum_to(ct, leaf) for ct, leaf in zip(wide_ct, floats, strict=True)]
    return join(p_ct, zeros=True), first_ct, x_ct


def dense(cotangent: Any) -> jax.Array:
    """The cotangent as an array."""
    return jnp.zeros(cotangent.shape, cotangent.dtype) if is_zero(cotangent) else cotangent


def checkpointed(scan: Callable, carry: Any, x_tb: Any, times: jax.Array, every: int) -> tuple[Any, Any]:
    """`scan(carry, x_tb, times)` that keeps only the carry of each `every` steps and runs the rest again in the
    backward."""
    whole = len(times) // every * every
    block = jax.checkpoint(scan)
    blocks = jax.tree.map(lambda a: a[:whole].reshape(-1, every, *a.shape[1:]), (x_tb, times))
    carry, out = lax.scan(lambda carry, part: block(carry, *part), carry, blocks)
    out = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), out)
    if whole < len(times):
        carry, rest = block(carry, *jax.tree.map(lambda a: a[whole:], (x_tb, times)))
        out = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), out, rest)
    return carry, out
