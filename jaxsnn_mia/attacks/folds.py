"""Cross-fitting over pairs of shadows: a model that scores a target never learned from the target or its partner."""

from collections.abc import Callable

import numpy as np

from jaxsnn_mia.attacks import references


def pair_folds(
    n_shadows: int, partner_s: np.ndarray | None, valid_s: np.ndarray | None, folds: int, seed: int
) -> np.ndarray:
    """fold_s int64 [S]: the fold of each shadow. Partners are in the same fold; sizes are equal up to one pair.

    Args:
      n_shadows: S.
      partner_s: int [S], the other shadow of each complementary pair; None: there are no pairs.
      valid_s: bool [S]; the others, and their partners, get -1.
      folds: at least 2; where there are fewer pairs than folds, every pair is a fold of its own.
      seed: of the shuffle of the pairs.

    Raises:
      ValueError: folds below 2, fewer than 2 usable pairs, or a `partner_s` that does not name pairs.
    """
    everyone = np.arange(n_shadows)
    partner_s = everyone if partner_s is None else np.asarray(partner_s)
    if folds < 2:
        raise ValueError(f"`folds` must be at least 2, got {folds}. One part learns, the other is attacked.")
    if partner_s.shape != (n_shadows,) or not np.isin(partner_s, everyone).all():
        raise ValueError(f"`partner_s` must hold {n_shadows} shadows in [0, {n_shadows}), got {partner_s}.")
    if (partner_s[partner_s] != everyone).any():
        raise ValueError("`partner_s` must name pairs: partner[partner[s]] == s. Pass None for shadows without pairs.")
    usable_s = references.usable(n_shadows, partner_s, valid_s)
    first_p = np.flatnonzero(usable_s & (everyone <= partner_s))
    if len(first_p) < 2:
        raise ValueError(
            f"cross-fitting needs at least 2 usable pairs of shadows, got {len(first_p)} of {n_shadows} shadows. "
            "Train more shadow models."
        )
    first_p = np.random.default_rng(seed).permutation(first_p)
    fold_s = np.full(n_shadows, -1)
    fold_s[first_p] = np.arange(len(first_p)) % min(folds, len(first_p))
    fold_s[partner_s[first_p]] = fold_s[first_p]
    return fold_s


def cross_fitted(fold_s: np.ndarray, n_examples: int, fit: Callable, predict: Callable) -> np.ndarray:
    """float32 [S, N]: predict(model, s) -> [N] for every target, model = fit(learn_s, fold) on the other folds.

    learn_s int [L] are the shadows to learn from. Shadows of fold -1 are neither learned from nor attacked: NaN.
    """
    scores_sn = np.full((len(fold_s), n_examples), np.nan, np.float32)
    for fold in range(fold_s.max() + 1):
        model = fit(np.flatnonzero((fold_s != fold) & (fold_s >= 0)), fold)
        for s in np.flatnonzero(fold_s == fold):
            scores_sn[s] = predict(model, s)
    return scores_sn


def balanced_rows(
    keep_sn: np.ndarray, learn_s: np.ndarray, among_n: np.ndarray, at_most: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(s_r, n_r) int [R]: rows (shadow, example) to learn from, half of them members, without repetition.

    An example is drawn as often with a shadow that trained on it as with one that did not. Otherwise a model that
    recognises an example would learn the share of the other shadows that trained on it. Where every example is in
    exactly S/2 models, this share gives the target's own membership away. One shadow has each example only once, so
    there the halves are balanced over all examples.

    Args:
      keep_sn: bool [S, N].
      learn_s: int [L], the shadows to draw from.
      among_n: int, the examples to draw from.
      at_most: largest R.
      rng: source of the draw.
    """
    keep_ln = keep_sn[np.ix_(learn_s, among_n)]
    if len(learn_s) == 1:
        inside, outside = (rng.permutation(np.flatnonzero(side_n)) for side_n in (keep_ln[0], ~keep_ln[0]))
        half = min(len(inside), len(outside), at_most // 2)
        return np.full(2 * half, learn_s[0]), among_n[np.concatenate([inside[:half], outside[:half]])]
    # a match is one member row and one other row of an example; matches are numbered, example after example
    ends_n = np.cumsum(np.minimum(keep_ln.sum(0), (~keep_ln).sum(0)))
    match_m = rng.choice(ends_n[-1], min(ends_n[-1], at_most // 2), replace=False)
    example_m = np.searchsorted(ends_n, match_m, side="right")
    turn_m = ends_n[example_m] - 1 - match_m  # which of the example's matches it is
    drawn_u, place_m = np.unique(example_m, return_inverse=True)
    random_lu = rng.random((len(learn_s), len(drawn_u)))
    rows = []
    for side_lu in (keep_ln[:, drawn_u], ~keep_ln[:, drawn_u]):
        shuffled_lu = np.argsort(np.where(side_lu, random_lu, 2.0), axis=0)  # the shadows of this side come first
        rows.append(learn_s[shuffled_lu[turn_m, place_m]])
    return np.concatenate(rows), np.tile(among_n[example_m], 2)


def check_keep(keep_sn: np.ndarray, partner_s: np.ndarray | None, fold_s: np.ndarray) -> None:
    """ValueError unless keep is boolean [S, N] and usable partners are complementary."""
    if keep_sn.ndim != 2 or keep_sn.dtype != bool:
        raise ValueError(f"`keep_sn` must be boolean [S, N], got {keep_sn.dtype} of shape {keep_sn.shape}.")
    if partner_s is not None and (keep_sn[partner_s] == keep_sn)[fold_s >= 0].any():
        raise ValueError("`partner_s` must name complementary shadows: keep[partner] == ~keep. Pass None.")
