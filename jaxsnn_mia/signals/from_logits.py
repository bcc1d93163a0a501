"""Confidences and entropies, computed from logits and labels."""

import jax
import jax.numpy as jnp

KINDS = ("softmax", "sm_taylor")


def check_labels(logits: jax.Array, labels_n: jax.Array) -> None:
    """ValueError unless logits are [..., N, A, C] and labels whole numbers [N], in [0, C) as far as they are known."""
    if logits.ndim < 3 or labels_n.shape != logits.shape[-3:-2]:
        raise ValueError(
            f"logits must be [..., N, A, C] with labels [N], got logits {logits.shape} and labels {labels_n.shape}."
        )
    if not jnp.issubdtype(labels_n.dtype, jnp.integer):
        raise ValueError(f"labels must be whole numbers, got {labels_n.dtype}.")
    if labels_n.size and not isinstance(labels_n, jax.core.Tracer):
        least, most = int(labels_n.min()), int(labels_n.max())
        if least < 0 or most >= logits.shape[-1]:
            raise ValueError(f"labels must be in [0, {logits.shape[-1] - 1}], got {least} to {most}.")


def own_class(logits: jax.Array, labels_n: jax.Array) -> jax.Array:
    """bool, True at the label's class, in the shape of logits [..., N, A, C]."""
    own_nc = jnp.asarray(labels_n, jnp.int32)[:, None] == jnp.arange(logits.shape[-1])[None]
    return jnp.broadcast_to(own_nc[:, None], logits.shape)


def own_and_rest(logits: jax.Array, labels_n: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(z_y, logsumexp of the other logits), each [..., N, A]."""
    check_labels(logits, labels_n)
    own = own_class(logits, labels_n)
    z_y = jnp.sum(jnp.where(own, logits, 0.0), axis=-1)
    return z_y, jax.nn.logsumexp(jnp.where(own, -jnp.inf, logits), axis=-1)


def logit_confidence(logits: jax.Array, labels_n: jax.Array) -> jax.Array:
    """phi [..., N, A] = z_y - logsumexp_{j != y} z_j, from logits [..., N, A, C] and labels int [N].

    Source: Carlini et al. 2022 (arXiv 2112.03570), section V-C, the stable form of log(p / (1 - p)).
    """
    z_y, rest = own_and_rest(logits, labels_n)
    return z_y - rest


def log_confidence(
    logits: jax.Array, labels_n: jax.Array, *, kind: str = "softmax", temperature: float = 1.0, margin: float = 0.6
) -> jax.Array:
    """logp [..., N, A], the log confidence in the label, from logits [..., N, A, C] and labels int [N].

    Args:
      kind: "softmax", log softmax(logits / temperature)_y (section 3 of Zarifzadeh et al. 2024, arXiv 2312.03262).
        "sm_taylor", the same with the Taylor polynomial of degree 4 in place of the exponential, and the label's logit
        lowered by `margin`, so that an answer that is confident already gains less (appendix of the same paper;
        Banerjee et al. 2020, arXiv 2011.11538).
      temperature: divides the logits.
      margin: of "sm_taylor".

    Raises:
      ValueError: another kind, or a temperature that is not positive.
    """
    if kind not in KINDS or not temperature > 0:
        raise ValueError(f"`kind` must be in {KINDS} and `temperature` > 0, got {kind!r}, {temperature}.")
    if kind == "softmax":
        return -jax.nn.softplus(-logit_confidence(logits / temperature, labels_n))
    check_labels(logits, labels_n)
    own = own_class(logits, labels_n)
    z = logits / temperature
    terms = taylor(jnp.where(own, z - margin, z))
    return jnp.log(jnp.where(own, terms, 0.0).sum(-1)) - jnp.log(terms.sum(-1))


def taylor(x: jax.Array) -> jax.Array:
    """1 + x + x^2 / 2 + x^3 / 6 + x^4 / 24, positive everywhere."""
    return 1 + x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4)))


def log_probabilities(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(log p, log(1 - p)) of all classes in the shape of logits [..., C], also where p is within rounding of 1."""
    largest = jax.nn.one_hot(logits.argmax(-1), logits.shape[-1], dtype=bool)
    top = logits.max(-1, keepdims=True)
    lead = top - jax.nn.logsumexp(logits, axis=-1, keepdims=True, where=~largest)  # the largest logit over the rest
    logp = logits - top - jax.nn.softplus(-lead)
    p_rest = jnp.where(largest, 0.0, jnp.exp(logp))  # at most a half
    return logp, jnp.where(largest, -jax.nn.softplus(lead), jnp.log1p(-p_rest))


def entropy(logits: jax.Array) -> jax.Array:
    """Entropy of the prediction in nats [..., N, A], from logits [..., N, A, C]."""
    logp, _ = log_probabilities(logits)
    return -(jnp.exp(logp) * logp).sum(-1)


def modified_entropy(logits: jax.Array, labels_n: jax.Array) -> jax.Array:
    """-(1 - p_y) log p_y - sum_{j != y} p_j log(1 - p_j), [..., N, A], from logits [..., N, A, C] and labels int [N].

    Source: Song and Mittal 2021 (arXiv 2003.10595), eq. 8.
    """
    check_labels(logits, labels_n)
    logp, log_rest = log_probabilities(logits)
    return -jnp.where(own_class(logits, labels_n), jnp.exp(log_rest) * logp, jnp.exp(logp) * log_rest).sum(-1)
