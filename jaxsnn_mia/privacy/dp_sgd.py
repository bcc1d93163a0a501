"""Gradients that tell little of any one example: the noisy sum of clipped ones."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def private_mean(grads_b: Any, mask_b: jax.Array, hyper: Any, key: jax.Array, size: int) -> Any:
    """The sum over a batch of gradients [B, ...], each scaled down to a norm of at most hyper.dp_clip, with Gaussian
    noise of deviation hyper.dp_noise x hyper.dp_clip on it, divided by `size`, the rows that a batch has on average:
    how many it has is private. A gradient that is not finite counts as 0, since nothing would bound it.
    Abadi et al. 2016 (arXiv 1607.00133), algorithm 1."""
    norm_b = jax.vmap(optax.tree.norm)(grads_b)
    counts_b = (mask_b > 0) & jnp.isfinite(norm_b)
    share_b = jnp.minimum(1.0, hyper.dp_clip / jnp.maximum(norm_b, 1e-12))
    leaves, structure = jax.tree.flatten(grads_b)

    def noisy_mean(i, leaf):
        clipped = jax.vmap(lambda counts, share, row: jnp.where(counts, share * row, 0))(counts_b, share_b, leaf)
        noise = hyper.dp_noise * hyper.dp_clip * gaussian(jax.random.fold_in(key, i), leaf.shape[1:], leaf.dtype)
        return (clipped.sum(0) + noise) / size

    return structure.unflatten([noisy_mean(i, leaf) for i, leaf in enumerate(leaves)])


def gaussian(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Standard normal noise as the half of a sum of four. One draw from 2^23 uniform numbers ends at 5.2 deviations,
    beyond which a difference of two sums would show; four end at 10.3 and hide the grid. Holohan and Braghin 2021
    (arXiv 2107.10138)."""
    return jax.random.normal(key, (4, *shape), dtype).sum(0) / 2
