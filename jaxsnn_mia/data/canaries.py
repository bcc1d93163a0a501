"""Worst cases: canaries, rows that are made to be remembered, and poison, which makes others be remembered.

Canaries and natural rows are coins: each is in half of the models. Every other candidate trains in every model and is
attacked in none, since an attack needs models with and without an example.
"""

from typing import NamedTuple

import jax
import numpy as np

from jaxsnn_mia.data import splits
from jaxsnn_mia.data.dataset import units

KINDS = ("mislabelled", "noise", "duplicate-of-class", "unchanged")
TWINS = "duplicate-of-class"


class Planted(NamedTuple):
    """All rows of a data set with its canaries; the poison stands last."""

    x: np.ndarray  # [N, ...]
    y: np.ndarray  # int32 [N]
    role_n: np.ndarray  # uint8 [N]: candidates are coins; `splits.ALWAYS` trains in every model
    canary_n: np.ndarray  # bool [N]


def plant(
    key: jax.Array, x: np.ndarray, y: np.ndarray, role_n: np.ndarray, n_classes: int, *,
    count: int, natural: int, kind: str = "mislabelled", poison: int = 0,
) -> Planted:  # fmt: skip
    """Makes canaries of `count` candidates, leaves `natural` candidates as coins, and makes all others train always.

    The kind says what a canary is. "mislabelled": a row with another label. "noise": each value is that of the same
    place in a random candidate, so that it lies in the range of the data and binary columns stay binary; the label is
    random. "duplicate-of-class": the inputs are those of a row that trains in every model, the label is another; each
    canary has a row of its own, and takes the place of another candidate, so that no kind changes the number of rows.
    "unchanged": the row as it is, for a comparison, or as a target of poison. Another label is uniform over the others.

    Args:
      key: typed jax key.
      x, y: rows [N, ...] before standardisation, and their labels int [N] in [0, n_classes).
      role_n: their roles, see `splits.roles`.
      count, natural: numbers of rows. Only rows without an exact duplicate are taken: a copy of a coin that trains
        always would make its non-members members.
      poison: copies of each canary that train always; the copies of one canary have one label, another than its own.
        Source: Tramer et al. 2022 (Truth Serum, arXiv 2204.00032).

    Raises:
      ValueError: more rows than there are candidates without a duplicate, an unknown kind, or noise that equals a row.
    """
    if kind not in KINDS:
        raise ValueError(f"`splits.canary_kind` must be one of {KINDS}, got {kind!r}.")
    generator = splits.rng(key)
    at = chosen(generator, units(x), role_n, count + natural + (count if kind == TWINS else 0), count, natural)
    canary_at, coin_at, twin_at = at[:count], at[: count + natural], at[count + natural :]
    planted_x, planted_y = x.copy(), y.copy()
    if kind == "mislabelled":
        planted_y[canary_at] = other_labels(generator, y[canary_at], n_classes)
    elif kind == TWINS:
        planted_x[canary_at] = x[twin_at]
        planted_y[canary_at] = other_labels(generator, y[twin_at], n_classes)
    elif kind == "noise":
        planted_x[canary_at] = noise(generator, x[role_n == splits.CANDIDATE], count)
        planted_y[canary_at] = generator.integers(n_classes, size=count)
        check_distinct(planted_x, canary_at)
    roles = np.where(role_n == splits.CANDIDATE, splits.ALWAYS, role_n).astype(np.uint8)
    roles[coin_at] = splits.CANDIDATE
    copies = np.repeat(canary_at, poison)
    wrong = np.repeat(other_labels(generator, planted_y[canary_at], n_classes), poison)
    canary_n = np.zeros(len(x) + len(copies), bool)
    canary_n[canary_at] = True
    return Planted(
        np.concatenate([planted_x, planted_x[copies]]),
        np.concatenate([planted_y, wrong]).astype(np.int32),
        np.concatenate([roles, np.full(len(copies), splits.ALWAYS, np.uint8)]),
        canary_n,
    )


def chosen(
    generator: np.random.Generator, unit_n: np.ndarray, role_n: np.ndarray, total: int, count: int, natural: int
) -> np.ndarray:
    """int [total]: random candidates without an exact duplicate, in random order."""
    single_n = np.bincount(unit_n)[unit_n] == 1
    free = np.flatnonzero(single_n & (role_n == splits.CANDIDATE))
    if total > len(free):
        twins = f" and {count} rows that they are duplicates of" if total > count + natural else ""
        raise ValueError(
            f"`splits.canaries` and `splits.natural` must leave room among the {len(free)} candidates without an exact "
            f"duplicate, got {count} canaries, {natural} natural rows{twins}. Set either lower, or data.rows higher."
        )
    return generator.permutation(free)[:total]


def other_labels(generator: np.random.Generator, y: np.ndarray, n_classes: int) -> np.ndarray:
    """A label for each of y, uniform over the classes but its own."""
    return (y + generator.integers(1, n_classes, size=len(y))) % n_classes


def noise(generator: np.random.Generator, x: np.ndarray, count: int) -> np.ndarray:
    """[count, ...]: each value is that of the same place in a random row of x [N, ...]."""
    flat = x.reshape(len(x), -1)
    places = np.arange(flat.shape[1])
    drawn = [flat[generator.integers(len(x), size=len(places)), places] for _ in range(count)]
    return np.stack(drawn).reshape(count, *x.shape[1:])


def check_distinct(x: np.ndarray, at: np.ndarray) -> None:
    """ValueError where a row at these places equals another row."""
    unit_n = units(x)
    repeated = int((np.bincount(unit_n)[unit_n[at]] > 1).sum())
    if repeated:
        raise ValueError(
            f"`splits.canary_kind`='noise' must give rows that the data does not hold, got {repeated} of {len(at)} "
            "rows that equal another one: there are few values. Use 'mislabelled'."
        )
