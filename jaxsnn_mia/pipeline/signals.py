"""The signals stages: every trained shadow is asked on every row of the data set that has a part in an attack."""

import dataclasses
from pathlib import Path

import numpy as np
from tqdm import tqdm

from jaxsnn_mia import attacks
from jaxsnn_mia.data import splits
from jaxsnn_mia.data.prepared import PARTS
from jaxsnn_mia.pipeline import trained, transfer
from jaxsnn_mia.pipeline.trained import Trained
from jaxsnn_mia.settings import Config, as_dict
from jaxsnn_mia.signals import catalogue
from jaxsnn_mia.store.files import read_array, write_array
from jaxsnn_mia.store.stage import Stage, run_together

RANDOM = "rate"  # the encoding whose answers are random
REPEATS = 8  # of a query of such a model


def repeats(c: Config) -> int:
    """How often each query is asked."""
    return c.signals.repeats or (REPEATS if c.model.encoding == RANDOM else 1)


def wanted(c: Config) -> tuple[str, ...]:
    """The signals that the settings and their attacks need."""
    return tuple(catalogue.names((*c.signals.names, "correct", *attacks.signals_of(c.attacks.names))))


def stages(c: Config, folder: Path, paths: dict[str, Path]) -> dict[str, Stage]:
    """A stage for each signal that the settings and their attacks need."""
    by_name = {}
    for name in wanted(c):
        inputs = {"name": name, "queries": c.signals.queries, "train": paths["train"].name}
        if repeats(c) > 1 and name in catalogue.ONE_PASS:
            inputs["repeats"] = repeats(c)
        if name in catalogue.REVISED:
            inputs["revision"] = catalogue.REVISED[name]
        if c.signals.epoch:
            inputs["epoch"] = c.signals.epoch
        if c.defence.on and name not in catalogue.PAST_DEFENCE:
            inputs["defence"] = as_dict(c.defence)
        by_name[name] = Stage("signals", folder, inputs)
    return by_name


def run(c: Config, folder: Path, paths: dict[str, Path]) -> dict[str, Path]:
    """The folders of the signals stages: signals-<hash>/NAME/PART-GROUP.npy [G, N, A, ...]. One pass makes all that are
    missing."""
    by_name = stages(c, folder, paths)

    def make(missing: list[Stage]) -> None:
        ask_all(trained.opened(c, paths), {stage.inputs["name"]: stage.path for stage in missing})

    run_together(list(by_name.values()), make)
    return {f"signals/{name}": stage.path for name, stage in by_name.items()}


def ask_all(models: Trained, folders: dict[str, Path]) -> None:
    """Writes these signals of every model on every row but those that train in every model, group after group."""
    c, paths = models.config, models.paths
    x, y, role_n = (np.asarray(read_array(paths["data"] / f"{name}.npy")) for name in ("x", "y", "role"))
    if (role_n == splits.ALWAYS).any():
        asked_n = role_n != splits.ALWAYS
        x, y, role_n = x[asked_n], y[asked_n], role_n[asked_n]
    if "survival" in folders:
        own = role_n == PARTS["candidates"]
        array = transfer.survival(models, x[own], y[own])
        write_array(folders["survival"] / "survival" / "candidates-00000.npy", array)
    passes: dict[tuple, list[str]] = {}  # (times the time steps, epochs) -> signals of one pass
    for name in set(folders) - set(catalogue.ACROSS):
        epochs = c.train.snapshot_epochs if name == "trajectory" else ()
        passes.setdefault((catalogue.LONGER.get(name, 1), epochs), []).append(name)
    for (longer, epochs), names in passes.items():
        asked = longer_in_time(models, longer)
        often = 1 if epochs else repeats(c)
        query = catalogue.Query(tuple(names), c.signals.queries, c.defence, often)
        each = [asked.ask(query, x, y, epoch) for epoch in (*epochs, c.signals.epoch or None)]
        groups = tqdm(zip(*each, strict=True), desc=f"query {paths['train'].parent.name}", leave=False,
                      total=models.plan["groups"])  # fmt: skip
        for group, parts in enumerate(groups):
            for name in names:
                array = np.concatenate([part[name] for part in parts], axis=2) if epochs else parts[0][name]
                for part_name, role in PARTS.items():
                    if (role_n == role).any():
                        file = folders[name] / name / f"{part_name}-{group:05d}.npy"
                        write_array(file, array[:, role_n == role])


def longer_in_time(models: Trained, times: int) -> Trained:
    """The models that run `times` their time steps."""
    spec = models.spec
    network = dataclasses.replace(spec.model, time_steps=times * spec.model.time_steps)
    inputs = models.inputs._replace(spec=dataclasses.replace(spec, model=network))
    return dataclasses.replace(models, inputs=inputs)
