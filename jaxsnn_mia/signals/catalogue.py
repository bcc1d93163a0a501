"""All signals by name, and the function that computes several of them of one model in one go."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from jaxsnn_mia.signals import defences, from_logits, queries
from jaxsnn_mia.signals.defences import UNDEFENDED, Defence
from jaxsnn_mia.signals.from_logits import log_confidence, logit_confidence
from jaxsnn_mia.signals.views import view_logits, with_views


def phi(apply, params, x, y, hyper, key):
    """Logit confidence [N, A]."""
    return logit_confidence(view_logits(apply, params, x, hyper, key), y)


def logp(apply, params, x, y, hyper, key):
    """Log confidence [N, A]."""
    return log_confidence(view_logits(apply, params, x, hyper, key), y)


def logp_t2(apply, params, x, y, hyper, key):
    """Log confidence at temperature 2 [N, A]."""
    return log_confidence(view_logits(apply, params, x, hyper, key), y, temperature=2.0)


def loss(apply, params, x, y, hyper, key):
    """Cross-entropy [N, A]."""
    return -logp(apply, params, x, y, hyper, key)


def correct(apply, params, x, y, hyper, key):
    """1 where the largest logit is the label's, uint8 [N, A]."""
    return (view_logits(apply, params, x, hyper, key).argmax(-1) == y[:, None]).astype(jnp.uint8)


def logits(apply, params, x, y, hyper, key):
    """All logits [N, A, C]."""
    return view_logits(apply, params, x, hyper, key)


def entropy(apply, params, x, y, hyper, key):
    """Entropy of the prediction [N, A], nats."""
    return from_logits.entropy(view_logits(apply, params, x, hyper, key))


def modified_entropy(apply, params, x, y, hyper, key):
    """Modified entropy [N, A], nats."""
    return from_logits.modified_entropy(view_logits(apply, params, x, hyper, key), y)


# name -> fn(apply, params, x, y, hyper, key) of ONE model, apply(params, x, hyper, key) -> Output. These take one pass
ONE_PASS: dict[str, Callable] = {
    "phi": phi, "logp": logp, "logp_t2": logp_t2, "loss": loss, "correct": correct, "logits": logits,
    "entropy": entropy, "modified_entropy": modified_entropy,
}  # fmt: skip
# "trajectory" is the loss, of the parameters that were kept at `train.snapshot_epochs`
SIGNALS: dict[str, Callable] = ONE_PASS | queries.QUERY_SIGNALS | {"trajectory": loss}
# signals of labels alone, or of the inside of the network: a defence of probabilities does not reach them (`defences`)
PAST_DEFENCE = ("correct", "label_noise", "boundary", "survival", "gradient_norm", "rates")
ACROSS = ("survival",)  # signals of a model under what other models made, see `pipeline.transfer`
REVISED = {"boundary": 2}  # signals whose code gives other values than before; part of the hash of their stage
LONGER = {"phi_longer": 2}  # signals for which a spiking network runs this many times its time steps


def names(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The names, checked; ValueError with the known ones otherwise."""
    known = {*SIGNALS, *ACROSS}
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise ValueError(f"`signals.names` must be among {sorted(known)}, got {unknown}.")
    return tuple(dict.fromkeys(wanted))


@dataclasses.dataclass(frozen=True)
class Query:
    """fn(apply, params, x, y, hyper, key) -> {name: [N, A, ...]} of one model. Queries are compared by value: equal
    ones are one compiled program.

    Args:
      names: of `SIGNALS`.
      count: views of each example, one of `views.QUERIES`; one pass over them serves all signals of `ONE_PASS`.
      defence: of the answers, but for the signals of `PAST_DEFENCE`.
      repeats: how often each view is asked; a model whose answers are random then gives several.
    """

    names: tuple[str, ...]
    count: int = 1
    defence: Defence = UNDEFENDED
    repeats: int = 1

    def __call__(self, apply, params, x, y, hyper, key):
        bare = with_views(apply, self.count, self.repeats)(params, x, hyper, key)
        shown = defences.answered(bare, self.defence)

        def asked_by(name):
            """`apply` as this signal sees it."""
            past = name in PAST_DEFENCE
            if name in queries.QUERY_SIGNALS:
                return apply if past else defences.defended(apply, self.defence)
            output = bare if past else shown
            return lambda *query: output

        return {name: SIGNALS[name](asked_by(name), params, x, y, hyper, key) for name in self.names}
