"""Shadow-model attacks: a classifier of members, learned on the other shadows.

Source: Shokri et al. 2017 (arXiv 1610.05820).
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import log_softmax

from jaxsnn_mia.attacks import folds as cross
from jaxsnn_mia.attacks import references

FEWEST_ROWS = 10  # of one attack model, members and non-members together


def raw_logits(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The logits themselves, C columns."""
    return np.asarray(logits, np.float64)


def sorted_softmax(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The probabilities from the largest to the smallest, C columns."""
    return -np.sort(-np.exp(log_softmax(np.asarray(logits, np.float64), axis=-1)), -1)


def loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The cross-entropy, one column."""
    return -np.take_along_axis(log_softmax(np.asarray(logits, np.float64), axis=-1), labels[..., None], -1)


# features of the logits: fn(logits [..., C], labels int [...]) -> float64 [..., F]
FEATURES: dict[str, Callable] = {"logits": raw_logits, "sorted_softmax": sorted_softmax, "loss": loss}


def scaled(model):
    """The model on standardised features."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), model)


def logistic(seed: int):
    from sklearn.linear_model import LogisticRegression

    return scaled(LogisticRegression(max_iter=1000))


def mlp(seed: int):
    """A fixed number of epochs and a strong penalty; `fitted` silences the warning that it has not converged."""
    from sklearn.neural_network import MLPClassifier

    return scaled(MLPClassifier((64,), alpha=0.1, max_iter=60, random_state=seed))


def forest(seed: int):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(100, min_samples_leaf=20, random_state=seed)


def boosting(seed: int):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, early_stopping=False, random_state=seed)


def svc(seed: int):
    from sklearn.svm import SVC

    return scaled(SVC(kernel="rbf"))


MODELS: dict[str, Callable] = {"logistic": logistic, "mlp": mlp, "forest": forest, "boosting": boosting, "svc": svc}

# "predecessor": the attack model of an earlier study of spiking networks (arXiv 2411.06613). How that study divided the
# data (a shadow trained on 80 % of the target's own training set, augmented members) is not part of this attack.
PRESETS: dict[str, dict[str, Any]] = {
    "predecessor": {"model": "svc", "names": ("logits",), "per_class": True, "shadows": 1}
}


def score(
    features: dict[str, np.ndarray],
    keep_sn: np.ndarray,
    labels_n: np.ndarray,
    *,
    partner_s=None,
    valid_s=None,
    model: str = "logistic",
    names: tuple[str, ...] | None = None,
    per_class: bool = False,
    folds: int = 4,
    shadows: int | None = None,
    max_rows: int = 20_000,
    seed: int = 0,
) -> np.ndarray:
    """How sure a classifier is that the target trained on an example; it learns on the shadows of the other folds.

    Args:
      features: signals of each shadow and example, [S, N] or [S, N, F]. They must not compare a shadow with others
        (`combine` is for such scores).
      keep_sn: bool [S, N], who trained on what.
      labels_n: int [N] in [0, C).
      partner_s: int [S], the other shadow of the complementary pair, always in the target's own fold; None: no pairs.
      valid_s: bool [S]; the others, and their partners, are not learned from and get NaN.
      model: one of `MODELS`.
      names: the features to use, each a key of `features`, or of `FEATURES` (computed from features["logits"]); None:
        all that were given.
      per_class: one attack model for each class of `labels_n`, as in the paper.
      folds: of the cross-fitting over pairs (`folds.pair_folds`).
      shadows: how many shadows each fold learns from; None: all of the other folds.
      max_rows: most rows (shadow, example) that a fold learns from, divided equally among the classes of `per_class`.
      seed: of folds, rows and attack models.

    Returns:
      float32 [S, N], higher = more likely a member: log-odds at even chances; for "svc" the distance from the boundary,
      whose scale differs between classes. Scores of equal features are equal, and a forest's may be.

    Raises:
      ValueError: an unknown model or feature, shapes that do not fit, values that are not finite, partners that
        are not complementary, fewer than 2 usable pairs, more `shadows` than the other folds have, or too few
        rows for an attack model (the class is named).
    """
    keep_sn, labels_n = np.asarray(keep_sn), np.asarray(labels_n)
    names = tuple(features) if names is None else tuple(names)
    if model not in MODELS:
        raise ValueError(f"`model` must be one of {tuple(MODELS)}, got {model!r}.")
    fold_s = cross.pair_folds(len(keep_sn), partner_s, valid_s, folds, seed)
    cross.check_keep(keep_sn, partner_s, fold_s)
    check_features(features, names, keep_sn.shape, labels_n, fold_s >= 0)
    groups = [np.arange(len(labels_n))]
    if per_class:
        groups = [np.flatnonzero(labels_n == c) for c in np.unique(labels_n)]

    def fit(learn_s: np.ndarray, fold: int) -> list:
        rng = np.random.default_rng([seed, fold])
        learn_s = choose(learn_s, partner_s, shadows, rng)
        models = []
        for among_n in groups:
            s_r, n_r = cross.balanced_rows(keep_sn, learn_s, among_n, max_rows // len(groups), rng)
            whose = f" for class {labels_n[among_n[0]]}" if per_class else ""
            x_rf = columns(features, names, labels_n, s_r, n_r)
            models.append(fitted(MODELS[model](seed), x_rf, keep_sn[s_r, n_r], whose))
        return models

    def predict(models: list, s: int) -> np.ndarray:
        score_n = np.empty(len(labels_n))
        for classifier, among_n in zip(models, groups, strict=True):
            x_rf = columns(features, names, labels_n, np.full(len(among_n), s), among_n)
            score_n[among_n] = log_odds(classifier, x_rf)
        return score_n

    return cross.cross_fitted(fold_s, len(labels_n), fit, predict)


def check_features(
    features: dict[str, np.ndarray], names: tuple, shape: tuple, labels_n: np.ndarray, usable_s: np.ndarray
) -> None:
    """ValueError unless every name is known and its feature, or the logits, are finite and fit [S, N]."""
    if labels_n.shape != shape[1:] or not np.issubdtype(labels_n.dtype, np.integer):
        raise ValueError(f"`labels_n` must be int [{shape[1]}], got {labels_n.dtype} of shape {labels_n.shape}.")
    for name in names:
        source = name if name in features or name not in FEATURES else "logits"
        if source not in features:
            raise ValueError(
                f"`names` must be of the given {tuple(features)}, or of {tuple(FEATURES)} where 'logits' are given, "
                f"got {name!r}."
            )
        values = np.asarray(features[source])
        if values.shape[:2] != shape or values.ndim not in (2, 3):
            raise ValueError(f"`features` {source!r} must be {list(shape)} or [S, N, F], got shape {values.shape}.")
        references.check_finite(values[usable_s], f"features[{source!r}]")
        classes = values.shape[2] if values.ndim == 3 else 0
        if name not in features and not 0 <= labels_n.min() <= labels_n.max() < classes:
            raise ValueError(f"`features` 'logits' must be [S, N, C] with `labels_n` in [0, C), got {values.shape}.")
    if not names:
        raise ValueError(f"`names` must not be empty. Give `features`, or one of {tuple(FEATURES)} and 'logits'.")


def columns(
    features: dict[str, np.ndarray], names: tuple, labels_n: np.ndarray, s_r: np.ndarray, n_r: np.ndarray
) -> np.ndarray:
    """float64 [R, F]: the named features of rows (shadow, example)."""
    blocks = []
    for name in names:
        if name in features:
            block = np.asarray(features[name])[s_r, n_r]
        else:
            block = FEATURES[name](np.asarray(features["logits"])[s_r, n_r], labels_n[n_r])
        blocks.append(np.asarray(block, np.float64).reshape(len(s_r), -1))
    return np.concatenate(blocks, 1)


def choose(learn_s: np.ndarray, partner_s, shadows: int | None, rng: np.random.Generator) -> np.ndarray:
    """`shadows` of learn_s at random, as many whole pairs as possible; None: all."""
    if shadows is None:
        return learn_s
    if not 1 <= shadows <= len(learn_s):
        raise ValueError(f"`shadows` must be in [1, {len(learn_s)}], the shadows of the other folds, got {shadows}.")
    order = rng.permutation(learn_s)
    if partner_s is not None:
        first = order[order < np.asarray(partner_s)[order]]
        order = np.stack([first, np.asarray(partner_s)[first]], 1).ravel()
    return order[:shadows]


def fitted(model, x_rf: np.ndarray, member_r: np.ndarray, whose: str = ""):
    """The model, fitted to rows [R, F]. ValueError for too few rows."""
    if len(member_r) < FEWEST_ROWS:
        raise ValueError(
            f"an attack model needs at least {FEWEST_ROWS} balanced rows, got {len(member_r)}{whose}. Raise `max_rows` "
            "or `shadows`, or drop rare classes or `per_class`."
        )
    with warnings.catch_warnings():  # "mlp" has a fixed number of epochs
        warnings.filterwarnings("ignore", message="Stochastic Optimizer: Maximum iterations")
        return model.fit(x_rf, member_r)


def log_odds(model, x_rf: np.ndarray) -> np.ndarray:
    """float64 [R]: the model's own decision values, else log(p / (1 - p)) with p kept 1e-12 from 0 and 1."""
    if hasattr(model, "decision_function"):
        return model.decision_function(x_rf)
    p = np.clip(model.predict_proba(x_rf)[:, 1], 1e-12, 1 - 1e-12)
    return np.log(p) - np.log1p(-p)
