"""Inputs as a model sees them."""

import jax
import jax.numpy as jnp

from jaxsnn_mia.kernels.numerics import align
from jaxsnn_mia.training.spec import Norm, TrainSpec


def own_rows_norm(x: jax.Array, rows: tuple[jax.Array, jax.Array]) -> Norm:
    """Mean and standard deviation of the rows (idx_r, mask_r) of x; features that do not vary get 1."""
    idx_r, mask_r = rows
    own = x[idx_r]
    weight = jnp.expand_dims(mask_r / mask_r.sum(), tuple(range(1, own.ndim)))
    mean = (own * weight).sum(0)
    std = jnp.sqrt((weight * (own - mean[None]) ** 2).sum(0))
    return Norm(mean, jnp.where(std > 1e-6, std, 1.0))


def standardised(spec: TrainSpec, norm: Norm | None, x: jax.Array) -> jax.Array:
    """x [B, ...] by the pixels of the data set, by the model's own rows (`norm`), or as it is."""
    if spec.pixels:
        mean, deviation = (align(jnp.asarray(a, jnp.float32), x) for a in spec.pixels)
        return (x.astype(jnp.float32) - mean) / deviation
    if norm is None:
        return x
    return (x - norm.mean[None]) / norm.std[None]
