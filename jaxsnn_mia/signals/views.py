"""Views: an image, shifted copies of it and their mirror images, each of them a query."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

QUERIES = (1, 2, 18)  # the image; with its mirror image; both at nine shifts
SHIFT = 2  # pixels


def views(x, count: int) -> list:
    """`count` views of images x [N, H, W, C], one of `QUERIES`, the same for every model: the image itself first."""
    if count == 1:
        return [x]
    offsets = (0,) if count == 2 else (0, -SHIFT, SHIFT)
    padded = jnp.pad(x, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
    height, width = x.shape[1:3]
    out = []
    for down, right in itertools.product(offsets, offsets):
        top, left = SHIFT + down, SHIFT + right
        shifted = padded[:, top : top + height, left : left + width]
        out += [shifted, shifted[:, :, ::-1]]
    return out


def with_views(apply: Callable, count: int, repeats: int = 1) -> Callable:
    """`apply` with the logits of every view, each asked `repeats` times with keys of its own: [N, A, C], where A is
    repeats x count."""

    def viewed(params, x, hyper, key):
        output = apply(params, x, hyper, key)
        if repeats == count == 1:
            return output._replace(logits_bc=output.logits_bc[:, None])
        keys = [key] if repeats == 1 else [jax.random.fold_in(key, repeat) for repeat in range(repeats)]
        shown = jnp.stack(views(x, count))

        def asked(key):  # one view after the other: together they do not fit on an accelerator
            return lax.map(lambda view: apply(params, view, hyper, key).logits_bc, shown)

        answers_nc = lax.map(asked, jnp.stack(keys)).reshape(repeats * count, *output.logits_bc.shape)
        return output._replace(logits_bc=jnp.moveaxis(answers_nc, 0, 1))

    return viewed


def view_logits(apply, params, x, hyper, key):
    """logits [N, A, C]; one plain query per example where `apply` gives [N, C]."""
    logits = apply(params, x, hyper, key).logits_bc
    return logits if logits.ndim == 3 else logits[:, None, :]
