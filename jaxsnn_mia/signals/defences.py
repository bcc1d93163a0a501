"""Defences that change the answers of a model; the model itself stays as it is.

A defended model answers with coarser probabilities (`released`) and with its own label. This is all that an adversary
sees who may only ask. It does not stop attacks on labels alone, or an adversary who has the weights: signals that need
only the label, or look inside the network, are those of the bare model (`catalogue.PAST_DEFENCE`).
Source: Shokri et al. 2017 (arXiv 1610.05820), section VIII; label-only attacks: Choquette-Choo et al. 2021
(arXiv 2007.14321).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

MOST_DIGITS = 6  # what float32 holds of a number up to 1


@dataclasses.dataclass(frozen=True)
class Defence:
    """A defence of the answers; the defaults change nothing."""

    temperature: float = 1.0  # logits are divided by it: above 1, probabilities are closer to each other
    top_k: int = 0  # only the k largest probabilities are given; 0: all
    round_digits: int = 0  # digits of a probability behind the point; 0: not rounded

    @property
    def on(self) -> bool:
        return self != UNDEFENDED


UNDEFENDED = Defence()


def released(logits: jax.Array, defence: Defence) -> jax.Array:
    """The logarithms of released probabilities [..., C], from logits [..., C]; without a defence the logits themselves.

    The softmax is taken at a temperature; the k largest probabilities are shown (of equal ones the first) and rounded.
    Probabilities sum to one, so an adversary knows the sum of the hidden ones: each is replaced by their mean. Rounded
    ones need not sum to one. A probability that is rounded to 0 is released as half a rounding unit divided by the
    number of classes, so that its logarithm is finite and all zeros together are less than what rounding can show.
    """
    if not defence.on:
        return logits
    n_classes = logits.shape[-1]
    logp = jax.nn.log_softmax(logits / defence.temperature)
    shown = jnp.ones(logp.shape, bool)
    if 0 < defence.top_k < n_classes:
        rank = jnp.argsort(jnp.argsort(-logits, axis=-1), axis=-1)
        shown = rank < defence.top_k
        hidden = jax.nn.logsumexp(jnp.where(shown, -jnp.inf, logp), axis=-1, keepdims=True)
        logp = jnp.where(shown, logp, hidden - jnp.log(jnp.float32(n_classes - defence.top_k)))
    if not defence.round_digits:
        return logp
    units = 10.0**defence.round_digits
    rounded = jnp.round(jnp.exp(logp) * units) / units
    left = (1 - jnp.where(shown, rounded, 0.0).sum(-1, keepdims=True)) / max(n_classes - defence.top_k, 1)
    return jnp.log(jnp.maximum(jnp.where(shown, rounded, left), 0.5 / units / n_classes))


def defended(apply: Callable[..., Any], defence: Defence) -> Callable[..., Any]:
    """`apply` with released answers, at every time step."""
    return lambda *query: answered(apply(*query), defence)


def answered(output: Any, defence: Defence) -> Any:
    """A `models.Output` with the logits that are released."""
    over_time = None if output.logits_tbc is None else released(output.logits_tbc, defence)
    return output._replace(logits_bc=released(output.logits_bc, defence), logits_tbc=over_time)
