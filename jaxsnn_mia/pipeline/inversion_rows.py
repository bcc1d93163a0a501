"""Rows of results for reconstructions: what `inversion.py` made, measured by `reconstruction.evaluation`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.config import against_data
from jaxsnn_mia.reconstruction import evaluation, gradients, similarity
from jaxsnn_mia.settings import Config

RECOVERED = 0.01  # mean squared error, a tenth of the range of each feature, below which an input counts as recovered
SHOWN = 10  # images of the report
Rows = list[dict[str, Any]]


def options(c: Config) -> dict[str, Any]:
    m = c.metrics
    return {"level": m.level, "replicates": m.replicates_auc, "seed": m.seed}


def whole(name: str, values_sk: np.ndarray, pair_s: np.ndarray, c: Config, size: int = 1) -> dict[str, Any]:
    """One row, the mean of all values; `size` of them in a row are one unit."""
    given = options(c)
    level, counted = given.pop("level"), np.ones(np.shape(values_sk), bool)
    return evaluation.mean(values_sk, counted, np.arange(counted.shape[1]) // size, pair_s, **given).row(name, level)


def class_means(s, labels_k: np.ndarray) -> np.ndarray:
    """What a label alone tells: the population's mean [K, D] of its class; of all, where it has none."""
    z, y = s.population
    return np.stack([z[y == label].mean(0) if (y == label).any() else z.mean(0) for label in labels_k])


def of_examples(c: Config, s, keep_sk: np.ndarray, at_s: np.ndarray, z_skd: np.ndarray) -> Rows:
    """Errors to the example that was reconstructed, of models that trained on it (`keep_sk`) and of those that did
    not."""
    truth, labels = s.targets
    judge = evaluation.evaluator(*s.population)
    errors = {
        "mse": similarity.mse(z_skd, truth[None]),
        "feature": ((judge.features(z_skd) - judge.features(truth)[None]) ** 2).mean(-1),
    }
    image = against_data.image_of(c, s.box.shape)
    if image and min(image[:2]) >= 7:
        both = np.broadcast_to(truth[None], z_skd.shape)
        errors["dissimilarity"] = 1 - similarity.ssim(jnp.asarray(z_skd), jnp.asarray(both), image, 1.0)
    pair_s, unit_k, rows = at_s // 2, np.arange(len(truth)), []
    for name, error_sk in errors.items():
        rows += evaluation.leak(name, np.asarray(error_sk), keep_sk, unit_k, pair_s, **options(c))
    blind = np.broadcast_to(((class_means(s, labels) - truth) ** 2).mean(-1)[None], keep_sk.shape)
    rows.append(whole("mse_class_mean", blind, pair_s, c))
    rows.append(whole("evaluator_accuracy", judge.labels(z_skd) == labels[None], pair_s, c))
    return rows


def of_classes(
    c: Config, s, x: np.ndarray, y: np.ndarray, keep_sn: np.ndarray, at_s: np.ndarray, z_skd: np.ndarray
) -> Rows:
    """Errors to the nearest example of the class, and to the mean of its examples, among the candidates x, y [N] that a
    model trained on and among the others."""
    rows_nd = s.box.inside(x)
    classes = np.arange(z_skd.shape[1])
    of_class_kn = classes[:, None] == y[None]
    image = against_data.image_of(c, s.box.shape)

    @jax.jit
    def near(z_kd, allowed_kn):
        mean_kd = allowed_kn.astype(rows_nd.dtype) @ rows_nd / allowed_kn.sum(1, keepdims=True)  # NaN of no example
        errors = {
            "nearest_mse": similarity.nearest(z_kd, rows_nd, allowed_kn)[0],
            "mean_mse": similarity.mse(z_kd, mean_kd),
        }
        if image and min(image[:2]) >= 7:
            errors["nearest_dissimilarity"] = 1 - similarity.nearest_ssim(z_kd, rows_nd, allowed_kn, image, 1.0)[0]
            errors["mean_dissimilarity"] = 1 - similarity.ssim(z_kd, mean_kd, image, 1.0)
        return errors

    sides = [
        [near(z, of_class_kn & side[None]) for z, side in zip(z_skd, keep, strict=True)] for keep in (keep_sn, ~keep_sn)
    ]
    judge, pair_s, rows = evaluation.evaluator(*s.population), at_s // 2, []
    for name in sides[0][0]:
        member_sk, other_sk = (np.stack([np.asarray(errors[name]) for errors in side]) for side in sides)
        rows += evaluation.nearness(name, member_sk, other_sk, classes, pair_s, **options(c))
    rows.append(whole("evaluator_accuracy", judge.labels(z_skd) == classes[None], pair_s, c))
    return rows


def of_batches(c: Config, s, at_s: np.ndarray, z_skd: np.ndarray, size: int) -> Rows:
    """Errors to the best assignment within each client's batch of `size`; the clients are the targets."""
    count = z_skd.shape[1]
    truth = s.targets[0][:count].reshape(-1, size, z_skd.shape[2])
    error_sk = np.stack([
        np.concatenate([gradients.matched_error(z, x) for z, x in zip(of_model, truth, strict=True)])
        for of_model in z_skd.reshape(len(z_skd), *truth.shape)
    ])  # fmt: skip
    means = class_means(s, s.targets[1][:count])
    blind = np.broadcast_to(((means - s.targets[0][:count]) ** 2).mean(-1)[None], error_sk.shape)
    pair_s = at_s // 2
    return [
        whole(f"mse@{size}", error_sk, pair_s, c, size),
        whole(f"recovered@{size}", error_sk < RECOVERED, pair_s, c, size),
        whole(f"mse_class_mean@{size}", blind, pair_s, c, size),
    ]


def grid(c: Config, s, z_skd: np.ndarray, classes: bool) -> np.ndarray | None:
    """uint8 [2, K, H, W, channels]: up to `SHOWN` targets (of classes the population's means) above what the first
    model gave for them; None where examples are no images."""
    image = against_data.image_of(c, s.box.shape)
    if image is None:
        return None
    above = class_means(s, np.arange(z_skd.shape[1])) if classes else s.targets[0]
    both = np.stack([above[: z_skd.shape[1]], z_skd[0]])[:, :SHOWN]
    return np.rint(255 * np.clip(both, 0, 1)).astype(np.uint8).reshape(*both.shape[:2], *image)
