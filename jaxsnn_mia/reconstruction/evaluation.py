"""What reconstructions tell of the training set: errors on members less those on others, and how real they look.

Values are [S, K]: models by what was reconstructed (examples, or classes). Everything is measured in units in which the
population spans [0, 1].
"""

from typing import Any, NamedTuple

import numpy as np

from jaxsnn_mia.metrics import bootstrap

HIDDEN = 128


class Evaluator(NamedTuple):
    """An independent network that says what a reconstruction shows: a ReLU layer and a linear one, trained by
    scikit-learn on the population alone."""

    weights: tuple[np.ndarray, np.ndarray]
    biases: tuple[np.ndarray, np.ndarray]
    classes: np.ndarray

    def features(self, x: np.ndarray) -> np.ndarray:
        """Hidden units [..., HIDDEN] of x [..., D]."""
        return np.maximum(x @ self.weights[0] + self.biases[0], 0.0)

    def labels(self, x: np.ndarray) -> np.ndarray:
        """The class of x [..., D], int [...]."""
        logits = self.features(x) @ self.weights[1] + self.biases[1]
        at = logits.argmax(-1) if logits.shape[-1] > 1 else (logits[..., 0] > 0).astype(int)
        return self.classes[at]


def evaluator(x_zd: np.ndarray, y_z: np.ndarray, seed: int = 0) -> Evaluator:
    """Trained on the population x [Z, D], y [Z]; deterministic.

    Raises ValueError for a population of fewer than two classes.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    if len(np.unique(y_z)) < 2:
        raise ValueError("`data.population` must hold at least 2 classes for an evaluator. Set it higher.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 200 epochs are enough for a judge
        net = MLPClassifier((HIDDEN,), random_state=seed, max_iter=200).fit(np.asarray(x_zd, np.float64), y_z)
    return Evaluator(tuple(net.coefs_), tuple(net.intercepts_), net.classes_)


class Drawn(NamedTuple):
    """A mean with its replicates [R] over pairs of models; equal seeds, units and pairs draw equal weights: two can be
    subtracted."""

    value: float
    replicates: np.ndarray
    pairs: int

    def __sub__(self, other: "Drawn") -> "Drawn":
        return Drawn(self.value - other.value, self.replicates - other.replicates, min(self.pairs, other.pairs))

    def row(self, metric: str, level: float) -> dict[str, Any]:
        low, high = bootstrap.interval(self.value, self.replicates, self.pairs, level, least=-np.inf, most=np.inf)
        return {"metric": metric, "value": self.value, "low": low, "high": high, "level": level,
                "replicates": self.replicates}  # fmt: skip


def mean(values_sk, counted_sk, unit_k, pair_s, *, replicates: int, seed: int = 0) -> Drawn:
    """Of the counted values: the mean over models of each model's mean, crossed bootstrap over units and pairs.

    Args:
      values_sk: float [S, K]; counted_sk: bool [S, K].
      unit_k: int [K], duplicates share one; pair_s: int [S], complementary models share one.
    """
    values_sk, counted_sk = np.asarray(values_sk, np.float64), np.asarray(counted_sk, bool)
    kept = counted_sk.any(1)
    values_sk, counted_sk, pair_s = values_sk[kept], counted_sk[kept], np.asarray(pair_s)[kept]
    each = np.where(counted_sk, values_sk, 0.0).sum(1) / counted_sk.sum(1)
    drawn = bootstrap.crossed_mean(
        np.where(counted_sk, values_sk, 0.0), counted_sk, unit_k, pair_s, replicates=replicates, seed=seed
    )
    return Drawn(float(each.mean()), drawn, bootstrap.count_pairs(pair_s))


def sides(name: str, member: Drawn, other: Drawn, level: float) -> list[dict[str, Any]]:
    """Rows NAME_member, NAME_other and NAME_gap, other less member: above 0 where members are known better."""
    return [
        member.row(f"{name}_member", level),
        other.row(f"{name}_other", level),
        (other - member).row(f"{name}_gap", level),
    ]


def leak(name: str, error_sk, member_sk, unit_k, pair_s, *, level: float, **options: Any) -> list[dict[str, Any]]:
    """`sides` of errors [S, K] where a model trained on the example, bool member_sk, and where it did not."""
    member, other = (mean(error_sk, side, unit_k, pair_s, **options) for side in (member_sk, ~np.asarray(member_sk)))
    return sides(name, member, other, level)


def nearness(
    name: str, member_sk, other_sk, unit_k, pair_s, *, level: float, **options: Any
) -> list[dict[str, Any]]:  # fmt: skip
    """`sides` of the errors of one reconstruction to the nearest member and to the nearest other [S, K]."""
    both = np.isfinite(member_sk) & np.isfinite(other_sk)
    member, other = (mean(np.where(both, e, 0.0), both, unit_k, pair_s, **options) for e in (member_sk, other_sk))
    return sides(name, member, other, level)
