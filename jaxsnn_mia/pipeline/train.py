"""The training stage. Variants that differ in traced settings alone are trained as one ensemble."""

import inspect
import shutil
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
from jaxsnn_mia.training.inputs import Inputs
from jaxsnn_mia.training.loop import Member, train_all
from jaxsnn_mia.training.plan import used_devices
from jaxsnn_mia.training.probe import largest_group, state_bytes


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
        check_room(c, inputs, stages[name].parent.parent)
        program = digest([repr(inputs.spec), inputs.seed, as_dict(c.ensemble), paths[name]["splits"]])
        names, members = by_program.setdefault(program, ([], []))
        names.append(name)
        members.append(Member(stages[name].path, c, inputs))
    return list(by_program.values())


def check_room(c: Config, inputs: Inputs, workdir: Path) -> None:
    """ValueError where not even two models fit in memory, or not all checkpoints on the disk of the workdir."""
    one, gb = state_bytes(inputs.spec), 1e9
    if largest_group(inputs.spec, used_devices(c)) < 2:
        raise ValueError(
            f"a model of `model.hidden`={c.model.hidden} needs {one / gb:.3g} GB with its optimizer, and two do not "
            f"fit in the memory of this machine ({resources.host_memory() / gb:.3g} GB). Make the model smaller."
        )
    needed = one * len(inputs.rows[0]) * (1 + len(c.train.snapshot_epochs))
    free = shutil.disk_usage(workdir).free
    if needed > free:
        raise ValueError(
            f"the checkpoints of {len(inputs.rows[0])} models need {needed / gb:.3g} GB, and {workdir} has "
            f"{free / gb:.3g} GB left. Pass another --workdir, fewer `splits.n_shadows` or `train.snapshot_epochs`."
        )
