"""The attribute stages: every shadow is asked at every candidate value of one column, and what that tells of it."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxsnn_mia.attacks.attribute import advantage, columns
from jaxsnn_mia.attacks.attribute import scores as attribute_scores
from jaxsnn_mia.config import against_data
from jaxsnn_mia.data import splits
from jaxsnn_mia.data.prepared import candidates, rows_of
from jaxsnn_mia.pipeline import threat, trained
from jaxsnn_mia.pipeline.trained import Trained
from jaxsnn_mia.settings import Config, as_dict
from jaxsnn_mia.signals.from_logits import logit_confidence
from jaxsnn_mia.store.files import write_array
from jaxsnn_mia.store.stage import Stage, read_manifest
from jaxsnn_mia.store.stage import run as run_stage


def stage(name: str, c: Config, folder: Path, paths: dict[str, Path]) -> Stage:
    """The stage of one attack on the column of the settings."""
    settings = {key: value for key, value in as_dict(c.attribute).items() if key != "names"}
    inputs = {"name": name, "settings": settings, "metrics": as_dict(c.metrics), "defence": as_dict(c.defence),
              "epoch": c.signals.epoch, "train": paths["train"].name, "splits": paths["splits"].name}  # fmt: skip
    return Stage("attribute", folder, inputs)


def run(c: Config, folder: Path, paths: dict[str, Path]) -> dict[str, Path]:
    """The folders of the attribute stages: attribute-<hash>/guess.npy int [S, N], and what `threat.write` writes. The
    models are asked once for all attacks."""
    asked = functools.cache(lambda: operands(trained.opened(c, paths)))
    made = {}
    for name in c.attribute.names:

        def make(path: Path, name: str = name) -> None:
            given = asked()
            rows, guess_sn = measured(c, name, given)
            write_array(path / "guess.npy", guess_sn.astype(np.int32))
            usable_s, targets_n = np.flatnonzero(given["valid"]), np.arange(len(given["code"]))
            threat.write(path, f"attribute_{name}", rows, usable_s, targets_n)

        made[f"attribute/{name}"] = run_stage(stage(name, c, folder, paths), make)
    return made


def operands(models: Trained) -> dict[str, Any]:
    """What the attacks need, by the names of `scores.AttributeAttack`, and "code", "units", "valid"."""
    c, paths = models.config, models.paths
    x, y, unit_n = candidates(paths["data"])
    x_z, y_z, _ = rows_of(paths["data"], splits.POPULATION)
    index = against_data.column_index(c, read_manifest(paths["data"]).get("features", []), x.shape[1:])
    if c.attribute.bins:  # the attacker knows the population alone
        column = columns.column(x_z[:, index], c.attribute.bins)
        code_z, code_n = column.code_n, columns.binned(column, x_z[:, index], x[:, index])
    else:
        column = columns.column(np.concatenate([x_z[:, index], x[:, index]]))
        code_z, code_n = np.split(column.code_n, [len(x_z)])
    S, N, V = len(models.valid), len(x), len(column.values_v)
    prior_nv = columns.imputation(
        np.delete(x_z, index, 1), y_z, code_z, np.delete(x, index, 1), y, V, seed=c.attribute.seed
    )
    asked = columns.with_values(x, index, column.values_v).reshape(N * V, -1)
    logits = models.logits(np.concatenate([asked, x_z]))
    confidence = jax.jit(logit_confidence)
    logits_snvc = logits[:, : N * V].reshape(S, N, V, -1)
    return {
        "logits": logits_snvc, "labels": y, "prior": prior_nv, "shadows": S,
        "phi": np.stack([np.asarray(confidence(of_model, y)) for of_model in logits_snvc]),
        "confusion": attribute_scores.confusion(logits[:, N * V :], y_z),
        "keep": models.keep,
        "code": code_n, "units": unit_n, "valid": models.valid,
    }  # fmt: skip


def measured(c: Config, name: str, made: dict[str, Any]) -> tuple[list[dict[str, Any]], np.ndarray]:
    """(rows, guess_sn) of one attack: accuracies on members and others, and what they are above the imputation."""
    attack, m = attribute_scores.ATTRIBUTE_ATTACKS[name], c.metrics
    options: dict[str, Any] = {"valid_s": made["valid"]}
    if "keep" in attack.needs:
        options["partner_s"] = splits.partners(made["shadows"])
    guess_sn = attribute_scores.guess(attack.fn(*(made[need] for need in attack.needs), **options), made["prior"])
    imputed_n = made["prior"].argmax(1) == made["code"]
    estimates = advantage.summary(
        guess_sn == made["code"], imputed_n, made["keep"], unit_n=made["units"],
        pair_s=np.arange(made["shadows"]) // 2, replicates=m.replicates_auc, level=m.level, seed=m.seed,
        valid_s=made["valid"],
    )  # fmt: skip
    rows = [
        {"metric": metric, "value": e.value, "low": e.low, "high": e.high, "level": m.level, "replicates": e.replicates}
        for metric, e in estimates.items()
    ]
    return rows, guess_sn
