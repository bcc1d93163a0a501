"""Attacks that need no shadow model: a threshold on what the target itself says of an example.

Signals are [S, N, A] and are averaged over queries; a signal of higher = less likely a member is turned. `valid_s` bool
[S]: diverged shadows get NaN. All give float32 [S, N], higher = more likely a member.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

TINY = np.finfo(np.float32).tiny


def averaged(signal_sna, valid_s, of) -> np.ndarray:
    """of(signal) averaged over queries, row by row in float64, so that the signal may be a memory map."""
    valid_s = np.ones(len(signal_sna), bool) if valid_s is None else np.asarray(valid_s, bool)
    scores_sn = np.full(signal_sna.shape[:2], np.nan, np.float32)
    for s in np.flatnonzero(valid_s):
        signal_na = np.asarray(signal_sna[s], np.float64)
        if np.isnan(signal_na).any():
            raise ValueError("the signal must not be NaN for valid shadows. Mark diverged ones in `valid_s`.")
        scores_sn[s] = of(signal_na).mean(-1)
    return scores_sn


def loss(phi_sna: jax.Array, *, valid_s=None) -> np.ndarray:
    """Negative cross-entropy -log(1 + exp(-phi)) from logit confidences phi.

    Source: Yeom et al. 2018 (arXiv 1709.01604), adversary 1, with the threshold left to the ROC curve.
    """
    return averaged(phi_sna, valid_s, lambda phi: -np.logaddexp(0.0, -phi))


def confidence(phi_sna: jax.Array, *, valid_s=None) -> np.ndarray:
    """The confidence in the label itself, 1 / (1 + exp(-phi)). Source: Salem et al. 2019 (arXiv 1806.01246)."""
    return averaged(phi_sna, valid_s, lambda phi: 1 / (1 + np.exp(-phi.clip(-700))))


def mean(signal_sna: jax.Array, *, valid_s=None) -> np.ndarray:
    """The signal itself."""
    return averaged(signal_sna, valid_s, lambda signal: signal)


def gap(correct_sna: jax.Array, *, valid_s=None) -> np.ndarray:
    """Whether the target labels the example right: the baseline that the generalisation gap alone gives.
    Source: Yeom et al. 2018 (arXiv 1709.01604)."""
    return mean(correct_sna, valid_s=valid_s)


def entropy(entropy_sna: jax.Array, *, valid_s=None) -> np.ndarray:
    """Negative entropy of the prediction, which ignores the label. Source: Salem et al. 2019 (arXiv 1806.01246)."""
    return averaged(entropy_sna, valid_s, np.negative)


def modified_entropy(modified_entropy_sna: jax.Array, *, valid_s=None) -> np.ndarray:
    """Negative modified entropy (`from_logits.modified_entropy`), which knows the label.
    Source: Song and Mittal 2021 (arXiv 2003.10595), eq. 8, without thresholds by class."""
    return averaged(modified_entropy_sna, valid_s, np.negative)


def attack_p(phi_sna: jax.Array, phi_sza: jax.Array, *, valid_s=None) -> np.ndarray:
    """The share of the population whose loss under the target is larger: the loss on a scale that is the same for every
    target. Ties within a step are broken by the loss itself.

    Source: Ye et al. 2022 (arXiv 2111.09679), attack P. phi_sza [S, Z, A] is the population's logit confidence.
    Raises ValueError for an empty population or one of other shadows or queries.
    """
    if phi_sza.ndim != 3 or phi_sza.shape[1] < 1 or phi_sza.shape[::2] != phi_sna.shape[::2]:
        raise ValueError(
            f"`phi_sza` must be [S, Z, A] with Z >= 1 and S, A of `phi_sna` {phi_sna.shape}, got {phi_sza.shape}. "
            "Set `data.population`."
        )
    # on a log scale, where the losses of the most confident examples stay apart
    scores_sn, population_sz = (-np.log(np.maximum(-loss(phi, valid_s=valid_s), TINY)) for phi in (phi_sna, phi_sza))

    def place(s):
        scores_sn[s] = share_below(population_sz[s], scores_sn[s])

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        list(pool.map(place, np.flatnonzero(~np.isnan(scores_sn).any(1))))
    return scores_sn


def share_below(population: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The ECDF of `population` [Z] at x, interpolated between its steps; beyond them a step that grows with x."""
    values, counts = np.unique(population, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    below, above = np.maximum(values[0] - x, 0), np.maximum(x - values[-1], 0)
    rank = np.interp(x, values, middle)
    rank = np.where(
        below > 0, middle[0] / (1 + below), np.where(above > 0, len(population) + above / (1 + above), rank)
    )
    return rank / (len(population) + 1)
