"""Attribute attacks on planted arrays, and the guesses that they give."""

import jax
import numpy as np

from jaxsnn_mia.attacks.attribute import scores as attribute_scores
from jaxsnn_mia.signals import from_logits
from tests.attacks import planted

SETTINGS = planted.settings(60)
PAIRED = SETTINGS["pairs"]
RNG = np.random.default_rng(3)
S, N, V, C = 12, 60, 3, 4
Y = RNG.integers(C, size=N)
LOGITS = PAIRED.diverged((2 * RNG.normal(size=(S, N, V, C))).astype(np.float32))
PRIOR = RNG.dirichlet(np.ones(V), N)
CONFUSION = RNG.dirichlet(np.ones(C), (S, C))
PHI = PAIRED.diverged(planted.uneven(PAIRED.keep, A=V, differ=0.8))
GIVEN = {
    "logits": LOGITS, "labels": Y, "prior": PRIOR, "confusion": CONFUSION, "phi": PHI, "keep": PAIRED.keep, "shadows": S
}  # fmt: skip


def attacked(name, given=GIVEN, partner_s=PAIRED.partner_s, valid_s=PAIRED.valid):
    attack = attribute_scores.ATTRIBUTE_ATTACKS[name]
    options = {"partner_s": partner_s} if "keep" in attack.needs else {}
    return attack.fn(*(given[need] for need in attack.needs), valid_s=valid_s, **options)


logit_confidence = jax.jit(from_logits.logit_confidence)


def right(name, phi_snv, keep, code_n, prior):
    """guess == code [S, N] with logits of two classes that have these logit confidences in y."""
    y = np.arange(len(code_n)) % 2
    half = np.where(y == 1, 0.5, -0.5).astype(np.float32)[None, :, None] * phi_snv
    logits = np.stack([-half, half], -1)
    prior_nv = np.broadcast_to(prior, (len(code_n), len(prior)))
    confusion = np.broadcast_to([[0.9, 0.1], [0.1, 0.9]], (len(keep), 2, 2))
    given = {"logits": logits, "labels": y, "prior": prior_nv, "confusion": confusion, "keep": keep}
    given |= {"phi": logit_confidence(logits, y), "shadows": len(keep)}
    scores = attacked(name, given, np.arange(len(keep)) ^ 1, None)
    return attribute_scores.guess(scores, prior_nv) == code_n
