"""Tiles of neurons for GPUs, lowered by Triton: flattening, masked loads and stores."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxsnn_mia.kernels.neuron.pallas.walk import Tile

TILE = 256  # elements of a program instance: two for each thread of four warps
WARPS = 4


def tiled(kernel: Callable, inputs: Any, out_shape: Any, shape: tuple[int, ...], steps: int) -> Any:
    """Runs kernel(tile, refs) on each `Tile` of the elements of [B, ...] = `shape`: compiled where lowered for CUDA,
    interpreted elsewhere.

    `inputs` is a pytree of arrays [T, B, ...], of arrays that broadcast to [B, ...], of scalars, and of None;
    `out_shape` one of ShapeDtypeStruct [T, B, ...] or [B, ...] and of None. `refs` is the tuple of both.
    """
    # imported here: a jax without Triton must still import the kernels
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    size = math.prod(shape)
    leaves, structure = jax.tree.flatten((tuple(inputs), tuple(out_shape)))
    n_in = len(jax.tree.leaves(inputs))

    def body(*refs):
        at = pl.ds(pl.program_id(0) * TILE, TILE)
        inside = pl.program_id(0) * TILE + jnp.arange(TILE) < size

        def index(ref, t):
            return ref.at[at] if t is None else ref.at[t, at]

        def load(ref, t=None):
            return ref[...] if ref.ndim == 0 else triton.load(index(ref, t), mask=inside, other=0.0)

        def store(ref, t, values):
            triton.store(index(ref, t), jnp.broadcast_to(values, (TILE,)).astype(ref.dtype), mask=inside)

        ins, outs = structure.unflatten(refs)
        kernel(Tile(load, store, (TILE,)), (*ins, *outs))

    def flat(a):
        return a if a.ndim == 0 else a.reshape(steps, size) if a.ndim > len(shape) else spread(a)

    def spread(a):
        return jnp.broadcast_to(a, shape).reshape(size)

    flat_out = [
        jax.ShapeDtypeStruct((steps, size) if len(a.shape) > len(shape) else (size,), a.dtype) for a in leaves[n_in:]
    ]

    def call(interpret):
        def run(*arrays):
            return pl.pallas_call(
                body, grid=(pl.cdiv(size, TILE),), out_shape=flat_out, interpret=interpret,
                compiler_params=triton.CompilerParams(num_warps=WARPS), name="neurons_over_time",
            )(*arrays)  # fmt: skip

        return run

    flat_in = [flat(a) for a in leaves[:n_in]]
    results = lax.platform_dependent(*flat_in, cuda=call(False), default=call(True))
    shaped = [a.reshape(like.shape) for a, like in zip(results, leaves[n_in:], strict=True)]
    return jax.tree.unflatten(jax.tree.structure(tuple(out_shape)), shaped)
