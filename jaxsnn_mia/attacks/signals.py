"""What an attack sees of a model's logits."""

import jax
import jax.numpy as jnp


def check_labels(logits: jax.Array, labels_n: jax.Array) -> None:
    """ValueError unless logits are [..., N, A, C] and labels [N]."""
    if logits.ndim < 3 or labels_n.shape != logits.shape[-3:-2]:
        raise ValueError(
            f"logits must be [..., N, A, C] with labels [N], got logits {logits.shape} and labels {labels_n.shape}."
        )


def own_and_rest(logits: jax.Array, labels_n: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(z_y, logsumexp of the other logits), each [..., N, A]."""
    check_labels(logits, labels_n)
    own_nc = labels_n[:, None] == jnp.arange(logits.shape[-1], dtype=labels_n.dtype)[None]
    own = jnp.broadcast_to(own_nc[:, None].reshape((1,) * (logits.ndim - 3) + own_nc[:, None].shape), logits.shape)
    z_y = jnp.sum(jnp.where(own, logits, 0.0), axis=-1)
    return z_y, jax.nn.logsumexp(jnp.where(own, -jnp.inf, logits), axis=-1)


def logit_confidence(logits: jax.Array, labels_n: jax.Array) -> jax.Array:
    """phi [..., N, A] = z_y - logsumexp_{j != y} z_j, from logits [..., N, A, C] and labels int [N].

    Source: Carlini et al. 2022 (arXiv 2112.03570), section V-C, the stable form of log(p / (1 - p)).
    """
    z_y, rest = own_and_rest(logits, labels_n)
    return z_y - rest


def log_confidence(logits: jax.Array, labels_n: jax.Array, *, temperature: float = 1.0) -> jax.Array:
    """logp [..., N, A] = log softmax(logits / temperature)_y, from logits [..., N, A, C] and labels int [N].

    Source: Zarifzadeh et al. 2024 (arXiv 2312.03262), section 3.
    """
    return -jax.nn.softplus(-logit_confidence(logits / temperature, labels_n))
