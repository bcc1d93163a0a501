"""What a network sees of its input over time."""

import jax
import jax.numpy as jnp

from jaxsnn_mia.kernels import encoding
from jaxsnn_mia.models.spec import ModelSpec

ENCODE = 2000  # folded into a key: apart from the keys of dropout and of stochastic surrogates


def stream(spec: ModelSpec, x: jax.Array, key: jax.Array) -> jax.Array:
    """x [B, ...] itself where it is the same at every step ("direct"), else spikes [T, B, ...]: drawn at each step with
    probability x ("rate"), or one for each input, the earlier the larger ("latency"); both want x in [0, 1]. Events
    x [B, T, ...] are their own code. The twins of a pair see the same spikes for the same key."""
    if spec.timed:
        return jnp.moveaxis(x, 1, 0)
    if spec.encoding == "direct":
        return x
    if spec.encoding == "rate":
        return encoding.rate(jax.random.fold_in(key, ENCODE), x, spec.time_steps)
    if spec.encoding == "latency":
        return encoding.latency(x, spec.time_steps, linear=True, normalize=True, clip=True)
    raise ValueError(f"`model.encoding` must be one of {ENCODINGS}, got {spec.encoding!r}.")


ENCODINGS = ("direct", "rate", "latency")
