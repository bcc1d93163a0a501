"""Who trains on what: keep[S, N], in complementary pairs of shadows.

Row 2k is random and row 2k+1 its complement, so every example is in S/2 models, and a target can be attacked
without itself and its complement: what is left holds S/2 - 1 IN and S/2 - 1 OUT models whatever the truth.
"""

import jax
import numpy as np

CANDIDATE, POPULATION, VALIDATION, TEST, ALWAYS = range(5)  # ALWAYS: trains in every model
ROWS = ("exact", "iid")


def rng(key: jax.Array) -> np.random.Generator:
    """A numpy generator seeded by a typed jax key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())


def partners(n_shadows: int) -> np.ndarray:
    """partner_s int64 [S]: the complementary shadow of each shadow."""
    return np.arange(n_shadows) ^ 1


def roles(key: jax.Array, unit_n: np.ndarray, *, population: float, validation: float, test_n=None) -> np.ndarray:
    """role_n uint8 [N]: candidate, population, validation or test.

    Args:
      key: typed jax key.
      unit_n: duplicate groups [N] (`data.units`): a group keeps together.
      population, validation: shares of the rows outside the test split, each in [0, .5].
      test_n: bool [N], rows of the source's own test split.
    """
    role_n = np.full(len(unit_n), CANDIDATE, np.uint8)
    free_n = np.ones(len(unit_n), bool)
    if test_n is not None:
        tested = np.zeros(unit_n.max() + 1, bool)
        tested[unit_n[test_n]] = True  # a training row equal to a test row is no candidate
        free_n = ~tested[unit_n]
        role_n[~free_n] = TEST
    order = rng(key).permutation(np.unique(unit_n[free_n]))
    size = np.bincount(unit_n[free_n], minlength=unit_n.max() + 1)
    reached = np.cumsum(size[order]) / free_n.sum()
    for role, low, high in (
        (POPULATION, 0.0, population),
        (VALIDATION, population, population + validation),
    ):
        chosen = np.zeros(unit_n.max() + 1, bool)
        chosen[order[(reached > low) & (reached <= high)]] = True
        role_n[chosen[unit_n] & free_n] = role
    return role_n


def make(
    key: jax.Array,
    labels_n: np.ndarray,
    n_shadows: int,
    *,
    rows: str = "exact",
    unit_n: np.ndarray | None = None,
) -> np.ndarray:
    """keep_sn bool [S, N]: which shadow trains on which candidate; keep[2k+1] = ~keep[2k].

    Args:
      key: typed jax key.
      labels_n: class labels [N].
      n_shadows: S, even and at least 6.
      rows: "exact", row 2k is a random half of N, or of the groups where there are no single examples; "iid", a fair
        coin for each example or group.
      unit_n: duplicate groups [N]; a group shares one column.

    Raises:
      ValueError: S odd or below 6, unknown rows, or a class with fewer than 2 examples on a side.
    """
    if n_shadows < 6 or n_shadows % 2:
        raise ValueError(f"`splits.n_shadows` must be even and at least 6, got {n_shadows}.")
    if rows not in ROWS:
        raise ValueError(f"`splits.rows` must be one of {ROWS}, got {rows!r}.")
    unit_n = np.arange(len(labels_n)) if unit_n is None else np.unique(unit_n, return_inverse=True)[1]
    size_u = np.bincount(unit_n)
    single_u = np.flatnonzero(size_u == 1)
    generator = rng(key)
    keep_sn = np.empty((n_shadows, len(labels_n)), bool)
    for k in range(n_shadows // 2):
        keep_u = generator.random(len(size_u)) < 0.5
        if rows == "exact":
            wanted = len(labels_n) // 2 - size_u[keep_u & (size_u > 1)].sum()
            if len(single_u):
                keep_u[single_u] = False
                keep_u[generator.permutation(single_u)[: max(wanted, 0)]] = True
            else:  # groups alone: half of them
                keep_u[generator.permutation(len(size_u))] = np.arange(len(size_u)) < len(size_u) / 2
        keep_sn[2 * k], keep_sn[2 * k + 1] = keep_u[unit_n], ~keep_u[unit_n]
    check_classes(keep_sn, labels_n)
    return keep_sn


def check_classes(keep_sn: np.ndarray, labels_n: np.ndarray) -> None:
    """ValueError unless every class has at least 2 examples on each side of every shadow."""
    for label in np.unique(labels_n):
        inside_s = keep_sn[:, labels_n == label].sum(1)
        fewest = min(inside_s.min(), (labels_n == label).sum() - inside_s.max())
        if fewest < 2:
            raise ValueError(
                f"class {label} needs at least 2 members and 2 non-members in every shadow, got {fewest} on a "
                f"side ({(labels_n == label).sum()} candidates in all). Merge or drop rare classes, or make "
                "`data.population` and `data.validation` smaller."
            )


def with_always(keep_sn: np.ndarray, count: int) -> np.ndarray:
    """bool [S, N + count]: keep of the candidates, and behind them of the rows that train in every model."""
    return np.concatenate([keep_sn, np.ones((len(keep_sn), count), bool)], axis=1) if count else keep_sn


def training_rows(keep_sn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(idx_sr int32, mask_sr float32) [S, R]: each shadow's rows, padded to the longest; mask 0 is padding, which
    repeats the shadow's first row: not even a range is taken from another's."""
    counts_s = keep_sn.sum(1)
    width = int(counts_s.max())
    mask_sr = np.arange(width) < counts_s[:, None]
    idx_sr = np.repeat(keep_sn.argmax(1)[:, None], width, 1).astype(np.int32)
    idx_sr[mask_sr] = np.nonzero(keep_sn)[1]
    return idx_sr, mask_sr.astype(np.float32)
