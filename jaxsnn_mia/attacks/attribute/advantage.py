"""How often an attribute is guessed right: by models that trained on the example, by others, and without any model.

Jayaraman and Evans 2022 (arXiv 2209.01292); Yeom et al. 2018 (arXiv 1709.01604), attribute advantage.
"""

from typing import NamedTuple

import numpy as np

from jaxsnn_mia.attacks import references
from jaxsnn_mia.metrics import bootstrap


class Advantage(NamedTuple):
    """For each example, float64 [N]: the share of right guesses of the models that trained on it, and of those that did
    not; NaN where there is no such model."""

    member_n: np.ndarray
    other_n: np.ndarray


def advantage(correct_sn, keep_sn, valid_s=None) -> Advantage:
    """The share of right guesses for each example.

    Args:
      correct_sn: bool [S, N], guess == code; keep_sn: bool [S, N], who trained on what.
      valid_s: bool [S], False for diverged shadows and their partners.

    Raises:
      ValueError: other shapes or types.
    """
    correct_sn, keep_sn, valid_s = checked(correct_sn, keep_sn, valid_s)
    inside_sn, outside_sn = keep_sn & valid_s[:, None], ~keep_sn & valid_s[:, None]
    with np.errstate(invalid="ignore"):
        member_n = (correct_sn & inside_sn).sum(0) / inside_sn.sum(0)
        other_n = (correct_sn & outside_sn).sum(0) / outside_sn.sum(0)
    return Advantage(member_n, other_n)


class Estimate(NamedTuple):
    """A value, its interval and its replicates [R]. Equal seeds, units and pairs draw equal weights."""

    value: float
    low: float
    high: float
    replicates: np.ndarray


def summary(
    correct_sn, imputed_n, keep_sn, *, unit_n, pair_s, replicates: int = 1000, level: float = 0.95, seed: int = 0,
    valid_s=None,
) -> dict[str, Estimate]:  # fmt: skip
    """Shares of right guesses over all models and examples, with intervals by the crossed bootstrap.

    Each replicate draws one set of weights of examples and one of pairs (`bootstrap.crossed_weights`), the same for all
    shares, so that differences are paired. With whole pairs, a share is the mean over examples of `advantage`, and the
    baseline has the same accuracy on members and on others, in each replicate too. Nominal 95 % intervals, measured
    where nothing leaks (S = 6 and 12, N = 60), cover .93 to .98 of the differences from the baseline, and .99 to 1.0 of
    member less other: these are cautious (`bootstrap`).

    Args:
      correct_sn: bool [S, N], an attack's guess == code; keep_sn: bool [S, N].
      imputed_n: bool [N], the same of the baseline (`scores.imputed`).
      unit_n: duplicate groups [N]; pair_s: which shadows are one pair [S].
      replicates, level, seed: of the bootstrap.
      valid_s: bool [S]; a pair with a diverged shadow is left out.

    Returns:
      "member" and "other", the accuracy of the models that trained on the example and of the others; "imputation", that
      of the baseline; "member_over_imputation", "other_over_imputation" and "member_over_other", differences.

    Raises:
      ValueError: other shapes or types, fewer than 2 usable pairs, or a level outside (0, 1).
    """
    correct_sn, keep_sn, valid_s = checked(correct_sn, keep_sn, valid_s)
    imputed_n, unit_n, pair_s = np.asarray(imputed_n), np.asarray(unit_n), np.asarray(pair_s)
    S, N = keep_sn.shape
    if imputed_n.shape != (N,) or imputed_n.dtype != bool or unit_n.shape != (N,) or pair_s.shape != (S,):
        raise ValueError(
            f"`imputed_n` must be bool [{N}], `unit_n` [{N}] and `pair_s` [{S}], got {imputed_n.dtype} "
            f"{imputed_n.shape}, {unit_n.shape} and {pair_s.shape}."
        )
    usable_s = valid_s & ~np.isin(pair_s, pair_s[~valid_s])
    pairs = bootstrap.count_pairs(pair_s, usable_s)
    if pairs < 2:
        raise ValueError("`pair_s` must hold at least 2 pairs of valid shadows. Train more shadow models.")
    weights = bootstrap.crossed_weights(unit_n, pair_s[usable_s], replicates, seed)
    correct_sn, keep_sn = correct_sn[usable_s], keep_sn[usable_s]
    once = np.ones((N, 1), np.float32), np.ones((len(keep_sn), 1), np.float32)
    values = accuracies(correct_sn, imputed_n, keep_sn, *once)
    drawn = accuracies(correct_sn, imputed_n, keep_sn, *weights)
    estimates = {}
    for name, (value,) in values.items():
        least = -1.0 if "_over_" in name else 0.0
        low, high = bootstrap.interval(float(value), drawn[name], pairs, level, least=least)
        estimates[name] = Estimate(float(value), low, high, drawn[name])
    return estimates


def accuracies(correct_sn, imputed_n, keep_sn, weight_nr, weight_sr) -> dict[str, np.ndarray]:
    """The shares of `summary` [R] under weights of examples [N, R] and of models [S, R]."""

    def total(x_sn):  # counts, exact in float32
        return ((x_sn.astype(np.float32) @ weight_nr) * weight_sr).sum(0, dtype=np.float64)

    with np.errstate(invalid="ignore"):
        count_in, count_out = total(keep_sn), total(~keep_sn)
        imputed_in, imputed_out = total(keep_sn & imputed_n), total(~keep_sn & imputed_n)
        member, other = total(correct_sn & keep_sn) / count_in, total(correct_sn & ~keep_sn) / count_out
        return {
            "member": member,
            "other": other,
            "imputation": (imputed_in + imputed_out) / (count_in + count_out),
            "member_over_imputation": member - imputed_in / count_in,
            "other_over_imputation": other - imputed_out / count_out,
            "member_over_other": member - other,
        }


def checked(correct_sn, keep_sn, valid_s) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(correct_sn, keep_sn, valid_s) as arrays. ValueError unless they are boolean and of one shape."""
    correct_sn, keep_sn = np.asarray(correct_sn), np.asarray(keep_sn)
    if correct_sn.ndim != 2 or correct_sn.shape != keep_sn.shape or not correct_sn.dtype == keep_sn.dtype == bool:
        raise ValueError(
            f"`correct_sn` and `keep_sn` must be boolean [S, N], got {correct_sn.dtype} {correct_sn.shape} and "
            f"{keep_sn.dtype} {keep_sn.shape}. Pass guess == code."
        )
    return correct_sn, keep_sn, references.usable(len(keep_sn), None, valid_s)
