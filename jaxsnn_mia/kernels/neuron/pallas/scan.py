"""Forward and backward time loops of a `Cell` of elementwise operations, tiled over its elements."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxsnn_mia.kernels.neuron.cell import Cell, Parameters, is_zero, pull_step, split_floats, sum_to
from jaxsnn_mia.kernels.neuron.pallas.tile import TILE, tiled, walk
from jaxsnn_mia.kernels.surrogate import heaviside

Struct = jax.ShapeDtypeStruct


def forward(cell: Cell, p: Parameters, carry: Any, x_tb: jax.Array, times: jax.Array) -> tuple:
    """(last carry, out_tb, raw_tb, the carry before each step or None), as `scan.scan_forward`.

    Needs carry leaves and parameters that broadcast to [B, ...] and, where `cell.rebuild` is there, `raw` as the last
    array of its out. `times` is not used: nothing here is drawn.
    """
    steps, shape = len(x_tb), x_tb.shape[1:]
    floats, join = split_floats(p._replace(spike=None))

    def with_a_step(p_floats):
        """The parameters with a bare step: a kernel cannot hold a custom derivative."""
        if p.spike is None:
            return join(p_floats)
        return join(p_floats)._replace(spike=lambda x: heaviside(x, p.spike.at_zero))

    start, carry_of = jax.tree.flatten(carry)
    keep = cell.rebuild is None  # else raw, which is the last of out, tells all

    def kernel(load, store, refs):
        x_ref, start_refs, p_refs, out_refs, raw_ref, before_refs, last_refs = refs
        parameters = with_a_step([load(ref) for ref in p_refs])

        def step(t, v, x):
            raw = cell.integrate(parameters, v, x, t)
            after, out = cell.fire(parameters, v, raw, t)
            put_all(store, t, out_refs, out)
            if keep:
                put_all(store, t, [raw_ref, *before_refs], [raw, *jax.tree.leaves(v)])
            return after

        first = carry_of.unflatten([load(ref) for ref in start_refs])
        last = walk(steps, lambda t: load(x_ref, t), step, first, reverse=False)
        put_all(store, None, last_refs, jax.tree.leaves(last))

    _, out_like = jax.eval_shape(lambda c, x: cell.fire(with_a_step(floats), c, x, 0), carry, x_tb[0])
    series = [Struct((steps, *shape), leaf.dtype) for leaf in out_like]
    raw_like = Struct(x_tb.shape, x_tb.dtype) if keep else None
    before_like = [Struct((steps, *shape), leaf.dtype) for leaf in start] if keep else None
    out_shape = (series, raw_like, before_like, [Struct(shape, leaf.dtype) for leaf in start])
    out, raw_tb, before_tb, last = tiled(kernel, (x_tb, start, floats), out_shape, shape, steps)
    if not keep:
        return carry_of.unflatten(last), tuple(out), out[-1], None
    return carry_of.unflatten(last), tuple(out), raw_tb, carry_of.unflatten(before_tb)


def backward(cell, p, first, raw_tb, before_tb, times, last_ct, out_ct):
    """Cotangents of p, of the carry before the first step, and of the currents, as `scan.scan_backward`. Cotangents
    that are symbolically zero are not read."""
    steps, shape = len(raw_tb), raw_tb.shape[1:]
    floats, join = split_floats(p._replace(spike=None))
    slopes, join_spike = split_floats(p.spike)
    start, carry_of = jax.tree.flatten(first)
    dtypes = [leaf.dtype for leaf in out_ct]
    given_last, given = ([None if is_zero(ct) else ct for ct in leaves_of(cts)] for cts in (last_ct, out_ct))

    def kernel(load, store, refs):
        raw_ref, start_refs, before_refs, p_refs, slope_refs, last_refs, ct_refs, x_out, first_out, p_out = refs
        spike = join_spike([load(ref) for ref in slope_refs])
        given_first = carry_of.unflatten([load(ref) for ref in start_refs])
        wide = [jnp.broadcast_to(load(ref), (TILE,)) for ref in p_refs]

        def full(parameters):
            return join(parameters)._replace(spike=spike)

        def look(t):
            earlier = load(raw_ref, jnp.maximum(t - 1, 0)) if cell.rebuild else [load(r, t) for r in before_refs]
            return load(raw_ref, t), earlier, [None if ref is None else load(ref, t) for ref in ct_refs]

        def step(t, cotangents, seen):
            raw, earlier, cts = seen
            if cell.rebuild:
                rebuilt, _ = cell.rebuild(full(wide), earlier)
                before = jax.tree.map(lambda a, b: jnp.where(t == 0, a, b), given_first, rebuilt)
            else:
                before = carry_of.unflatten(earlier)
            cts = tuple(jnp.zeros(TILE, d) if ct is None else ct for ct, d in zip(cts, dtypes, strict=True))
            cotangents, x_ct = pull_step(cell, full, wide, cotangents, before, raw, t, cts)
            store(x_out, t, x_ct)
            return cotangents

        after_last = [
            jnp.zeros(TILE, leaf.dtype) if ref is None else load(ref)
            for ref, leaf in zip(last_refs, start, strict=True)
        ]
        cotangents = (carry_of.unflatten(after_last), [jnp.zeros_like(leaf) for leaf in wide])
        first_ct, wide_ct = walk(steps, look, step, cotangents, reverse=True)
        put_all(store, None, [*first_out, *p_out], [*jax.tree.leaves(first_ct), *wide_ct])

    like_start, like_p = ([Struct(shape, leaf.dtype) for leaf in leaves] for leaves in (start, floats))
    inputs = (raw_tb, start, jax.tree.leaves(before_tb), floats, slopes, given_last, given)
    x_like = Struct(raw_tb.shape, raw_tb.dtype)
    x_ct, first_ct, wide_ct = tiled(kernel, inputs, (x_like, like_start, like_p), shape, steps)
    p_ct = join([sum_to(ct, leaf) for ct, leaf in zip(wide_ct, floats, strict=True)], zeros=True)
    return p_ct._replace(spike=jax.tree.map(jnp.zeros_like, p.spike)), carry_of.unflatten(first_ct), x_ct


def put_all(store, t, refs, values):
    for ref, value in zip(refs, values, strict=True):
        store(ref, t, value)


def leaves_of(cotangents: Any) -> list:
    return jax.tree.leaves(cotangents, is_leaf=is_zero)
