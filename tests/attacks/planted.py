"""Planted arrays: complementary pairs of shadows, and confidences with or without a leak."""

import numpy as np


def pairs(S, N, seed=0):
    """keep bool [S, N], row 2k an exact random half, row 2k + 1 its complement."""
    rng = np.random.default_rng(seed)
    keep = np.zeros((S, N), bool)
    for k in range(S // 2):
        keep[2 * k, rng.permutation(N)[: N // 2]] = True
        keep[2 * k + 1] = ~keep[2 * k]
    return keep


def phi(keep, A=1, leak=0.0, seed=1):
    """float32 [S, N, A]: an offset per example, unit noise, `leak` more for members."""
    rng = np.random.default_rng(seed)
    S, N = keep.shape
    values = 2 + rng.normal(size=(1, N, 1)) * 2 + rng.normal(size=(S, N, A)) + leak * keep[..., None]
    return values.astype(np.float32)


def logp(phi):
    return -np.logaddexp(0.0, -phi).astype(np.float32)
