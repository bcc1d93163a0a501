"""Attacks that need no shadow model: a threshold on a signal of the target itself.

Signals are [S, N, A] and are averaged over queries. A signal that is smaller for members changes its sign. `valid_s`
bool [S]: diverged shadows get NaN. All attacks give float32 [S, N], higher = more likely a member, and raise ValueError
for NaN of a valid shadow.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

TINY = np.finfo(np.float32).tiny


def averaged(signal_sna, valid_s, of) -> np.ndarray:
    """of(signal of one target [N, A]) in float64, averaged over queries; target after target, so that the signal may be
    a memory map."""
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
    """The share of the population whose loss under the target is larger: a scale that is the same for every target.

    Within a step of the ECDF the loss itself breaks ties.

    Args:
      phi_sna, phi_sza: logit confidences of the candidates and of the population [S, Z, A].
      valid_s: bool [S].

    Returns:
      float32 [S, N] in (0, 1).

    Raises:
      ValueError: an empty population, or one of other shadows or queries.

    Source: Ye et al. 2022 (arXiv 2111.09679), attack P.
    """
    if phi_sza.ndim != 3 or phi_sza.shape[1] < 1 or phi_sza.shape[::2] != phi_sna.shape[::2]:
        raise ValueError(
            f"`phi_sza` must be [S, Z, A] with Z >= 1 and S, A of `phi_sna` {phi_sna.shape}, got {phi_sza.shape}. "
            "Set `data.population`."
        )
    # on a log scale the losses of the most confident examples stay apart
    scores_sn = -np.log(np.maximum(-loss(phi_sna, valid_s=valid_s), TINY))
    population_sz = -np.log(np.maximum(-loss(phi_sza, valid_s=valid_s), TINY))

    def place(s):
        scores_sn[s] = share_below(population_sz[s], scores_sn[s])

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        list(pool.map(place, np.flatnonzero(~np.isnan(scores_sn).any(1))))
    return scores_sn


def share_below(population: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The ECDF of `population` [Z] at x, interpolated between its steps; beyond both ends it goes on growing with x."""
    values, counts = np.unique(population, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2
    below, above = np.maximum(values[0] - x, 0), np.maximum(x - values[-1], 0)
    rank = np.interp(x, values, mean_ranks)
    rank = np.where(below > 0, mean_ranks[0] / (1 + below), rank)
    rank = np.where(above > 0, len(population) + above / (1 + above), rank)
    return rank / (len(population) + 1)
