"""The training stage."""

import inspect
import time
from pathlib import Path
from typing import Any

from absl import logging

from jaxsnn_mia import models
from jaxsnn_mia.kernels import surrogate
from jaxsnn_mia.pipeline.trained import load_inputs
from jaxsnn_mia.runtime import resources, spmd
from jaxsnn_mia.settings import Config, as_dict
from jaxsnn_mia.store.files import digest, file_sha256
from jaxsnn_mia.store.stage import (
    STAGE_VERSION,
    finish,
    is_done,
    provenance,
    read_manifest,
    stage_path,
)
from jaxsnn_mia.training.claims import Share
from jaxsnn_mia.training.loop import Member, train_all


def train_path(c: Config, folder: Path, paths: dict[str, Path]) -> tuple[Path, dict[str, Any]]:
    inputs = {
        "model": as_dict(c.model),
        "quantization": as_dict(c.quantization),
        "train": as_dict(c.train),
        "standardise": c.data.standardise,
        "augment": c.data.augment,
        "data": read_manifest(paths["data"])["sha256"],
        "splits": paths["splits"].name,
    }
    if ":" in c.model.surrogate:  # changed code of the caller's own is another training
        inputs["surrogate"] = file_sha256(Path(inspect.getfile(surrogate.factory(c.model.surrogate))))
    if ":" in c.model.architecture:
        module = models.modules(c.model.architecture)[c.model.family]
        inputs["architecture"] = file_sha256(Path(inspect.getfile(module)))
    return stage_path(folder, "train", STAGE_VERSION["train"], inputs), inputs


def train_stages(
    variants: dict[str, Config], workdir: Path, shared: dict[str, dict[str, Path]], share: Share
) -> dict[str, dict[str, Path]]:
    """The folders of all variants with their training stages (plan.json, a folder of checkpoints for each group,
    history.npz, shadows.jsonl), after training those that are not done. Variants that differ in traced settings alone
    are trained as one ensemble; those that differ in their defence alone are one training, in the folder of the first.
    """
    first: dict[str, tuple[Path, dict[str, Any]]] = {}
    found = {}
    for name, c in variants.items():
        stage = train_path(c, workdir / name, shared[name])
        found[name] = first.setdefault(stage[0].name, stage)
    ensembles: dict[str, list[str]] = {}
    works = {}
    for name, c in variants.items():
        if found[name][0].parent.name != name:
            continue
        if is_done(found[name][0]):
            logging.info("%s is trained already", name)
        else:
            works[name] = load_inputs(c, shared[name])
            program = [repr(works[name].spec), works[name].seed, as_dict(c.ensemble), shared[name]["splits"]]
            ensembles.setdefault(digest(program), []).append(name)
    for names in ensembles.values():
        spmd.check_stop()
        meter = resources.Meter()
        members = [Member(found[name][0], variants[name], works[name]) for name in names]
        train_all(members, share)
        taken = meter.read()  # of all members together
        for name in names if not share.rank else ():
            path, inputs = found[name]
            finish(path, stage=path.name, inputs=inputs, members=names, **taken, finished=time.ctime(),
                         **provenance())  # fmt: skip
    return {name: paths | {"train": found[name][0]} for name, paths in shared.items()}
