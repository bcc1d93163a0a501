"""One score from the scores of several attacks; their weights are learned on the other shadows."""

from collections.abc import Callable, Mapping

import numpy as np
from jax.scipy.special import ndtri
from scipy.stats import rankdata

from jaxsnn_mia.attacks import folds as cross
from jaxsnn_mia.attacks import references, shokri

FOLDS = 4


def score(
    scores: Mapping[str, np.ndarray | Callable],
    keep_sn: np.ndarray,
    *,
    partner_s=None,
    valid_s=None,
    model: str = "logistic",
    folds: int = FOLDS,
    max_rows: int = 50_000,
    seed: int = 0,
) -> np.ndarray:
    """Log-odds of membership from the ranks of several attacks' scores, learned across folds of pairs.

    Every attack's scores become normal scores within each target, so scales and monotone transforms do not matter.

    An attack with reference models, such as LiRA, uses the target to score the other shadows. Weights that are learned
    from those scores have seen the target's membership: without any leak the AUC of the combination is then .507
    instead of .5, at 8 shadows and 300 examples. So give such an attack as a function. It is called once more for each
    fold, with the shadows of the fold not valid, and the weights are learned from those scores.

    Args:
      scores: of each attack, float [S, N] where a shadow's score does not depend on the others (loss, quantile
        regression); else fn(valid_s=bool [S]) -> [S, N], e.g. partial(lira.score, phi, keep, partner_s=...).
      keep_sn: bool [S, N], who trained on what.
      partner_s, valid_s, folds, max_rows, seed: as in `shokri.score`.
      model: one of `shokri.MODELS`; "logistic" weighs the normal scores, the others let attacks interact.

    Returns:
      float32 [S, N], higher = more likely a member: log-odds at even chances (a distance for "svc").

    Raises:
      ValueError: no scores, an unknown model, shapes that do not fit, NaN, partners that are not complementary, fewer
        than 2 usable pairs, too few rows, or what an attack raises for the shadows that a fold leaves it.
    """
    keep_sn = np.asarray(keep_sn)
    if model not in shokri.MODELS:
        raise ValueError(f"`model` must be one of {tuple(shokri.MODELS)}, got {model!r}.")
    if not scores:
        raise ValueError("`scores` must hold at least one attack's [S, N], got none.")
    fold_s = cross.pair_folds(len(keep_sn), partner_s, valid_s, folds, seed)
    cross.check_keep(keep_sn, partner_s, fold_s)
    ranks_snk = normal_scores(scores, fold_s >= 0, keep_sn.shape)
    any_references = any(callable(attack) for attack in scores.values())

    def fit(learn_s: np.ndarray, fold: int):
        seen_snk = ranks_snk
        if any_references:
            seen_snk = normal_scores(scores, (fold_s >= 0) & (fold_s != fold), keep_sn.shape)
        rng = np.random.default_rng([seed, fold])
        s_r, n_r = cross.balanced_rows(keep_sn, learn_s, np.arange(keep_sn.shape[1]), max_rows, rng)
        return shokri.fitted(shokri.MODELS[model](seed), seen_snk[s_r, n_r], keep_sn[s_r, n_r])

    def predict(classifier, s: int) -> np.ndarray:
        return shokri.log_odds(classifier, ranks_snk[s])

    return cross.cross_fitted(fold_s, keep_sn.shape[1], fit, predict)


def normal_scores(scores: Mapping[str, np.ndarray | Callable], usable_s: np.ndarray, shape: tuple) -> np.ndarray:
    """float32 [S, N, K]: normal scores of K attacks within each usable shadow, 0 elsewhere."""
    ranks_snk = np.zeros((*shape, len(scores)), np.float32)
    for k, (name, attack) in enumerate(scores.items()):
        scores_sn = np.asarray(attack(valid_s=usable_s) if callable(attack) else attack)
        if scores_sn.shape != shape:
            raise ValueError(f"`scores` {name!r} must be [S, N] like `keep_sn` {shape}, got {scores_sn.shape}.")
        references.check_finite(scores_sn[usable_s], f"scores[{name!r}]")
        for s in np.flatnonzero(usable_s):
            ranks_snk[s, :, k] = normal_score(scores_sn[s])
    return ranks_snk


def normal_score(x_n: np.ndarray) -> np.ndarray:
    """float32 [N]: the normal quantile of rank / (N + 1), ties at their mean rank. The scores of -x are exactly the
    negative ones."""
    wide = len(x_n) + 1
    rank_n = rankdata(x_n)
    tail_n = np.minimum(rank_n, wide - rank_n) / wide
    return np.sign(wide / 2 - rank_n).astype(np.float32) * np.asarray(ndtri(tail_n.astype(np.float32)))
