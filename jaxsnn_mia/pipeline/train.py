"""The training stage. Variants that differ in traced settings alone are trained as one ensemble."""

import inspect
from pathlib import Path

from absl import logging

from jaxsnn_mia import models
from jaxsnn_mia.models import by_name
from jaxsnn_mia.pipeline.trained import load_inputs
from jaxsnn_mia.runtime import resources, spmd
from jaxsnn_mia.settings import Config, as_dict, recorded
from jaxsnn_mia.store.files import digest, file_sha256
from jaxsnn_mia.store.stage import Stage, finish, read_manifest
from jaxsnn_mia.training.claims import Share
from jaxsnn_mia.training.loop import Member, train_all


def stage(c: Config, folder: Path, paths: dict[str, Path]) -> Stage:
    """The training stage of a variant on its data and splits."""
    inputs = {
        "model": recorded(c)["model"],
        "quantization": as_dict(c.quantization),
        "train": as_dict(c.train),
        "standardise": c.data.standardise,
        "augment": c.data.augment,
        "data": read_manifest(paths["data"])["sha256"],
        "splits": paths["splits"].name,
    }
    if ":" in c.model.surrogate:  # changed code of the caller's own is another training
        inputs["surrogate"] = file_sha256(Path(inspect.getfile(by_name.surrogate(c.model.surrogate))))
    if ":" in c.model.architecture:
        module = models.modules(c.model.architecture)[c.model.family]
        inputs["architecture"] = file_sha256(Path(inspect.getfile(module)))
    return Stage("train", folder, inputs)


def run(
    variants: dict[str, Config], workdir: Path, paths: dict[str, dict[str, Path]], share: Share
) -> dict[str, dict[str, Path]]:
    """The folders of all variants with those of their training stages: plan.json, a folder of checkpoints for each
    group, history.npz, shadows.jsonl. Variants that differ in their defence alone have one training, in the folder of
    the first."""
    stages = {name: stage(c, workdir / name, paths[name]) for name, c in variants.items()}
    first = {one.path.name: one for one in reversed(stages.values())}
    stages = {name: first[one.path.name] for name, one in stages.items()}
    for names, members in ensembles(variants, stages, paths):
        spmd.check_stop()
        meter = resources.Meter()
        train_all(members, share)
        taken = meter.read()  # of all members together
        if not share.rank:
            for name in names:
                finish(stages[name], members=names, **taken)
    return {name: of | {"train": stages[name].path} for name, of in paths.items()}


def ensembles(
    variants: dict[str, Config], stages: dict[str, Stage], paths: dict[str, dict[str, Path]]
) -> list[tuple[list[str], list[Member]]]:
    """The names and members of each ensemble that is to be trained: one for each program."""
    by_program: dict[str, tuple[list[str], list[Member]]] = {}
    for name, c in variants.items():
        if stages[name].parent.name != name:
            continue
        if stages[name].is_done:
            logging.info("%s is trained already", name)
            continue
        inputs = load_inputs(c, paths[name])
        program = digest([repr(inputs.spec), inputs.seed, as_dict(c.ensemble), paths[name]["splits"]])
        names, members = by_program.setdefault(program, ([], []))
        names.append(name)
        members.append(Member(stages[name].path, c, inputs))
    return list(by_program.values())
