"""What all kernels share: dtypes, broadcasting and clipping."""

from typing import Any

import jax
import jax.numpy as jnp


def floating(x: Any) -> jax.Array:
    """x as an array of its own floating dtype; integers and booleans become float32, in which a decay of .9 is not 0
    and 255 + 1 is not 0. ValueError for complex numbers."""
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x
    if not (jnp.issubdtype(x.dtype, jnp.integer) or x.dtype == bool):
        raise ValueError(f"real numbers are needed, got {x.dtype}.")
    return x.astype(jnp.float32)


def unit_clip(x: jax.Array) -> jax.Array:
    """x limited to [0, 1] with gradient 1 at both bounds (`jnp.clip` has .5 there) and 0 beyond."""
    return jnp.where(x < 0, 0.0, jnp.where(x > 1, 1.0, x)).astype(x.dtype)


def align(parameter: Any, like: jax.Array) -> jax.Array:
    """A scalar or [...] parameter in the dtype and, unless scalar, the rank of `like`, ones in front."""
    parameter = jnp.asarray(parameter, like.dtype)
    return parameter.reshape((1,) * (like.ndim - parameter.ndim) + parameter.shape) if parameter.ndim else parameter
