"""The gradient of one batch: of its rows, of mixed rows, or private.

Each is fn(model, spec, state, batch, hyper, key) -> (gradient by the parameters, Seen).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsnn_mia.models import Hyper, Model
from jaxsnn_mia.privacy import dp_sgd
from jaxsnn_mia.training.augment import mixed
from jaxsnn_mia.training.spec import State, TrainSpec

MIXUP = 3000  # folded into a step's key, apart from what models fold into it
NOISE, EXAMPLES = 4001, 4002


class Batch(NamedTuple):
    """Rows as the model takes them: x [B, ...], labels int [B], mask float32 [B], 0 for padding."""

    x: jax.Array
    labels_b: jax.Array
    mask_b: jax.Array


class Seen(NamedTuple):
    """What the forward pass of a batch gave: the sum of its losses, its logits [B, C], the labels [B] that count as
    right, and the new statistics of the model."""

    loss: jax.Array
    logits_bc: jax.Array
    labels_b: jax.Array
    statistics: dict


def cross_entropy(logits_bc: jax.Array, labels_b: jax.Array, smoothing: Any = 0.0) -> jax.Array:
    """Cross-entropy [B] against labels smoothed by `smoothing` towards the uniform distribution."""
    # optax.losses.softmax_cross_entropy of smooth_labels is the same, but for the last bits of its gradient
    logp_bc = jax.nn.log_softmax(logits_bc)
    is_own_bc = jax.nn.one_hot(labels_b, logp_bc.shape[1], dtype=bool)  # no gather, and no scatter in its gradient
    own_b = jnp.where(is_own_bc, logp_bc, 0.0).sum(1)
    return -(1 - smoothing) * own_b - smoothing * logp_bc.mean(1)


def plain(model: Model, spec: TrainSpec, state: State, batch: Batch, hyper: Hyper, key: jax.Array) -> tuple[Any, Seen]:
    """Of the mean cross-entropy of the rows that the mask counts."""

    def loss_b(logits_bc):
        return cross_entropy(logits_bc, batch.labels_b, hyper.smoothing)

    return of_mean(loss_b, model, state, batch, hyper, key)


def mixup(model: Model, spec: TrainSpec, state: State, batch: Batch, hyper: Hyper, key: jax.Array) -> tuple[Any, Seen]:
    """Of rows mixed in pairs: the loss is that of both labels, in their shares. The label of the larger share counts
    as right. Zhang et al. 2018 (arXiv 1710.09412)."""
    x, others_b, share = mixed(jax.random.fold_in(key, MIXUP), batch.x, batch.labels_b, batch.mask_b, hyper.mixup)

    def loss_b(logits_bc):
        own_b, other_b = (cross_entropy(logits_bc, of_b, hyper.smoothing) for of_b in (batch.labels_b, others_b))
        return share * own_b + (1 - share) * other_b

    grads, seen = of_mean(loss_b, model, state, batch._replace(x=x), hyper, key)
    return grads, seen._replace(labels_b=jnp.where(share >= 0.5, batch.labels_b, others_b))


def private(
    model: Model, spec: TrainSpec, state: State, batch: Batch, hyper: Hyper, key: jax.Array
) -> tuple[Any, Seen]:
    """The noisy mean of the clipped gradients of single rows (`dp_sgd.private_mean`); the statistics stay."""
    keys_b = jax.random.split(jax.random.fold_in(key, EXAMPLES), len(batch.mask_b))

    def of_row(x, label, key):
        row = Batch(x[None], label[None], jnp.ones_like(batch.mask_b, shape=1))
        return plain(model, spec, state, row, hyper, key)

    grads_b, seen_b = jax.vmap(of_row)(batch.x, batch.labels_b, keys_b)
    grads = dp_sgd.private_mean(grads_b, batch.mask_b, hyper, jax.random.fold_in(key, NOISE), spec.batch_size)
    loss = (seen_b.loss * batch.mask_b).sum()
    return grads, Seen(loss, seen_b.logits_bc[:, 0], batch.labels_b, state.params["statistics"])


def of_mean(
    loss_b: Callable[[jax.Array], jax.Array], model: Model, state: State, batch: Batch, hyper: Hyper, key: jax.Array
) -> tuple[Any, Seen]:
    """The gradient of the mean of `loss_b(logits_bc)` [B] over the rows that the mask counts."""

    def mean_loss(params):
        out = model.apply(state.params | {"params": params}, batch.x, hyper, key, train=True)
        loss = (loss_b(out.logits_bc) * batch.mask_b).sum()
        seen = Seen(loss, out.logits_bc, batch.labels_b, out.aux["statistics"])
        return loss / jnp.maximum(batch.mask_b.sum(), 1), seen

    return jax.grad(mean_loss, has_aux=True)(state.params["params"])
