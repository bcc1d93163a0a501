"""How near a reconstruction comes to an example: squared error, structural similarity, the nearest of many."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

K1, K2 = 0.01, 0.03  # Wang et al. 2004


def mse(a: jax.Array, b: jax.Array) -> jax.Array:
    """Mean squared difference over the last axis: [..., D], [..., D] -> [...]."""
    return ((a - b) ** 2).mean(-1)


def ssim(a: jax.Array, b: jax.Array, image: tuple[int, int, int], data_range: Any, window: int = 7) -> jax.Array:
    """Mean structural similarity of images, 1 for equal ones.

    Args:
      a, b: flattened images, float [..., D] of equal shapes.
      image: (H, W, channels) of the D values.
      data_range: largest less smallest possible value, such as 1 or 255; may be traced.
      window: side of the square window, odd.

    Returns:
      [...] in [-1, 1], the mean over windows that lie inside the image and over channels; what scikit-image's
      `structural_similarity` gives by default: uniform windows, variances with n - 1.

    Raises:
      ValueError: an even window or one below 3, images smaller than the window, shapes that do not fit.

    Source: Wang et al. 2004 (IEEE TIP 13), equation 13.
    """
    if not isinstance(window, int) or window < 3 or window % 2 == 0:
        raise ValueError(f"`window` must be an odd int of at least 3, got {window!r}.")
    if len(image) != 3 or min(image[:2]) < window:
        raise ValueError(f"`image` must be (H, W, channels) of sides {window} or more, got {image}. Shrink `window`.")
    if a.shape != b.shape or a.shape[-1] != math.prod(image):
        raise ValueError(f"`a` and `b` must be [..., {math.prod(image)}] for {image}, got {a.shape} and {b.shape}.")
    h, w, channels = image
    shape = a.shape[:-1]
    a, b = (x.reshape(-1, *image) for x in (a, b))
    inside = (len(a), h - window + 1, w - window + 1, channels)
    count = window**2

    def over_windows(of_pixels, zeros):
        """Sums of of_pixels(a, b) over the pixels of each window."""

        def add(sums, at):
            corner = (0, at // window, at % window, 0)
            pixels = (lax.dynamic_slice(x, corner, inside) for x in (a, b))
            return jax.tree.map(jnp.add, sums, of_pixels(*pixels)), None

        return lax.scan(add, zeros, jnp.arange(count))[0]

    zero = jnp.zeros(inside, a.dtype)
    mean_a, mean_b = (s / count for s in over_windows(lambda a, b: (a, b), (zero, zero)))
    # around each window's own mean: mean squares less squared means cancel in float32
    products = over_windows(lambda a, b: squares(a - mean_a, b - mean_b), (zero, zero, zero))
    var_a, var_b, covariance = (s / (count - 1) for s in products)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    similar = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similar = similar / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return similar.mean((1, 2, 3)).reshape(shape)


def squares(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return a * a, b * b, a * b


def nearest(x_td: jax.Array, rows_nd: jax.Array, allowed_tn: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The allowed row with the least squared error to each reconstruction.

    Args:
      x_td: reconstructions of the targets [targets, D].
      rows_nd: examples [N, D].
      allowed_tn: bool [targets, N], such as the members of the target's class.

    Returns:
      (mse, row int32), each [targets]; (inf, -1) where no row is allowed. One target after the other, so that no more
      than [N, D] is held.
    """
    return extreme(lambda x_nd: mse(x_nd, rows_nd), x_td, rows_nd, allowed_tn)


def nearest_ssim(
    x_td: jax.Array, rows_nd: jax.Array, allowed_tn: jax.Array, image: tuple[int, int, int], data_range: Any,
    window: int = 7,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """(ssim, row int32) [targets] of the most similar allowed row, as `nearest`; (-inf, -1) where there is none."""
    distance_t, row_t = extreme(lambda x_nd: -ssim(x_nd, rows_nd, image, data_range, window), x_td, rows_nd, allowed_tn)
    return -distance_t, row_t


def extreme(distance_to, x_td, rows_nd, allowed_tn) -> tuple[jax.Array, jax.Array]:
    """(least distance, row) [targets] of `distance_to(x [N, D])` [N], where the rows of x are one reconstruction."""
    if x_td.shape[1:] != rows_nd.shape[1:] or allowed_tn.shape != (len(x_td), len(rows_nd)) or not len(rows_nd):
        raise ValueError(
            "`x_td`, `rows_nd` and `allowed_tn` must be [targets, D], [N, D] and [targets, N], got "
            f"{x_td.shape}, {rows_nd.shape} and {allowed_tn.shape}."
        )

    def one(target):
        x_d, allowed_n = target
        distance_n = distance_to(jnp.broadcast_to(x_d[None], rows_nd.shape))
        distance_n = jnp.where(allowed_n, distance_n, jnp.inf)
        row = distance_n.argmin()
        return distance_n[row], jnp.where(allowed_n.any(), row, -1).astype(jnp.int32)

    return lax.map(one, (x_td, allowed_tn))
