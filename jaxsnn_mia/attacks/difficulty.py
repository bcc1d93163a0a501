"""Attacks that hold the target's loss on an example against other models' loss on it: how hard the example is.

phi_sna float32 [S, N, A] are logit confidences, keep_sn bool [S, N]; partner_s, valid_s and target_phi_kna as in
`lira.score`. All give float32 [S, N] (or [K, N]), mean over queries, higher = more likely a member, and raise the
ValueErrors of `lira.score`.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.attacks import references


def watson(phi_sna, keep_sn, *, partner_s=None, valid_s=None, target_phi_kna=None) -> np.ndarray:
    """Mean loss of the OUT models less the target's loss. Source: Watson et al. 2022 (arXiv 2111.08440)."""
    return compared(_watson, phi_sna, keep_sn, partner_s, valid_s, target_phi_kna)


def sablayrolles(phi_sna, keep_sn, *, partner_s=None, valid_s=None, target_phi_kna=None) -> np.ndarray:
    """The target's loss against a threshold of each example, half-way between the mean losses of the IN and of the OUT
    models. Source: Sablayrolles et al. 2019 (arXiv 1908.11229)."""
    return compared(_sablayrolles, phi_sna, keep_sn, partner_s, valid_s, target_phi_kna)


def attack_r(phi_sna, keep_sn, *, partner_s=None, valid_s=None, target_phi_kna=None) -> np.ndarray:
    """The share of the OUT models whose confidence in the example is smaller than the target's, ties one half: in
    [0, 1], of as many levels as there are models. Source: Ye et al. 2022 (arXiv 2111.09679), attack R."""
    return compared(_attack_r, phi_sna, keep_sn, partner_s, valid_s, target_phi_kna)


def compared(of, phi_sna, keep_sn, partner_s, valid_s, target_phi_kna) -> np.ndarray:
    """of(block of references, targets) over all examples."""
    against = references.prepare(
        phi_sna, keep_sn, "phi_sna", partner_s=partner_s, valid_s=valid_s, targets_kna=target_phi_kna
    )
    return against.scores(lambda block, targets, part: of(block, targets))


def losses(block: tuple, targets: jax.Array) -> tuple:
    """(moments of the losses of IN models, of OUT models, the targets' losses)."""
    phi, *rest = block
    return *references.moments(jax.nn.softplus(-phi), *rest), jax.nn.softplus(-targets)


@jax.jit
def _watson(block, targets):
    _, (_, mean_out, _), own = losses(block, targets)
    return (mean_out - own).mean(-1)


@jax.jit
def _sablayrolles(block, targets):
    (_, mean_in, _), (_, mean_out, _), own = losses(block, targets)
    return ((mean_in + mean_out) / 2 - own).mean(-1)


@jax.jit
def _attack_r(block, targets):
    phi, keep, opposite, usable_s = block
    there = jnp.broadcast_to((~keep & usable_s[:, None])[..., None], phi.shape)
    ordered = jnp.sort(jnp.where(there, phi, jnp.inf), axis=0)
    below, upto = (along_models(partial(jnp.searchsorted, side=side), ordered, targets) for side in ("left", "right"))
    smaller, count = (below + upto) / 2, there.sum(0, keepdims=True)
    if opposite is not None:
        # an OUT target left itself out (one half of a tie); a member's opposite is an OUT model
        other = jnp.take_along_axis(phi, jnp.broadcast_to(opposite, keep.shape)[..., None], axis=0)
        left_out = jnp.where(keep[..., None], (other < targets) + 0.5 * (other == targets), 0.5)
        smaller, count = smaller - left_out, count - 1
    return (smaller / count).mean(-1)


def along_models(fn, ordered_sba: jax.Array, targets_tba: jax.Array) -> jax.Array:
    """fn(sorted values [S], targets [T]) for every example and query: [T, B, A]."""
    return jax.vmap(jax.vmap(fn, -1, -1), -2, -2)(ordered_sba, targets_tba)
