"""Attribute inference: which value of a sensitive column an example has, from its other columns, its label and a model.

The models were queried at each of the V candidate values (`columns.with_values`): logits_snvc float32 [S, N, V, C]. y_n
int [N] are the labels. prior_nv [N, V] are the probabilities without the model (`columns.imputation`). Each attack
gives scores float32 [S, N, V], higher = more likely the value; `guess` takes the highest. `valid_s` bool [S]: diverged
shadows get NaN.

A right guess alone is no leak: the correlations of the population are known without the model. So the accuracy is
compared with that of the prior, and the accuracy on a model's own training examples with that on other examples
(`advantage`; Jayaraman and Evans 2022, arXiv 2209.01292; Yeom et al. 2018, arXiv 1709.01604). An attack may be worse
than the prior alone: where a model knows nothing, its answers are noise.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jaxsnn_mia.attacks import lira, references
from jaxsnn_mia.signals import from_logits


def confusion(logits_szc: jax.Array, y_z: np.ndarray) -> np.ndarray:
    """P(label | prediction) of each model on the population, with add-one smoothing.

    The paper's matrix is P(prediction | label). With this one, prior x matrix is Bayes' rule for a label drawn given x.

    Args:
      logits_szc: of the population [S, Z, C]; y_z: labels int [Z].

    Returns:
      float64 [S, C, C]; the row of a prediction sums to 1.

    Raises:
      ValueError: shapes or labels that do not fit.
    """
    logits_szc, y_z = np.asarray(logits_szc), np.asarray(y_z)
    check_labels(logits_szc, y_z, "logits_szc")
    S, _, C = logits_szc.shape
    cell_sz = (np.arange(S)[:, None] * C + logits_szc.argmax(-1)) * C + y_z
    count_scc = np.bincount(cell_sz.ravel(), minlength=S * C * C).reshape(S, C, C) + 1
    return count_scc / count_scc.sum(-1, keepdims=True)


def fredrikson(logits_snvc, y_n, prior_nv, confusion_scc, *, valid_s=None) -> np.ndarray:
    """log prior(v) + log P(y | the model's prediction at v). Of equal logits the first class is predicted.

    confusion_scc [S, C, C] is that of `confusion`.
    Source: Fredrikson et al. 2014 (USENIX Security) and 2015 (CCS), with marginals as prior.
    """
    valid_s = check_queries(logits_snvc, y_n, prior_nv, valid_s)
    S, C = logits_snvc.shape[0], logits_snvc.shape[-1]
    if np.shape(confusion_scc) != (S, C, C):
        raise ValueError(f"`confusion_scc` must be [{S}, {C}, {C}], got shape {np.shape(confusion_scc)}.")
    predicted_snv = np.asarray(logits_snvc).argmax(-1)
    likelihood = np.asarray(confusion_scc)[np.arange(S)[:, None, None], predicted_snv, np.asarray(y_n)[None, :, None]]
    return scores(log(prior_nv) + log(likelihood), valid_s)


def confidence(logits_snvc, y_n, prior_nv, *, valid_s=None) -> np.ndarray:
    """log prior(v) + log of the confidence in the label y at v.

    After CSMIA of Mehnaz et al. 2022 (arXiv 2201.09370). CSMIA has no prior and three cases: the one value with
    prediction y; of several such values, the one with the largest confidence; without such a value, the one with the
    smallest confidence in the wrong label. Here the confidence in y decides in all cases, together with the prior.
    """
    valid_s = check_queries(logits_snvc, y_n, prior_nv, valid_s)
    return scores(log(prior_nv) + np.asarray(_log_confidence(logits_snvc, y_n), np.float64), valid_s)


@jax.jit
def _log_confidence(logits_snvc, y_n):
    return jax.lax.map(lambda logits_nvc: from_logits.log_confidence(logits_nvc, y_n), logits_snvc)


def label_only(logits_snvc, y_n, prior_nv, *, valid_s=None) -> np.ndarray:
    """prior(v), plus 2 where the label predicted at v is y. Such values beat all others, and the prior decides among
    them. Of equal logits the first class is predicted. LOMIA (Mehnaz et al. 2022, arXiv 2201.09370) has no prior; it
    learns an attack model on the examples for which only one value has prediction y."""
    valid_s = check_queries(logits_snvc, y_n, prior_nv, valid_s)
    right_snv = np.asarray(logits_snvc).argmax(-1) == np.asarray(y_n)[:, None]
    return scores(2.0 * right_snv + np.asarray(prior_nv, np.float64), valid_s)


def membership(phi_snv, keep_sn, prior_nv, *, partner_s=None, valid_s=None, variance: str = "shrinkage") -> np.ndarray:
    """log prior(v) + z(v): is (the other columns, v, y) among the training examples?

    z is the one-sided (phi - mu) / sigma of LiRA at the same v, against the shadows that did not train on the example,
    without the target and its partner: S/2 - 1 of them, whatever the truth. If members lie d deviations above the
    others, with equal variances, then the log likelihood ratio of membership is d z - d^2 / 2. The adversary cannot
    measure d, so it is taken to be 1; the constant is the same for all values.

    Args:
      phi_snv: logit confidences [S, N, V] of y at each value, `from_logits.logit_confidence(logits_snvc, y_n)`.
      keep_sn, partner_s, valid_s, variance: as in `lira.score`, which says what it refuses. "hierarchical" gives a
        ratio, not z, and is refused.
    """
    check_prior(prior_nv, np.shape(phi_snv))
    if variance in ("auto", "hierarchical"):
        raise ValueError(f"`variance` must give one-sided distances, as 'shrinkage' does, got {variance!r}.")
    options = {"partner_s": partner_s, "valid_s": valid_s, "mode": "offline", "variance": variance}
    # one value at a time: each has its own variances, and all have the same partners; V is small
    z = [lira.score(phi_snv[:, :, v : v + 1], keep_sn, **options) for v in range(phi_snv.shape[-1])]
    return (log(prior_nv) + np.stack(z, axis=-1)).astype(np.float32)


def imputed(prior_nv, n_shadows: int = 1, *, valid_s=None) -> np.ndarray:
    """log prior(v), the same for each of `n_shadows` models: the baseline that uses no model."""
    check_prior(prior_nv, (n_shadows, *np.shape(prior_nv)))
    usable_s = references.usable(n_shadows, None, valid_s)
    return scores(np.broadcast_to(log(prior_nv), (n_shadows, *np.shape(prior_nv))), usable_s)


class AttributeAttack(NamedTuple):
    """fn(*arrays named by `needs`, valid_s=...) -> scores float32 [S, N, V].

    "logits" [S, N, V, C] and "phi" [S, N, V] at each value, "labels" int [N], "prior" [N, V], "confusion" [S, C, C],
    "shadows" the number S; "keep" bool [S, N], which comes with partner_s.
    """

    fn: Callable
    needs: tuple[str, ...]


ATTRIBUTE_ATTACKS: dict[str, AttributeAttack] = {
    "imputed": AttributeAttack(imputed, ("prior", "shadows")),
    "label_only": AttributeAttack(label_only, ("logits", "labels", "prior")),
    "confidence": AttributeAttack(confidence, ("logits", "labels", "prior")),
    "fredrikson": AttributeAttack(fredrikson, ("logits", "labels", "prior", "confusion")),
    "membership": AttributeAttack(membership, ("phi", "keep", "prior")),
}


def guess(scores_snv, prior_nv) -> np.ndarray:
    """int64 [S, N]: the value with the highest score; among equals the likeliest by the prior, then the first. -1 where
    there are no scores (NaN)."""
    check_prior(prior_nv, np.shape(scores_snv))
    best_snv = scores_snv == np.max(scores_snv, axis=-1, keepdims=True)
    guess_sn = np.where(best_snv, np.asarray(prior_nv, np.float64), -1.0).argmax(-1)
    return np.where(best_snv.any(-1), guess_sn, -1)


def check_queries(logits_snvc, y_n, prior_nv, valid_s) -> np.ndarray:
    """valid_s bool [S]. ValueError for shapes, labels or a prior that do not fit, or logits that are not finite."""
    check_labels(logits_snvc, y_n, "logits_snvc")
    check_prior(prior_nv, logits_snvc.shape[:3])
    valid_s = references.usable(len(logits_snvc), None, valid_s)
    references.check_finite((logits_snvc[s] for s in np.flatnonzero(valid_s)), "logits_snvc")
    return valid_s


def check_labels(logits, y, name: str) -> None:
    """ValueError unless logits have the axes of their name, and a label in [0, C) for each example."""
    axes, y = name.split("_")[1], np.asarray(y)
    if np.ndim(logits) != len(axes) or y.shape != logits.shape[1:2]:
        raise ValueError(
            f"`{name}` must be [{', '.join(axes.upper())}] with a label for each example, got shapes "
            f"{np.shape(logits)} and {y.shape}."
        )
    if not np.issubdtype(y.dtype, np.integer) or (y < 0).any() or (y >= logits.shape[-1]).any():
        raise ValueError(f"labels must be int in [0, {logits.shape[-1]}), the classes of `{name}`, got {np.unique(y)}.")


def check_prior(prior_nv, shape: tuple) -> None:
    """ValueError unless the prior fits scores of `shape` [S, N, V] and its rows are probabilities."""
    prior_nv = np.asarray(prior_nv)
    if prior_nv.ndim != 2 or len(shape) != 3 or prior_nv.shape != tuple(shape[1:]):
        raise ValueError(f"`prior_nv` must be [N, V] of values [S, N, V] {tuple(shape)}, got {prior_nv.shape}.")
    if not (prior_nv >= 0).all() or not np.allclose(prior_nv.sum(1), 1, atol=1e-3):
        raise ValueError("`prior_nv` must hold probabilities that sum to 1 for each example. `imputation` gives them.")


def log(p) -> np.ndarray:
    """float64; -inf for 0, a value that cannot be."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(p, np.float64))


def scores(values_snv: np.ndarray, valid_s: np.ndarray) -> np.ndarray:
    """float32, NaN for shadows that have diverged."""
    return np.where(valid_s[:, None, None], values_snv, np.nan).astype(np.float32)
