"""What neighbouring pixels say of an image: its total variation, and a filter that smooths it."""

import jax
import jax.numpy as jnp

Image = tuple[int, int, int]  # (H, W, channels)


def total_variation(x: jax.Array) -> jax.Array:
    """Mean absolute difference of vertical neighbours plus that of horizontal ones, over all channels.

    Args:
      x: images [..., H, W, C], in any unit.

    Returns:
      [...] in the unit of x, at least 0, of the same size for images of any size. An axis of one pixel adds nothing.

    Source: Rudin et al. 1992, "Nonlinear total variation based noise removal algorithms", in its anisotropic form.
    """
    parts = [jnp.abs(jnp.diff(x, axis=axis)) for axis in (-3, -2) if x.shape[axis] > 1]
    return sum((part.mean((-3, -2, -1)) for part in parts), jnp.zeros(x.shape[:-3], x.dtype))


def smoothed(x_rd: jax.Array, image: Image) -> jax.Array:
    """Images [..., D], flat, after a 3x3 mean filter that repeats the edge. Shifted slices: a convolution in a scan is
    slow on CPUs."""
    h, w, _ = image
    x = x_rd.reshape(-1, *image)
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = sum((padded[:, i : i + h] for i in range(3)), jnp.zeros_like(padded[:, :h]))
    total = sum((rows[:, :, j : j + w] for j in range(3)), jnp.zeros_like(x))
    return (total / 9).reshape(x_rd.shape)
