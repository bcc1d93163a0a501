"""Several aligned views of an image, each a query."""

from collections.abc import Callable

import jax.numpy as jnp

QUERIES = (1, 2, 18)  # as it is; and mirrored; both at nine shifts


SHIFT = 2  # pixels


def views(x, count: int) -> list:
    """`count` aligned views of images x [N, H, W, C], the same for every model: the image itself first."""
    if count == 1:
        return [x]
    shifts = [(0, 0)] if count == 2 else [(i, j) for i in (0, -SHIFT, SHIFT) for j in (0, -SHIFT, SHIFT)]
    padded = jnp.pad(x, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
    h, w = x.shape[1:3]
    moved = [padded[:, SHIFT + i : SHIFT + i + h, SHIFT + j : SHIFT + j + w] for i, j in shifts]
    return [view for image in moved for view in (image, image[:, :, ::-1])]


def with_views(apply: Callable, count: int) -> Callable:
    """`apply` that answers with the logits of every view, [N, A, C]."""

    def viewed(params, x, hyper, key):
        return apply(params, x, hyper, key)._replace(
            logits_bc=jnp.stack([apply(params, view, hyper, key).logits_bc for view in views(x, count)], axis=1)
        )

    return viewed


def view_logits(apply, params, x, hyper, key):
    """logits [N, A, C]; one plain query per example where `apply` gives [N, C]."""
    logits = apply(params, x, hyper, key).logits_bc
    return logits if logits.ndim == 3 else logits[:, None, :]
