"""Small convolutions and pools that are fast inside a scan, under vmap, and on the device at hand.

On CPUs XLA's convolution collapses inside `scan` and `map`; the same sums as one product of shifted slices do not.
On accelerators the library's convolution is the better one for a single model.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxsnn_mia.kernels import grouped
from jaxsnn_mia.kernels.numerics import align
from jaxsnn_mia.kernels.platform import platform

METHODS = ("auto", "slices", "library", "groups")


def conv(x: jax.Array, w: jax.Array, *, stride: int = 1, method: str = "auto") -> jax.Array:
    """Cross-correlation with zero padding, "SAME" in the sense of XLA.

    Args:
      x: [B, H, W, I] or [T, B, H, W, I], any floating dtype.
      w: [h, w, I, O].
      stride: of both axes.
      method: "slices" (h x w shifted slices, concatenated, times the weights as a matrix), "library"
        (`lax.conv_general_dilated`), "groups" (the same, under vmap one grouped convolution; reverse mode alone), or
        "auto": slices on CPUs, groups on GPUs, library elsewhere.

    Returns:
      [B, ceil(H / stride), ceil(W / stride), O], after T where x has it.

    Raises:
      ValueError: another method, or channels that do not fit.
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}, got {method!r}.")
    if x.ndim not in (4, 5) or w.ndim != 4 or x.shape[-1] != w.shape[2]:
        raise ValueError(f"`x` [B, H, W, I] and `w` [h, w, I, O] must share I, got {x.shape} and {w.shape}.")
    if method == "slices":
        return by_slices(x, w, stride)
    if method == "library":
        return by_library(x, w, stride)
    if method == "groups" or (method == "auto" and platform() == "gpu"):
        return by_groups(x, w, stride)
    return lax.platform_dependent(
        x, w, cpu=lambda x, w: by_slices(x, w, stride), default=lambda x, w: by_library(x, w, stride)
    )


def by_library(x, w, stride):
    return at_every_step(grouped.single, x, w, stride)


def by_groups(x, w, stride):
    return at_every_step(grouped.conv, x, w, stride)


def at_every_step(convolve, x, w, stride):
    """Steps and examples [T, B] are one axis to a convolution."""
    if x.ndim == 4:
        return convolve(x, w, stride)
    return convolve(x.reshape(-1, *x.shape[2:]), w, stride).reshape(*x.shape[:2], *out_size(x, stride), -1)


def by_slices(x, w, stride):
    if x.ndim == 5:  # step by step, the slices taken again in the backward: half of the memory in the same time
        return lax.map(jax.checkpoint(lambda x: by_slices(x, w, stride)), x)
    patches = shifted(x, w.shape[:2], stride)
    return patches @ w.reshape(-1, w.shape[3])


def out_size(x: jax.Array, stride: int) -> tuple[int, int]:
    """(H', W') of the output."""
    return -(-x.shape[-3] // stride), -(-x.shape[-2] // stride)


def shifted(x: jax.Array, window: tuple[int, int], stride: int) -> jax.Array:
    """The window of each output position, flattened in the order of the weights: [B, H', W', h w I]."""
    size = x.shape[1:3]
    pads = lax.padtype_to_pads(size, window, (stride, stride), "SAME")
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    out = out_size(x, stride)

    def moved(i, j):
        ends = (x.shape[0], i + stride * (out[0] - 1) + 1, j + stride * (out[1] - 1) + 1, x.shape[3])
        return lax.slice(padded, (0, i, j, 0), ends, (1, stride, stride, 1))

    if window == (1, 1):
        return moved(0, 0)
    return jnp.concatenate([moved(i, j) for i in range(window[0]) for j in range(window[1])], axis=-1)


def max_pool(x: jax.Array, window: int = 2) -> jax.Array:
    """The largest of each window x window block of [B, H, W, C], H and W multiples of the window; equal maxima share
    the gradient. A reshape and a max: no window operation, which is slow inside a scan on CPUs. On accelerators the
    largest of strided slices, since a reshape there moves the whole image."""
    b, h, w, c = x.shape
    if h % window or w % window:
        raise ValueError(f"`x` [B, H, W, C] must have H and W divisible by {window}, got {x.shape}. Pad or crop it.")
    if platform() == "cpu":
        return x.reshape(b, h // window, window, w // window, window, c).max((2, 4))
    return largest([x[:, i::window, j::window] for i in range(window) for j in range(window)])


@jax.custom_jvp
def largest(parts: list[jax.Array]) -> jax.Array:
    """The largest of arrays of one shape, element by element; equal maxima share the derivative."""
    return functools.reduce(jnp.maximum, parts)


@largest.defjvp
def largest_jvp(primals, tangents):
    (parts,), (tangents,) = primals, tangents
    top = largest(parts)
    share = 1 / sum((part == top).astype(top.dtype) for part in parts)
    moved = sum(jnp.where(part == top, share * tangent, 0) for part, tangent in zip(parts, tangents, strict=True))
    return top, moved


def group_norm(x: jax.Array, scale: Any, bias: Any, *, groups: int, epsilon: float = 1e-5) -> jax.Array:
    """x [..., H, W, C] normalised over space and each group of channels of one image, times scale [C], plus bias [C]:
    no example sees another; the moments are taken in the wider of the two dtypes.
    Source: Wu and He 2018 (arXiv 1803.08494), eq. 1 to 7."""
    *lead, h, w, c = x.shape
    if c % groups:
        raise ValueError(f"`groups` must divide the {c} channels, got {groups}.")
    parts = x.astype(jnp.promote_types(x.dtype, scale.dtype)).reshape(*lead, h, w, groups, c // groups)
    mean = parts.mean((-4, -3, -1), keepdims=True)
    variance = ((parts - mean) ** 2).mean((-4, -3, -1), keepdims=True)
    normed = ((parts - mean) * lax.rsqrt(variance + epsilon)).reshape(x.shape)
    return (normed * align(scale, normed) + align(bias, normed)).astype(x.dtype)
