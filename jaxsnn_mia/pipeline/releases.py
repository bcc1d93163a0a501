"""Several releases of one model, attacked together: its float and its quantized versions, or snapshots of it.

Who holds all of them scores each with LiRA. `combine` weighs the scores by what it learned on other pairs of models.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxsnn_mia import attacks, metrics
from jaxsnn_mia.attacks import combine, lira
from jaxsnn_mia.config.specs import bits
from jaxsnn_mia.data import splits
from jaxsnn_mia.metrics import comparisons
from jaxsnn_mia.pipeline.trained import Trained, opened
from jaxsnn_mia.report.rows import none_for_nan
from jaxsnn_mia.settings import Config, Metrics, as_dict
from jaxsnn_mia.store.files import digest, write_json
from jaxsnn_mia.store.stage import Stage
from jaxsnn_mia.store.stage import run as run_stage

ATTACK = "lira"
FEWEST = attacks.fewest_shadows((ATTACK, "combine"))


def together(variants: Mapping[str, Config]) -> list[list[str]]:
    """Groups of variants that differ in bits or in the epoch alone, and whose models are attacked by `ATTACK`. Of float
    variants, which are the same whatever would be quantized, the first."""
    groups: dict[str, dict[Any, str]] = {}
    for name, c in variants.items():
        if ATTACK in c.attacks.names and c.splits.n_shadows >= FEWEST:
            settings = as_dict(c)
            quantization, epoch = settings.pop("quantization"), settings["signals"].pop("epoch")
            release = digest([quantization if any(bits(c).values()) else "float", epoch])
            groups.setdefault(digest(settings), {}).setdefault(release, name)
    return [list(releases.values()) for releases in groups.values() if len(releases) > 1]


def run(variants: Mapping[str, Config], workdir: Path, paths: Mapping[str, dict[str, Path]]) -> list[dict[str, Any]]:
    """The rows of every group of releases among a run's variants, whose stages are in `paths`: a stage releases-<hash>
    in the workdir for each."""
    rows = []
    for names in together(variants):
        settings = variants[names[0]].metrics
        scored = {name: paths[name][f"attacks/{ATTACK}"].name for name in names}
        stage = Stage("releases", workdir, {"scores": scored, "metrics": as_dict(settings)})

        def make(path: Path, names: list[str] = names, settings: Metrics = settings) -> None:
            group = {name: opened(variants[name], paths[name]) for name in names}
            write_json(path / "releases.json", attacked_together(group, settings))

        rows += json.loads((run_stage(stage, make) / "releases.json").read_text())
    return rows


def attacked_together(releases: Mapping[str, Trained], settings: Metrics) -> list[dict[str, Any]]:
    """One row for each release: its own AUC and TPR at the first FPR under LiRA, those of all releases together, and
    the differences, together less alone, with intervals. None where the FPR is not resolved. Canaries are scored and
    not counted.

    Raises:
      ValueError: fewer than two releases, or releases of other examples or splits.
    """
    first = next(iter(releases.values()))
    for name, trained in releases.items():
        if not np.array_equal(trained.keep, first.keep) or not np.array_equal(trained.y, first.y):
            raise ValueError(
                f"{name} has other examples or splits than {next(iter(releases))}: they are not releases of one model."
            )
    if len(releases) < 2 or len(first.keep) < FEWEST:
        raise ValueError(
            f"at least 2 releases of at least {FEWEST} shadows are needed, got {len(releases)} of {len(first.keep)}."
        )
    keep, partner_s = first.keep, splits.partners(len(first.keep))
    valid_s = np.all([trained.valid for trained in releases.values()], axis=0)
    attack = {
        name: partial(lira.score, np.asarray(trained.signal("phi")), keep, partner_s=partner_s)
        for name, trained in releases.items()
    }
    natural_n = ~first.canary_n
    joint = combine.score(attack, keep, partner_s=partner_s, valid_s=valid_s)[:, natural_n]
    usable_s, fpr = valid_s & valid_s[partner_s], settings.fprs[0]
    keep, pair_s, unit_n = keep[:, natural_n], np.arange(len(keep)) // 2, first.unit_n[natural_n]
    options = {"level": settings.level, "seed": settings.seed, "valid_s": usable_s}
    rows = []
    for name in releases:
        alone = attack[name](valid_s=valid_s)[:, natural_n]
        auc = comparisons.auc_difference(
            joint, alone, keep, unit_n, pair_s, replicates=settings.replicates_auc, **options
        )
        tpr = comparisons.tpr_difference(
            joint, alone, keep, unit_n, pair_s, fpr, replicates=settings.replicates_tpr, **options
        )
        row = {"release": name, "fpr": fpr, "level": settings.level}
        for which, scores in (("alone", alone), ("together", joint)):
            row[f"auc_{which}"] = metrics.auc(scores, keep, usable_s)
            row[f"tpr_{which}"] = metrics.tpr_at_fpr(scores, keep, fpr, usable_s)[0]
        row |= {"auc_more": auc.difference, "auc_low": auc.low, "auc_high": auc.high}
        row |= {"tpr_more": tpr.difference, "tpr_low": tpr.low, "tpr_high": tpr.high}
        rows.append({column: none_for_nan(value) for column, value in row.items()})
    return rows
