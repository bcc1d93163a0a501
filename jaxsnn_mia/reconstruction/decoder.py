"""Black-box inversion: a network that learns to undo another from its answers alone.

The decoder is trained on inputs that the attacker has (the population) and the confidences that the model gives them,
and is then shown the confidences of others. Source: Yang et al. 2019 (arXiv 1902.08552), sections 4.1 and 4.2, with
dense layers. All functions are of ONE attacked model, for the caller to vmap over models.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxsnn_mia.attacks.mlp import first_layers, forward


class Settings(NamedTuple):
    """How to train. `lr` may be traced, the others are static."""

    hidden: tuple[int, ...] = (128,)  # widths of the hidden layers, ReLU; (): a linear decoder
    steps: int = 1000
    batch: int = 128  # rows a step, drawn anew with replacement; 0: all rows in every step
    lr: Any = 1e-3  # of Adam; falls to 0 by a cosine


class Decoder(NamedTuple):
    """A trained decoder: layers ((weight [I, O], bias [O]), ...), moments of what it takes and of what it gives.
    One scale of all outputs, so that the loss is the squared error of x."""

    layers: tuple
    centre_c: jax.Array
    scale_c: jax.Array
    centre_d: jax.Array
    scale: jax.Array


def features(logits_c: jax.Array, keep: int | None = None, *, floor: float = -25.0) -> jax.Array:
    """What the decoder sees of an answer: max(log softmax, floor) - floor of the `keep` largest classes, 0 elsewhere.

    Args:
      logits_c: [..., C]; of log confidences it makes the same.
      keep: how many classes the model shows, in [1, C]; None: all. Of equal logits the first ones stay.
      floor: the log confidence that counts as none. The code of Yang et al. has -50; the nearer to the values, the
        faster a truncated answer is learned, and below it nothing is seen.

    Returns:
      [..., C], at least 0.

    Raises:
      ValueError: `keep` out of range.
    """
    classes = logits_c.shape[-1]
    if keep is not None and not 1 <= keep <= classes:
        raise ValueError(f"`keep` must be in [1, {classes}], the number of classes, or None, got {keep}.")
    shifted_c = jnp.maximum(jax.nn.log_softmax(logits_c), floor) - floor
    if keep is None or keep == classes:
        return shifted_c
    top_k, at_k = lax.top_k(shifted_c, keep)
    return jnp.put_along_axis(jnp.zeros_like(shifted_c), at_k, top_k, axis=-1, inplace=False)


def train(key: jax.Array, features_zc: jax.Array, x_zd: jax.Array, settings: Settings) -> Decoder:
    """A decoder with the least mean squared error of x on the population, by Adam.

    Args:
      key: typed, of the first weights and the batches.
      features_zc: what `features` gives of the model's answers [Z, C].
      x_zd: the inputs [Z, D] (images flattened).
      settings: see `Settings`.

    Raises:
      ValueError: shapes that do not fit, settings out of range.
    """
    if features_zc.ndim != 2 or x_zd.ndim != 2 or len(features_zc) != len(x_zd) or not len(x_zd):
        raise ValueError(
            f"`features_zc` and `x_zd` must be [Z, C] and [Z, D], got {features_zc.shape} and {x_zd.shape}. "
            "Flatten the inputs."
        )
    for name, least in (("steps", 1), ("batch", 0)):
        if getattr(settings, name) < least:
            raise ValueError(f"`{name}` must be at least {least}, got {getattr(settings, name)}.")
    centre_c, scale_c, centre_d = features_zc.mean(0), features_zc.std(0), x_zd.mean(0)
    scale_c = nonzero(scale_c, jnp.abs(centre_c))
    scale = nonzero(jnp.sqrt(((x_zd - centre_d[None]) ** 2).mean()), jnp.abs(centre_d).max())
    inputs_zc = (features_zc - centre_c[None]) / scale_c[None]
    targets_zd = (x_zd - centre_d[None]) / scale

    adam = optax.adam(optax.cosine_decay_schedule(settings.lr, settings.steps))
    first, draws = jax.random.split(key)
    widths = (inputs_zc.shape[1], *settings.hidden, targets_zd.shape[1])
    layers = first_layers(jax.random.split(first, len(widths) - 1), widths)

    def loss(layers, inputs_bc, targets_bd):
        return ((forward(layers, inputs_bc) - targets_bd) ** 2).sum(-1).mean()

    def step(carry, i):
        layers, state = carry
        batch = inputs_zc, targets_zd
        if settings.batch:
            rows_b = jax.random.randint(jax.random.fold_in(draws, i), (settings.batch,), 0, len(x_zd))
            batch = inputs_zc[rows_b], targets_zd[rows_b]
        updates, state = adam.update(jax.grad(loss)(layers, *batch), state)
        return (optax.apply_updates(layers, updates), state), None

    (layers, _), _ = lax.scan(step, (layers, adam.init(layers)), jnp.arange(settings.steps))
    return Decoder(layers, centre_c, scale_c, centre_d, scale)


def decode(params: Decoder, features_bc: jax.Array) -> jax.Array:
    """Reconstructions x_bd [B, D] of answers [B, C]."""
    inputs_bc = (features_bc - params.centre_c[None]) / params.scale_c[None]
    return forward(params.layers, inputs_bc) * params.scale + params.centre_d[None]


def nonzero(scale: jax.Array, size: jax.Array) -> jax.Array:
    """The scale, or 1 where it is no more than rounding of numbers of that size: a feature that does not vary."""
    return jnp.where(scale > 1e-6 * size, scale, 1.0)
