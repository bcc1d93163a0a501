"""Forward and backward time loops of a `Cell` of elementwise operations, tiled over its elements."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxsnn_mia.kernels.neuron.cell import Cell, Parameters, is_zero, pull_step, split_floats, sum_to
from jaxsnn_mia.kernels.neuron.pallas import mosaic, triton
from jaxsnn_mia.kernels.neuron.pallas.walk import walk
from jaxsnn_mia.kernels.platform import platform
from jaxsnn_mia.kernels.surrogate import heaviside

Struct = jax.ShapeDtypeStruct


def tiled(*args: Any) -> Any:
    """A kernel on tiles of the platform that programs are made for; see `triton.tiled`."""
    return mosaic.tiled(*args) if platform() == "tpu" else triton.tiled(*args)


def forward(cell: Cell, p: Parameters, carry: Any, x_tb: jax.Array | None, times: jax.Array) -> tuple:
    """(last carry, out_tb, raw_tb, the carry before each step or None), as `scan.scan_forward`.

    Needs carry leaves and parameters that broadcast to [B, ...] and, where `cell.rebuild` is there, `raw` as the last
    array of its out. Of `times` the number alone is used: nothing here is drawn.
    """
    like = jax.tree.leaves(carry)[0] if x_tb is None else x_tb[0]
    steps, shape = len(times), like.shape
    floats, join = split_floats(p._replace(spike=None))

    def with_a_step(p_floats):
        """The parameters with a bare step: a kernel cannot hold a custom derivative."""
        if p.spike is None:
            return join(p_floats)
        return join(p_floats)._replace(spike=lambda x: heaviside(x, p.spike.at_zero))

    start, carry_of = jax.tree.flatten(carry)
    keep = cell.rebuild is None  # else raw, which is the last of out, tells all

    def kernel(tile, refs):
        load, store = tile.load, tile.store
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
        last = walk(steps, lambda t: None if x_ref is None else load(x_ref, t), step, first, reverse=False)
        put_all(store, None, last_refs, jax.tree.leaves(last))

    _, out_like = jax.eval_shape(lambda c, raw: cell.fire(with_a_step(floats), c, raw, 0), carry, like)
    series = [Struct((steps, *shape), leaf.dtype) for leaf in out_like]
    raw_like = Struct((steps, *shape), like.dtype) if keep else None
    before_like = [Struct((steps, *shape), leaf.dtype) for leaf in start] if keep else None
    out_shape = (series, raw_like, before_like, [Struct(shape, leaf.dtype) for leaf in start])
    out, raw_tb, before_tb, last = tiled(kernel, (x_tb, start, floats), out_shape, shape, steps)
    if not keep:
        return carry_of.unflatten(last), tuple(out), out[-1], None
    return carry_of.unflatten(last), tuple(out), raw_tb, carry_of.unflatten(before_tb)


def backward(cell, p, first, raw_tb, before_tb, times, last_ct, out_ct):
    """Cotangents of p, of the carry before the first step, and of the currents or None, as `scan.scan_backward`.
    Cotangents that are symbolically zero are not read."""
    steps, shape = len(raw_tb), raw_tb.shape[1:]
    floats, join = split_floats(p._replace(spike=None))
    slopes, join_spike = split_floats(p.spike)
    start, carry_of = jax.tree.flatten(first)
    dtypes = [leaf.dtype for leaf in out_ct]
    given_last, given = ([None if is_zero(ct) else ct for ct in leaves_of(cts)] for cts in (last_ct, out_ct))

    def kernel(tile, refs):
        load, store = tile.load, tile.store
        raw_ref, start_refs, before_refs, p_refs, slope_refs, last_refs, ct_refs, x_out, first_out, p_out = refs
        spike = join_spike([load(ref) for ref in slope_refs])
        given_first = carry_of.unflatten([load(ref) for ref in start_refs])
        wide = [jnp.broadcast_to(load(ref), tile.shape) for ref in p_refs]

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
            cts = tuple(jnp.zeros(tile.shape, d) if ct is None else ct for ct, d in zip(cts, dtypes, strict=True))
            cotangents, x_ct = pull_step(cell, full, wide, cotangents, before, raw, t, cts)
            if x_out is not None:
                store(x_out, t, x_ct)
            return cotangents

        after_last = [
            jnp.zeros(tile.shape, leaf.dtype) if ref is None else load(ref)
            for ref, leaf in zip(last_refs, start, strict=True)
        ]
        cotangents = (carry_of.unflatten(after_last), [jnp.zeros_like(leaf) for leaf in wide])
        first_ct, wide_ct = walk(steps, look, step, cotangents, reverse=True)
        put_all(store, None, [*first_out, *p_out], [*jax.tree.leaves(first_ct), *wide_ct])

    like_start, like_p = ([Struct(shape, leaf.dtype) for leaf in leaves] for leaves in (start, floats))
    inputs = (raw_tb, start, jax.tree.leaves(before_tb), floats, slopes, given_last, given)
    x_like = None if p.constant is not None else Struct(raw_tb.shape, raw_tb.dtype)
    x_ct, first_ct, wide_ct = tiled(kernel, inputs, (x_like, like_start, like_p), shape, steps)
    p_ct = join([sum_to(ct, leaf) for ct, leaf in zip(wide_ct, floats, strict=True)], zeros=True)
    return p_ct._replace(spike=jax.tree.map(jnp.zeros_like, p.spike)), carry_of.unflatten(first_ct), x_ct


def put_all(store, t, refs, values):
    for ref, value in zip(refs, values, strict=True):
        store(ref, t, value)


def leaves_of(cotangents: Any) -> list:
    return jax.tree.leaves(cotangents, is_leaf=is_zero)
