"""A sensitive column of a table: its V candidate values, queries at each of them, and a guess without a model.

The attacks are in `scores.py`.
"""

import itertools
from typing import NamedTuple

import numpy as np

MOST_VALUES = 32  # distinct values of a discrete column
MOST_CATEGORIES = 255  # of one column of boosted trees


class Column(NamedTuple):
    """Candidate values float32 [V], ascending, and for each example which of them it has, int64 [N] in [0, V)."""

    values_v: np.ndarray
    code_n: np.ndarray


def column(values_n: np.ndarray, bins: int = 0) -> Column:
    """The candidate values of a column, as float32, the dtype that models get.

    A bin of a continuous column is represented by its median. So a query at the true bin is near the example and not
    exactly at it, and memory shows less. Pass the whole column, of population and candidates, so that both have the
    same codes.

    Args:
      values_n: numbers [N].
      bins: 0: the distinct values, at most 32. At least 2: bins of equally many examples. Equal values share a bin, the
        one of their mean rank. Bins that stay empty are dropped; at least two are left.

    Raises:
      ValueError: `bins` negative or 1, values that are not 1-D or not finite in float32, a constant column, or more
        than 32 distinct values without bins.
    """
    if bins != 0 and bins < 2:
        raise ValueError(f"`bins` must be 0 (distinct values) or at least 2, got {bins}.")
    with np.errstate(over="ignore"):
        values_n = np.asarray(values_n).astype(np.float32)
    if values_n.ndim != 1 or not np.isfinite(values_n).all():
        raise ValueError(
            f"`values_n` must be [N] and finite, got shape {values_n.shape} with {(~np.isfinite(values_n)).sum()} "
            "values that are not. Fill or drop these rows."
        )
    values_u, code_n, count_u = np.unique(values_n, return_inverse=True, return_counts=True)
    if len(values_u) < 2:
        raise ValueError(f"`values_n` must hold at least 2 distinct values, got {values_u}. There is nothing to guess.")
    if not bins:
        if len(values_u) > MOST_VALUES:
            raise ValueError(
                f"`values_n` must hold at most {MOST_VALUES} distinct values without bins, got {len(values_u)}. Pass "
                "`bins`, such as 4, for a continuous column."
            )
        return Column(values_u, code_n.astype(np.int64))
    middle_u = (np.cumsum(count_u) - count_u / 2) / len(values_n)  # in (0, 1): the mean rank of each value
    # the mean ranks of the smallest and the largest value are at least .5 apart, so at least two bins are left
    bin_u = np.unique(np.floor(bins * middle_u), return_inverse=True)[1]
    code_n = bin_u[code_n].astype(np.int64)
    medians = [np.median(values_n[code_n == v]) for v in range(bin_u.max() + 1)]
    return Column(np.array(medians, np.float32), code_n)


def binned(column_z: Column, values_z: np.ndarray, values_n: np.ndarray) -> np.ndarray:
    """int64 [N]: the bins of other examples, where the bins are those of `column(values_z, bins)`. An edge is halfway
    between the largest value of a bin and the smallest value of the next one."""
    values_z, values_n = np.asarray(values_z).astype(np.float32), np.asarray(values_n).astype(np.float32)
    bins = [values_z[column_z.code_n == v] for v in range(len(column_z.values_v))]
    edges = [(low.max() + high.min()) / 2 for low, high in itertools.pairwise(bins)]
    return np.searchsorted(np.array(edges, np.float32), values_n).astype(np.int64)


def with_values(x_nd: np.ndarray, index: int, values_v: np.ndarray) -> np.ndarray:
    """float32 [N, V, D]: every example with its column `index` set to each candidate value.

    Raises ValueError for x that is not [N, D], values that are not [V], or an index outside [0, D).
    """
    x_nd, values_v = np.asarray(x_nd, np.float32), np.asarray(values_v, np.float32)
    if x_nd.ndim != 2 or values_v.ndim != 1:
        raise ValueError(f"`x_nd` must be [N, D] and `values_v` [V], got shapes {x_nd.shape} and {values_v.shape}.")
    if not 0 <= index < x_nd.shape[1]:
        raise ValueError(f"`index` must be in [0, {x_nd.shape[1]}), a column of `x_nd`, got {index}.")
    x_nvd = np.repeat(x_nd[:, None], len(values_v), axis=1)
    x_nvd[:, :, index] = values_v
    return x_nvd


def imputation(
    x_zd_without: np.ndarray,
    y_z: np.ndarray,
    code_z: np.ndarray,
    x_nd_without: np.ndarray,
    y_n: np.ndarray,
    n_values: int,
    seed: int = 0,
) -> np.ndarray:
    """The guess without any model: P(value | other columns, label), learned on the population alone.

    By boosted trees, in which the label is a category. A value that the population lacks gets the probability of
    add-one smoothing of the marginal, 1 / (Z + V); the others share the rest. The label is evidence here already, so an
    attack that uses the model's answer on the label counts it twice; constant `y_z` and `y_n` give a prior without the
    label. Source: the baseline of Jayaraman and Evans 2022 (arXiv 2209.01292).

    Args:
      x_zd_without, x_nd_without: population [Z, D - 1] and candidates [N, D - 1] without the column.
      y_z, y_n: labels, int [Z] and [N]; a label that the population lacks becomes a missing value.
      code_z: int [Z] in [0, V), the population's values (`column`).
      n_values: V; seed: of the trees.

    Returns:
      float64 [N, V], rows sum to 1.

    Raises:
      ValueError: an empty population, shapes that do not fit, values that are not finite, or codes outside [0, V).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    x_zd, x_nd, code_z = np.asarray(x_zd_without), np.asarray(x_nd_without), np.asarray(code_z)
    y_z, y_n = np.asarray(y_z), np.asarray(y_n)
    check(x_zd, y_z, code_z, x_nd, y_n, n_values)
    known_u = np.unique(code_z)
    proba_nv = np.full((len(x_nd), n_values), 1 / (len(x_zd) + n_values))
    if len(known_u) == 1:
        proba_nu = np.ones((len(x_nd), 1))
    else:
        labels = np.unique(y_z)
        # Without the penalty the prior is too sure where the population is small: on 60 to 200 rows of wine and breast
        # cancer, the penalty lowers the log loss by .10 to .36 and changes the accuracy by -.01 to +.04. No early
        # stopping: it would set rows aside, perhaps the only ones with a rare value.
        model = HistGradientBoostingClassifier(
            max_iter=60,
            max_leaf_nodes=15,
            l2_regularization=10.0,
            early_stopping=False,
            random_state=seed,
            categorical_features=[x_zd.shape[1]] if len(labels) <= MOST_CATEGORIES else None,
        )
        model.fit(beside_labels(x_zd, y_z, labels), code_z)
        proba_nu = model.predict_proba(beside_labels(x_nd, y_n, labels))
    proba_nv[:, known_u] = proba_nu * (len(x_zd) + len(known_u)) / (len(x_zd) + n_values)
    return proba_nv


def beside_labels(x_nd: np.ndarray, y_n: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """float64 [N, D + 1]: x, then the place of the label in `labels`, NaN where it is none of them."""
    place_n = np.minimum(np.searchsorted(labels, y_n), len(labels) - 1)
    place_n = np.where(labels[place_n] == y_n, place_n, np.nan)
    return np.concatenate([x_nd.astype(np.float64), place_n[:, None]], axis=1)


def check(x_zd, y_z, code_z, x_nd, y_n, n_values: int) -> None:
    """ValueError for what `imputation` refuses."""
    if x_zd.ndim != 2 or not len(x_zd) or y_z.shape != x_zd.shape[:1] or code_z.shape != x_zd.shape[:1]:
        raise ValueError(
            "`x_zd_without` must be [Z, D - 1] with Z >= 1, `y_z` and `code_z` [Z], got shapes "
            f"{x_zd.shape}, {y_z.shape} and {code_z.shape}. Set `data.population`."
        )
    if x_nd.ndim != 2 or x_nd.shape[1] != x_zd.shape[1] or y_n.shape != x_nd.shape[:1]:
        raise ValueError(
            f"`x_nd_without` must be [N, {x_zd.shape[1]}] like `x_zd_without` and `y_n` [N], got shapes {x_nd.shape} "
            f"and {y_n.shape}."
        )
    if not (np.isfinite(x_zd).all() and np.isfinite(x_nd).all()):
        raise ValueError("`x_zd_without` and `x_nd_without` must be finite. Fill or drop these rows.")
    if not np.issubdtype(code_z.dtype, np.integer) or not 0 <= code_z.min() <= code_z.max() < n_values:
        raise ValueError(
            f"`code_z` must be int in [0, {n_values}), got {code_z.dtype} from {code_z.min()} to {code_z.max()}. "
            "`column` gives codes."
        )
