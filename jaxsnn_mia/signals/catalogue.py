"""Every shadow queried on every example: named signals, arrays on disk, read back as memory maps."""

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


def loss(apply, params, x, y, hyper, key):
    """Cross-entropy [N, A]."""
    return -logp(apply, params, x, y, hyper, key)


def correct(apply, params, x, y, hyper, key):
    """1 where the largest logit is the label's, uint8 [N, A]."""
    return (view_logits(apply, params, x, hyper, key).argmax(-1) == y[:, None]).astype(jnp.uint8)


def logits(apply, params, x, y, hyper, key):
    """Full logits [N, A, C]."""
    return view_logits(apply, params, x, hyper, key)


def entropy(apply, params, x, y, hyper, key):
    """Entropy of the prediction [N, A], nats."""
    return from_logits.entropy(view_logits(apply, params, x, hyper, key))


def modified_entropy(apply, params, x, y, hyper, key):
    """Modified entropy [N, A], nats."""
    return from_logits.modified_entropy(view_logits(apply, params, x, hyper, key), y)


# name -> fn(apply, params, x, y, hyper, key) of ONE model, apply(params, x, hyper, key) -> Output; those of one pass
PLAIN: dict[str, Callable] = {
    "phi": phi, "logp": logp, "loss": loss, "correct": correct, "logits": logits, "entropy": entropy,
    "modified_entropy": modified_entropy,
}  # fmt: skip
# and those that query the model in ways of their own; "trajectory" reads the checkpoints of `train.snapshot_epochs`
SIGNALS: dict[str, Callable] = PLAIN | queries.INQUIRIES | {"trajectory": loss}
# what labels alone or the inside of the network tell: a defence of probabilities does not reach it (`defences`)
PAST_DEFENCE = ("correct", "label_noise", "boundary", "gradient_norm", "rates")
LONGER = {"phi_longer": 2}  # signals of a spiking network that runs this many times its time steps


def names(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The names, checked; ValueError with the known ones otherwise."""
    unknown = sorted(set(wanted) - set(SIGNALS))
    if unknown:
        raise ValueError(f"`signals.names` must be among {sorted(SIGNALS)}, got {unknown}.")
    return tuple(dict.fromkeys(wanted))


@dataclasses.dataclass(frozen=True)
class Query:
    """fn(apply, params, x, y, hyper, key) -> {name: [N, A, ...]} of one model with `count` queries an example, taken
    once for all names, and answered under a defence but for the signals of `PAST_DEFENCE`. Queries are compared by
    value: equal ones are one compiled program."""

    names: tuple[str, ...]
    count: int = 1
    defence: Defence = UNDEFENDED

    def __call__(self, apply, params, x, y, hyper, key):
        output = with_views(apply, self.count)(params, x, hyper, key)
        shown = defences.answered(output, self.defence)

        def asked(name):
            """What answers the signal of this name: the model, or its answer that is there already."""
            bare = name in PAST_DEFENCE
            if name in queries.INQUIRIES:
                return apply if bare else defences.defended(apply, self.defence)
            return lambda *_: output if bare else shown

        return {name: SIGNALS[name](asked(name), params, x, y, hyper, key) for name in self.names}
