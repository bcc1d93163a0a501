"""Convolutions of many models at once, as the grouped convolutions that cuDNN knows.

`vmap` of a convolution's derivative by its weights is a grouped convolution whose windows are as large as the images,
which cuDNN runs slowly or not at all. Here `vmap` comes first: the models are the groups of one convolution, and that
is differentiated.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
    """[B, ceil(H / stride), ceil(W / stride), O] of x [B, H, W, I] and w [h, w, I, O], padded as "SAME"; under `vmap`
    one grouped convolution. It has reverse mode, no forward mode."""
    return made(stride)(x, w)


def single(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
    """One model's."""
    return lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=LAYOUT)


def many(x_m: jax.Array, w_m: jax.Array, stride: int) -> jax.Array:
    """[M, B, H', W', O] of x [M, B, H, W, I] and w [M, h, w, I, O]: model m is group m of the channels."""
    x, w = (jnp.moveaxis(a, 0, 3).reshape(*a.shape[1:4], -1) for a in (x_m, w_m))
    y = lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=LAYOUT, feature_group_count=len(x_m))
    return jnp.moveaxis(y.reshape(*y.shape[:3], len(x_m), -1), 3, 0)


@functools.cache
def made(stride: int) -> Callable:
    """The convolution of one stride; kept, so that equal ones are traced once."""

    def pull(convolve, x, w, y_ct):
        of_x, of_w = (lambda x: convolve(x, w, stride)), (lambda w: convolve(x, w, stride))
        return *jax.linear_transpose(of_x, x)(y_ct), *jax.linear_transpose(of_w, w)(y_ct)

    forward = over_models(lambda x, w: single(x, w, stride), lambda x, w: many(x, w, stride))
    backward = over_models(functools.partial(pull, single), functools.partial(pull, many))
    once = jax.custom_vjp(lambda x, w: forward(x, w))
    once.defvjp(lambda x, w: (forward(x, w), (x, w)), lambda saved, y_ct: backward(*saved, y_ct))
    return once


def over_models(of_one: Callable, of_many: Callable) -> Callable:
    """`of_one`, which is `of_many` under vmap; operands that all models share are repeated."""
    function = jax.custom_batching.custom_vmap(of_one)

    @function.def_vmap
    def _(size, batched, *operands):
        every = [a if has else jnp.broadcast_to(a, (size, *a.shape)) for a, has in zip(operands, batched, strict=True)]
        out = of_many(*every)
        return out, jax.tree.map(lambda _: True, out)

    return function
