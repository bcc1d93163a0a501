"""Attacks that compare the target's loss on an example with other models' loss on it: how difficult the example is.

phi_sna float32 [S, N, A] are logit confidences, keep_sn bool [S, N]; partner_s, valid_s and target_phi_kna as in
`lira.score`. All attacks give float32 [S, N] (or [K, N]), the mean over queries, higher = more likely a member, and
raise the ValueErrors of `lira.score`.
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
    """A threshold of each example less the target's loss. The threshold is half-way between the mean loss of the IN
    models and that of the OUT models. Source: Sablayrolles et al. 2019 (arXiv 1908.11229)."""
    return compared(_sablayrolles, phi_sna, keep_sn, partner_s, valid_s, target_phi_kna, inside=True)


def attack_r(phi_sna, keep_sn, *, partner_s=None, valid_s=None, target_phi_kna=None) -> np.ndarray:
    """The share of the OUT models whose confidence in the example is smaller than the target's, ties one half, in
    [0, 1]. M models give steps of 1 / M. Source: Ye et al. 2022 (arXiv 2111.09679), attack R."""
    return compared(_attack_r, phi_sna, keep_sn, partner_s, valid_s, target_phi_kna)


def compared(of, phi_sna, keep_sn, partner_s, valid_s, target_phi_kna, inside: bool = False) -> np.ndarray:
    """of(block of references, targets) over all examples."""
    against = references.prepare(
        phi_sna, keep_sn, "phi_sna", partner_s=partner_s, valid_s=valid_s, targets_kna=target_phi_kna, inside=inside
    )
    return against.scores(lambda block, targets, part: of(block, targets))


def losses(block: tuple, targets: jax.Array) -> tuple:
    """(mean loss of the IN models, mean loss of the OUT models, the targets' losses)."""
    phi, *rest = block
    (_, mean_in, _), (_, mean_out, _) = references.moments(jax.nn.softplus(-phi), *rest)
    return mean_in, mean_out, jax.nn.softplus(-targets)


@jax.jit
def _watson(block, targets):
    _, mean_out, own = losses(block, targets)
    return (mean_out - own).mean(-1)


@jax.jit
def _sablayrolles(block, targets):
    mean_in, mean_out, own = losses(block, targets)
    return ((mean_in + mean_out) / 2 - own).mean(-1)


@jax.jit
def _attack_r(block, targets):
    phi, keep, partner_sb, usable_s = block
    there = jnp.broadcast_to((~keep & usable_s[:, None])[..., None], phi.shape)
    ordered = jnp.sort(jnp.where(there, phi, jnp.inf), axis=0)
    below = along_models(partial(jnp.searchsorted, side="left"), ordered, targets)
    upto = along_models(partial(jnp.searchsorted, side="right"), ordered, targets)
    smaller, count = (below + upto) / 2, there.sum(0, keepdims=True)
    if partner_sb is not None:
        # the OUT model to leave out: the partner of a member; of a non-member itself, which counted one half
        partners = references.of_partners(phi, partner_sb)
        of_partner = (partners < targets) + 0.5 * (partners == targets)
        left_out = jnp.where(keep[..., None], of_partner, 0.5)
        smaller, count = smaller - left_out, count - 1
    return (smaller / count).mean(-1)


def along_models(fn, ordered_sba: jax.Array, targets_tba: jax.Array) -> jax.Array:
    """fn(sorted values [S], targets [T]) for every example and query: [T, B, A]."""
    return jax.vmap(jax.vmap(fn, -1, -1), -2, -2)(ordered_sba, targets_tba)
