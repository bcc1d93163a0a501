"""Inference on integers: codes of 8 bits or fewer, products and convolutions that sum in int32.

A code times its scale is what `quantize` computes in float32. The int32 sums are exact; in float32 the same sums are
exact while K max|a| max|w| < 2^24 (int8 by int8: K <= 1040; uint8 by int8: K <= 518).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxsnn_mia.kernels.grid import check_scale, qmax_symmetric
from jaxsnn_mia.kernels.quantize import weight_scale

Padding = str | list[tuple[int, int]]


def codes(x: jax.Array, scale: Any, lo: int, hi: int) -> jax.Array:
    """clip(round(x / scale), lo, hi) as int8, or uint8 where lo is not negative.

    Raises ValueError for a scale that is not positive and finite, or bounds beyond 8 bits.
    """
    check_scale(scale)
    if not (-128 <= lo < hi <= 127 or 0 <= lo < hi <= 255):
        raise ValueError(f"`lo` and `hi` must fit int8 or uint8, got {lo} and {hi}. Keep wider tensors in float.")
    dtype = jnp.int8 if lo < 0 else jnp.uint8
    return jnp.clip(jnp.round(x / jnp.asarray(scale, x.dtype)), lo, hi).astype(dtype)


def weight_codes(w: jax.Array, bits: int, *, axis: int | None = None) -> tuple[jax.Array, jax.Array]:
    """(codes int8 of w's shape, scale broadcastable to w): their product is `quantize.weight(w, bits, axis=axis)`.

    Raises ValueError for more than 8 bits or an axis out of range.
    """
    qmax = qmax_symmetric(bits)
    scale = weight_scale(w, qmax, axis)
    return codes(w, scale, -int(qmax), int(qmax)), scale


def dot(a: jax.Array, w: jax.Array) -> jax.Array:
    """Integer product int32 [..., O] of codes a [..., I], int8 or uint8, and w int8 [I, O].

    Raises ValueError where the sum of so many products could pass 2^31: I over 65,793 for uint8, 131,071 for int8.
    """
    check_terms(a, w.shape[0])
    dims = (((a.ndim - 1,), (0,)), ((), ()))
    return lax.dot_general(a, w, dims, preferred_element_type=jnp.int32)


def check_terms(a: jax.Array, terms: int) -> None:
    """ValueError where int32 could not hold a sum of `terms` products of a code of a's type and an int8 code."""
    largest = 255 if a.dtype == jnp.uint8 else 128
    if terms * largest * 128 > 2**31 - 1:
        most = (2**31 - 1) // (largest * 128)
        raise ValueError(f"{terms} products of {a.dtype} and int8 may pass 2^31; at most {most} are summed in int32.")


def conv(a: jax.Array, w: jax.Array, *, strides: tuple[int, int] = (1, 1), padding: Padding = "SAME") -> jax.Array:
    """Integer convolution int32 [B, H', W', O] of codes a [B, H, W, I], int8 or uint8, and w int8 [H, W, I, O].

    XLA's convolution refuses mixed types, so uint8 codes are shifted by 128 into int8, padded with what stands for 0,
    and 128 times the sum of the weights is added again.
    """
    check_terms(a, w.shape[0] * w.shape[1] * w.shape[2])
    pads = padding if not isinstance(padding, str) else lax.padtype_to_pads(a.shape[1:3], w.shape[:2], strides, padding)
    shift = 128 if a.dtype == jnp.uint8 else 0
    shifted = (a.astype(jnp.int32) - shift).astype(jnp.int8)
    padded = jnp.pad(shifted, ((0, 0), *pads, (0, 0)), constant_values=-shift)
    sums = lax.conv_general_dilated(
        padded, w, strides, "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"), preferred_element_type=jnp.int32
    )
    return sums + shift * w.astype(jnp.int32).sum((0, 1, 2))[None, None, None]


def pack(codes_: jax.Array) -> jax.Array:
    """Codes in [-8, 7], int8 [N] with N even, as two to a byte: uint8 [N / 2]."""
    if codes_.size % 2 or codes_.ndim != 1:
        raise ValueError(f"`codes` must be one axis of even length, got shape {codes_.shape}. Append a zero.")
    low, high = (part.astype(jnp.uint8) & 15 for part in (codes_[::2], codes_[1::2]))
    return low | (high << 4)


def unpack(packed: jax.Array) -> jax.Array:
    """The int8 [2 N] codes of a uint8 [N] array made by `pack`."""
    halves = jnp.stack([packed & 15, packed >> 4], axis=1).reshape(-1).astype(jnp.int8)
    return jnp.where(halves > 7, halves - 16, halves)
