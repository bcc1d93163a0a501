"""What a training step does to its batch before the model sees it: flips, crops, holes, mixtures."""

from typing import Any

import jax
import jax.numpy as jnp

BORDER = 4  # pixels
HOLE = 8  # pixels


def augmented(how: str, key: jax.Array, x: jax.Array, fill: Any = 0) -> jax.Array:
    """Images [B, H, W, C], each mirrored or not; for "crop_flip" also cut at random from itself with a border of 4; for
    "crop_flip_cutout" also with a square of 8 pixels set to `fill` (DeVries and Taylor 2017, arXiv 1708.04552)."""
    if how == "none":
        return x
    flips, crops, holes = jax.random.split(key, 3)
    mirror = jax.random.bernoulli(flips, 0.5, (x.shape[0], 1, 1, 1))
    x = jnp.where(mirror, x[:, :, ::-1], x)
    if how == "flip":
        return x
    padded = jnp.pad(x, ((0, 0), (BORDER, BORDER), (BORDER, BORDER), (0, 0)))
    at = jax.random.randint(crops, (x.shape[0], 2), 0, 2 * BORDER + 1)
    x = cut(cut(padded, at[:, 0], axis=1), at[:, 1], axis=2)
    if how == "crop_flip":
        return x
    height, width = x.shape[1:3]
    centre = jax.random.randint(holes, (x.shape[0], 2), 0, jnp.array([[height, width]]))
    rows = within_hole(jnp.arange(height)[None] - centre[:, :1])
    columns = within_hole(jnp.arange(width)[None] - centre[:, 1:])
    hole = rows[:, :, None, None] & columns[:, None, :, None]
    return jnp.where(hole, jnp.asarray(fill, x.dtype).reshape(1, 1, 1, -1), x)


def cut(padded: jax.Array, at_b: jax.Array, axis: int) -> jax.Array:
    """Each image from its own place of an axis on, without the border: one of all slices. A slice of each image by its
    own place would be a gather, which accelerators do one after the other."""
    size = padded.shape[axis] - 2 * BORDER
    start_b = at_b[:, None, None, None]
    chosen = jax.lax.slice_in_dim(padded, 0, size, axis=axis)
    for start in range(1, 2 * BORDER + 1):
        chosen = jnp.where(start_b == start, jax.lax.slice_in_dim(padded, start, start + size, axis=axis), chosen)
    return chosen


def within_hole(pixels: jax.Array) -> jax.Array:
    """Whether so many pixels from its centre are inside of the hole."""
    return (pixels >= -HOLE // 2) & (pixels < HOLE // 2)


def mixed(key: jax.Array, x: jax.Array, labels_b: jax.Array, mask_b: jax.Array, alpha: Any) -> tuple:
    """(share * x + (1 - share) * x of partners, labels of the partners [B], share), one share ~ Beta(alpha, alpha) for
    the whole batch, 1 where alpha is 0. The partners are the same rows in random order; a row may be its own. Rows that
    the mask leaves out are nobody's partner and stay what they are.
    Source: Zhang et al. 2018 (arXiv 1710.09412), figure 1."""
    order, draw = jax.random.split(key)
    there_b = mask_b > 0
    # the r-th of the rows that are there takes the r-th of the same rows in random order
    order_b = jnp.argsort(jnp.where(there_b, jax.random.uniform(order, mask_b.shape), 2.0))
    partner_b = jnp.where(there_b, order_b[jnp.cumsum(there_b) - 1], jnp.arange(len(mask_b)))
    safe = jnp.where(alpha > 0, alpha, 1.0)
    share = jnp.where(alpha > 0, jax.random.beta(draw, safe, safe), 1.0)
    return share * x + (1 - share) * x[partner_b], labels_b[partner_b], share
