"""Tiles of neurons for TPUs, lowered by Mosaic: blocks of rows over all of time, in vector memory.

A row is the last axis of an array, as it lies in memory: another shape would be a copy of every array before and after.
"""

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


def block_of(steps: int, nbytes: int, total: int, lanes: int) -> tuple[int, int]:
    """(rows, lanes) of a block of [total, lanes] elements whose arrays over time have `nbytes` an element together: all
    lanes where `ROWS` rows of them fit, then as many rows as fit."""
    room = ROOM // (steps * max(nbytes, 1))  # elements
    width = min(lanes, max(room // ROWS // LANES * LANES, LANES))
    rows = room // (-(-width // LANES) * LANES) // ROWS * ROWS
    return min(max(rows, ROWS), MOST_ROWS, total), width


def tiled(kernel: Callable, inputs: Any, out_shape: Any, shape: tuple[int, ...], steps: int) -> Any:
    """As `triton.tiled`: compiled where lowered for TPUs, interpreted elsewhere."""
    # imported here: a jax without Mosaic must still import the kernels
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    total, lanes = math.prod(shape[:-1]), shape[-1] if shape else 1
    leaves, structure = jax.tree.flatten((tuple(inputs), tuple(out_shape)))
    n_in = len(jax.tree.leaves(inputs))
    nbytes = sum(a.dtype.itemsize for a in leaves if is_series(a, shape))
    rows, width = block_of(steps, nbytes, total, lanes)

    def load(ref, t=None):
        if ref.shape == (1, 1):  # a scalar, unless the tile is that small
            return ref[0, 0]
        return ref[...] if t is None else ref[t]

    def store(ref, t, values):
        values = jnp.broadcast_to(values, (rows, width)).astype(ref.dtype)
        if t is None:
            ref[...] = values
        else:
            ref[t] = values

    def body(*refs):
        ins, outs = structure.unflatten(refs)
        kernel(Tile(load, store, (rows, width)), (*ins, *outs))

    def laid_out(a):
        """[T, total, lanes], [total, lanes] or, of a scalar, [1, 1]."""
        if a.ndim == 0:
            return a.reshape(1, 1)
        return (a if is_series(a, shape) else jnp.broadcast_to(a, shape)).reshape(laid_out_shape(a).shape)

    def laid_out_shape(a):
        return jax.ShapeDtypeStruct((steps, total, lanes) if is_series(a, shape) else (total, lanes), a.dtype)

    def block(ndim):
        if ndim == 0:
            return pl.BlockSpec((1, 1), lambda i, j: (0, 0), memory_space=pltpu.SMEM)
        if ndim > len(shape):
            return pl.BlockSpec((steps, rows, width), lambda i, j: (0, i, j))
        return pl.BlockSpec((rows, width), lambda i, j: (i, j))

    def call(interpret):
        return pl.pallas_call(
            body,
            grid=(pl.cdiv(total, rows), pl.cdiv(lanes, width)),
            in_specs=[block(a.ndim) for a in leaves[:n_in]],
            out_specs=[block(len(a.shape)) for a in leaves[n_in:]],
            out_shape=[laid_out_shape(a) for a in leaves[n_in:]],
            interpret=interpret,
            name="neurons_over_time",
        )

    results = lax.platform_dependent(*map(laid_out, leaves[:n_in]), tpu=call(False), default=call(True))

    shaped = [a.reshape(like.shape) for a, like in zip(results, leaves[n_in:], strict=True)]
    return jax.tree.unflatten(jax.tree.structure(tuple(out_shape)), shaped)


def is_series(a: Any, shape: tuple[int, ...]) -> bool:
    """Whether an array has the axis of time before [B, ...]."""
    return len(a.shape) > len(shape)
