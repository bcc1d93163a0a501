"""The signals stages: every trained shadow is queried on every row of the data set."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from jaxsnn_mia import attacks
from jaxsnn_mia.data.prepared import PARTS
from jaxsnn_mia.pipeline.trained import load_inputs
from jaxsnn_mia.runtime import resources, stopping
from jaxsnn_mia.settings import Config, as_dict
from jaxsnn_mia.signals import catalogue
from jaxsnn_mia.store.files import read_array, write_array
from jaxsnn_mia.store.stage import STAGE_VERSION, finish, is_done, provenance, stage_path
from jaxsnn_mia.training.ensemble import make_ensemble
from jaxsnn_mia.training.inputs import first_rows, repeat_last
from jaxsnn_mia.training.loop import load_group


def signals_stages(c: Config, folder: Path, paths: dict[str, Path]) -> dict[str, Path]:
    """A stage for each signal: signals-<hash>/NAME/PART-GROUP.npy [G, N, A, ...]; one pass computes all missing."""
    wanted = catalogue.names((*c.signals.names, "correct", *attacks.signals_of(c.attacks.names)))
    inputs = {name: {"name": name, "queries": c.signals.queries, "train": paths["train"].name} for name in wanted}
    if c.signals.epoch:
        inputs = {name: {**of, "epoch": c.signals.epoch} for name, of in inputs.items()}
    for name in set(wanted) - set(catalogue.PAST_DEFENCE) if c.defence.on else ():
        inputs[name]["defence"] = as_dict(c.defence)
    found = {name: stage_path(folder, "signals", STAGE_VERSION["signals"], inputs[name]) for name in wanted}
    missing = [name for name in wanted if not is_done(found[name])]
    if missing:
        stopping.check()
        meter = resources.Meter()
        query_all(c, paths, {name: found[name] / name for name in missing})
        taken = meter.read()  # of the pass that made them all
        for name in missing:
            finish(found[name], stage=found[name].name, inputs=inputs[name], **taken, **provenance())
    return {f"signals/{name}": found[name] / name for name in wanted}


def query_all(c: Config, paths: dict[str, Path], folders: dict[str, Path]) -> None:
    """Queries every shadow on every row of the data set, group after group."""
    loaded = load_inputs(c, paths)
    used = jax.local_devices()[: c.ensemble.devices or None]
    plan = json.loads((paths["train"] / "plan.json").read_text())
    plan["width"] = min(plan["width"], -(-plan["group_size"] // len(used)))  # members are queried one after the other
    x, y, role_n = (np.asarray(read_array(paths["data"] / f"{n}.npy")) for n in ("x", "y", "role"))
    asked: dict[tuple, list[str]] = {}  # (time steps, epochs) -> signals of one pass
    for name in folders:
        epochs = c.train.snapshot_epochs if name == "trajectory" else ()
        asked.setdefault((catalogue.LONGER.get(name, 1), epochs), []).append(name)
    for (longer, epochs), names in asked.items():
        model = dataclasses.replace(loaded.spec.model, time_steps=longer * loaded.spec.model.time_steps)
        work = loaded._replace(spec=dataclasses.replace(loaded.spec, model=model))
        ensemble = make_ensemble(work.spec, seed=work.seed, width=plan["width"], devices=used)
        query = ensemble.query(catalogue.compute(tuple(names), c.signals.queries, c.defence))
        for group in tqdm(range(plan["groups"]), desc=f"query {paths['train'].parent.name}", leave=False):
            parts = [
                query_group(paths["train"], work, ensemble, plan, group, len(used), query, (x, y), epoch)
                for epoch in (*epochs, c.signals.epoch or None)
            ]
            for name in names:
                array = np.concatenate([part[name] for part in parts], axis=2) if epochs else parts[0][name]
                for part_name, role in PARTS.items():
                    if (role_n == role).any():
                        write_signal(folders[name], part_name, group, array[:, role_n == role])


def query_group(folder, work, ensemble, plan, group, n_devices, query, data, epoch) -> dict[str, np.ndarray]:
    """{signal: [G, N, A, ...]} of the trained models of a group, or of those after `epoch` epochs."""
    trained, batch, real = load_group(folder, work, ensemble, plan, group, n_devices, epoch)
    state = repeat_last(trained.state, len(batch.ids))
    x, y = data
    whole: dict[str, np.ndarray] = {}
    for block in blocks(len(x)):
        stopping.check()
        for name, part in first_rows(query(state, batch, x[block], y[block]), real).items():
            whole.setdefault(name, np.empty((real, len(x), *part.shape[2:]), part.dtype))[:, block] = part
    return whole


def logits(c: Config, paths: dict[str, Path], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """float32 [S, N, C] of every shadow on inputs of the caller's, under the defence."""
    loaded = load_inputs(c, paths)
    used = jax.local_devices()[: c.ensemble.devices or None]
    plan = json.loads((paths["train"] / "plan.json").read_text())
    plan["width"] = min(plan["width"], -(-plan["group_size"] // len(used)))
    ensemble = make_ensemble(loaded.spec, seed=loaded.seed, width=plan["width"], devices=used)
    query = ensemble.query(catalogue.compute(("logits",), 1, c.defence))
    parts = [
        query_group(paths["train"], loaded, ensemble, plan, group, len(used), query, (x, y), c.signals.epoch or None)
        for group in range(plan["groups"])
    ]
    return np.concatenate([part["logits"] for part in parts])[:, :, 0]


BATCH = 1024  # examples per forward pass


def blocks(n: int) -> list[slice]:
    """Slices of one length that cover n examples, the last one overlapping: one compiled shape."""
    count = -(-n // BATCH)
    size = -(-n // count)
    return [slice(min(i, n - size), min(i, n - size) + size) for i in range(0, n, size)]


def write_signal(folder: Path, part: str, group: int, array: np.ndarray) -> None:
    """Writes one group of one signal [G, N, A, ...] on a part of the data ("candidates", "population", ...)."""
    write_array(folder / f"{part}-{group:05d}.npy", array)


def read_signal(folder: Path, part: str) -> np.ndarray:
    """[S, N, A, ...]: all groups of the signal in `folder`; memory-mapped where there is one group."""
    arrays = [read_array(path) for path in sorted(folder.glob(f"{part}-*.npy"))]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
