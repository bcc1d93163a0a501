"""Planted arrays: complementary pairs of shadows, and confidences with or without a leak."""

from typing import NamedTuple

import numpy as np

from jaxsnn_mia.attacks import references


def pairs(S, N, seed=0):
    """keep bool [S, N], row 2k an exact random half, row 2k + 1 its complement."""
    rng = np.random.default_rng(seed)
    keep = np.zeros((S, N), bool)
    for k in range(S // 2):
        keep[2 * k, rng.permutation(N)[: N // 2]] = True
        keep[2 * k + 1] = ~keep[2 * k]
    return keep


def without_pairs(S, N, seed=0):
    """keep bool [S, N], every example in exactly half of the shadows, without pairs."""
    sides = np.repeat(np.arange(S)[:, None] < S // 2, N, 1)
    return np.random.default_rng(seed).permuted(sides, axis=0)


def phi(keep, A=1, leak=0.0, seed=1):
    """float32 [S, N, A]: an offset per example, unit noise, `leak` more for members."""
    rng = np.random.default_rng(seed)
    S, N = keep.shape
    values = 2 + rng.normal(size=(1, N, 1)) * 2 + rng.normal(size=(S, N, A)) + leak * keep[..., None]
    return values.astype(np.float32)


def uneven(keep, A=1, leak=1.0, seed=2, differ=0.3, inside=1.0):
    """float32 [S, N, A]: as `phi`, with a deviation of its own for every example, exp(differ x normal), in which the
    leak is measured; that of members is `inside` times as large, and where that is not 1 it varies on its own too."""
    rng = np.random.default_rng(seed)
    S, N = keep.shape
    sigma_n1 = np.exp(differ * rng.normal(size=(N, 1)))
    of_members_n1 = inside * np.exp(0.0 if inside == 1 else 0.3 * rng.normal(size=(N, 1)))
    noise = rng.normal(size=(S, N, A)) * np.where(keep[..., None], of_members_n1, 1.0)
    return (2 * rng.normal(size=(1, N, 1)) + sigma_n1 * (noise + leak * keep[..., None])).astype(np.float32)


def logp(phi):
    return -np.logaddexp(0.0, -phi).astype(np.float32)


class Setting(NamedTuple):
    """Who is attacked with whom. `partner_sn` int [S, N] is left out with each target; it is None where the targets are
    no shadows. `options` are the arguments that say so to an attack; a shadow that is not valid has diverged."""

    keep: np.ndarray
    partner_sn: np.ndarray | None
    valid: np.ndarray
    usable: np.ndarray
    partner_s: np.ndarray | None

    @property
    def options(self):
        return {"partner_s": self.partner_s, "valid_s": self.valid}

    def diverged(self, values):
        """`values` [S, ...] with NaN where the shadow is not valid."""
        return np.where(self.valid.reshape(-1, *[1] * (values.ndim - 1)), values, np.float32(np.nan))


def settings(N=30):
    """10 usable shadows of 12: in pairs; each for itself, with 3 to 7 IN models of an example; as references of others,
    for which two are not valid. One shape, so that an attack is compiled once."""
    paired, partner = pairs(12, N), np.arange(12) ^ 1
    rng = np.random.default_rng(7)
    free = np.argsort(rng.random((10, N)), axis=0) < rng.integers(3, 8, N)
    free = np.insert(free, [4, 7], True, axis=0)
    one, two = np.arange(12) != 3, ~np.isin(np.arange(12), (4, 8))
    partner_sn = np.broadcast_to(partner[:, None], paired.shape)
    return {
        "pairs": Setting(paired, partner_sn, one, one & one[partner], partner),
        "alone": Setting(free, references.partners(free, None, two), two, two, None),
        "separate": Setting(free, None, two, two, None),
    }
