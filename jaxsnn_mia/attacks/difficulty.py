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


def halves(n_shadows: int) -> np.ndarray:
    """int [S]: 0 or 1, every other pair: the halves of `transfer`."""
    return np.arange(n_shadows) // 2 % 2


def transfer(survival_sna, keep_sn, *, partner_s=None, valid_s=None) -> np.ndarray:
    """How much longer the target's label holds along a perturbation that other models made than that of OUT models.

    Args:
      survival_sna: how far each label holds [S, N, A], in [0, 1] (`pipeline.transfer`). The models of every other pair
        were asked about the same perturbations, so a target is compared with the OUT models of its own half.
      keep_sn, valid_s: as in `lira.score`.
      partner_s: s ^ 1: shadows 2k and 2k + 1 are a pair.

    Returns:
      float32 [S, N], higher = more likely a member. It takes up to 17 labels of an example. At one threshold one label
      is enough where a lost label never comes back farther along: so it was in conventional networks. In spiking ones
      it came back for 41 % of the examples (digits), and one label decided otherwise in 8 to 9 %.

    Raises:
      ValueError: shadows that are not in pairs, and what `lira.score` refuses of either half.

    Source: after Peng et al. 2024 (OSLO, arXiv 2405.16978), a label-only attack of one query.
    """
    s = len(keep_sn)
    if partner_s is None or not np.array_equal(partner_s, np.arange(s) ^ 1):
        raise ValueError("`partner_s` must be s ^ 1: the halves of `survival_sna` are made of whole pairs.")
    valid_s = np.ones(s, bool) if valid_s is None else np.asarray(valid_s, bool)
    out = np.full(np.shape(keep_sn), np.nan, np.float32)
    for half in (0, 1):
        rows = np.flatnonzero(halves(s) == half)
        own = (np.asarray(survival_sna)[rows], np.asarray(keep_sn)[rows], np.arange(len(rows)) ^ 1, valid_s[rows])
        out[rows] = compared(_more_than_out, *own, None)
    return out


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
def _more_than_out(block, targets):
    _, (_, mean_out, _) = references.moments(*block)
    return (targets - mean_out).mean(-1)


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
