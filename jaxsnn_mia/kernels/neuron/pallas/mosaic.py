"""Tiles of neurons for TPUs, lowered by Mosaic: blocks of rows of 128 lanes over all of time, in vector memory."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxsnn_mia.kernels.neuron.pallas.walk import Tile

LANES = 128
ROWS = 16  # of the smallest block: registers of two-byte types have so many
MOST_ROWS = 64
ROOM = 3 * 2**20  # bytes of a block; of 16 MiB, since the next block is read while one is computed
LONGEST = 128  # steps; of more the smallest block of six arrays has no room


def block_rows(steps: int, nbytes: int, total: int) -> int:
    """Rows of a block whose arrays over time have `nbytes` an element together: all `total` where these are few."""
    fit = ROOM // (steps * LANES * max(nbytes, 1)) // ROWS * ROWS
    return min(max(ROWS, min(fit, MOST_ROWS)), total)


def tiled(kernel: Callable, inputs: Any, out_shape: Any, shape: tuple[int, ...], steps: int) -> Any:
    """As `triton.tiled`: compiled where lowered for TPUs, interpreted elsewhere."""
    # imported here: a jax without Mosaic must still import the kernels
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    size = math.prod(shape)
    total = -(-size // LANES)
    leaves, structure = jax.tree.flatten((tuple(inputs), tuple(out_shape)))
    n_in = len(jax.tree.leaves(inputs))
    rows = block_rows(steps, sum(a.dtype.itemsize for a in leaves if is_series(a, shape)), total)

    def load(ref, t=None):
        if ref.shape == (1, 1):  # a scalar, unless the tile is that small
            return ref[0, 0]
        return ref[...] if t is None else ref[t]

    def store(ref, t, values):
        values = jnp.broadcast_to(values, (rows, LANES)).astype(ref.dtype)
        if t is None:
            ref[...] = values
        else:
            ref[t] = values

    def body(*refs):
        ins, outs = structure.unflatten(refs)
        kernel(Tile(load, store, (rows, LANES)), (*ins, *outs))

    def laid_out(a):
        """[T, rows, 128], [rows, 128] or, of a scalar, [1, 1]."""
        if a.ndim == 0:
            return a.reshape(1, 1)
        flat = a.reshape(steps, size) if is_series(a, shape) else jnp.broadcast_to(a, shape).reshape(size)
        padded = jnp.pad(flat, [(0, 0)] * (flat.ndim - 1) + [(0, total * LANES - size)])
        return padded.reshape(*flat.shape[:-1], total, LANES)

    def block(ndim):
        if ndim == 0:
            return pl.BlockSpec((1, 1), lambda i: (0, 0), memory_space=pltpu.SMEM)
        if ndim > len(shape):
            return pl.BlockSpec((steps, rows, LANES), lambda i: (0, i, 0))
        return pl.BlockSpec((rows, LANES), lambda i: (i, 0))

    def laid_out_shape(a):
        return jax.ShapeDtypeStruct((steps, total, LANES) if is_series(a, shape) else (total, LANES), a.dtype)

    def call(interpret):
        return pl.pallas_call(
            body,
            grid=(pl.cdiv(total, rows),),
            in_specs=[block(a.ndim) for a in leaves[:n_in]],
            out_specs=[block(len(a.shape)) for a in leaves[n_in:]],
            out_shape=[laid_out_shape(a) for a in leaves[n_in:]],
            interpret=interpret,
            name="neurons_over_time",
        )

    results = lax.platform_dependent(*map(laid_out, leaves[:n_in]), tpu=call(False), default=call(True))

    def as_given(a, like):
        flat = a.reshape(*((steps,) if is_series(like, shape) else ()), total * LANES)
        return flat[..., :size].reshape(like.shape)

    shaped = [as_given(a, like) for a, like in zip(results, leaves[n_in:], strict=True)]
    return jax.tree.unflatten(jax.tree.structure(tuple(out_shape)), shaped)


def is_series(a: Any, shape: tuple[int, ...]) -> bool:
    """Whether an array has the axis of time before [B, ...]."""
    return len(a.shape) > len(shape)
