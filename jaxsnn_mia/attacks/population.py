"""Attacks that need no shadow model: a threshold on what the target itself says of an example."""

import jax
import numpy as np


def loss(phi_sna: jax.Array, *, valid_s=None) -> np.ndarray:
    """Negative cross-entropy -log(1 + exp(-phi)), mean over queries: float32 [S, N] from phi [S, N, A].

    Source: Yeom et al. 2018 (arXiv 1709.01604), adversary 1, with the threshold left to the ROC curve.
    Diverged shadows (`valid_s` False) get NaN.
    """
    valid_s = np.ones(len(phi_sna), bool) if valid_s is None else np.asarray(valid_s, bool)
    scores_sn = np.full(phi_sna.shape[:2], np.nan, np.float32)
    scores_sn[valid_s] = -np.logaddexp(0.0, -np.asarray(phi_sna, np.float64)[valid_s]).mean(-1)
    return scores_sn
