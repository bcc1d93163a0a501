"""The signals stages: every trained shadow is queried on every row of the data set."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from jaxsnn_mia import attacks, config, measuring, preparing, shadows, signals, stages, stopping, store
from jaxsnn_mia.ensemble import make_ensemble
from jaxsnn_mia.work import first_rows, repeat_last


def signals_stages(c: config.Config, folder: Path, paths: dict[str, Path]) -> dict[str, Path]:
    """A stage for each signal: signals-<hash>/NAME/PART-GROUP.npy [G, N, A, ...]; one pass computes all missing."""
    wanted = signals.names((*c.signals.names, "correct", *attacks.signals_of(c.attacks.names)))
    inputs = {name: {"name": name, "queries": c.signals.queries, "train": paths["train"].name} for name in wanted}
    if c.signals.epoch:
        inputs = {name: {**of, "epoch": c.signals.epoch} for name, of in inputs.items()}
    for name in set(wanted) - set(signals.PAST_DEFENCE) if c.defence.on else ():
        inputs[name]["defence"] = config.as_dict(c.defence)
    found = {
        name: store.stage_path(folder, "signals", stages.STAGE_VERSION["signals"], inputs[name]) for name in wanted
    }
    missing = [name for name in wanted if not store.is_done(found[name])]
    if missing:
        stopping.check()
        meter = measuring.Meter()
        query_all(c, paths, {name: found[name] / name for name in missing})
        taken = meter.read()  # of the pass that made them all
        for name in missing:
            store.finish(found[name], stage=found[name].name, inputs=inputs[name], **taken, **stages.about())
    return {f"signals/{name}": found[name] / name for name in wanted}


def query_all(c: config.Config, paths: dict[str, Path], folders: dict[str, Path]) -> None:
    """Queries every shadow on every row of the data set, group after group."""
    loaded = preparing.load_work(c, paths)
    used = jax.local_devices()[: c.ensemble.devices or None]
    plan = json.loads((paths["train"] / "plan.json").read_text())
    plan["width"] = min(plan["width"], -(-plan["group_size"] // len(used)))  # members are queried one after the other
    x, y, role_n = (np.asarray(store.read_array(paths["data"] / f"{n}.npy")) for n in ("x", "y", "role"))
    asked: dict[tuple, list[str]] = {}  # (time steps, epochs) -> signals of one pass
    for name in folders:
        epochs = c.train.snapshot_epochs if name == "trajectory" else ()
        asked.setdefault((signals.LONGER.get(name, 1), epochs), []).append(name)
    for (longer, epochs), names in asked.items():
        model = dataclasses.replace(loaded.spec.model, time_steps=longer * loaded.spec.model.time_steps)
        work = loaded._replace(spec=dataclasses.replace(loaded.spec, model=model))
        ensemble = make_ensemble(work.spec, seed=work.seed, width=plan["width"], devices=used)
        query = ensemble.query(signals.compute(tuple(names), c.signals.queries, c.defence))
        for group in tqdm(range(plan["groups"]), desc=f"query {paths['train'].parent.name}", leave=False):
            parts = [
                query_group(paths["train"], work, ensemble, plan, group, len(used), query, (x, y), epoch)
                for epoch in (*epochs, c.signals.epoch or None)
            ]
            for name in names:
                array = np.concatenate([part[name] for part in parts], axis=2) if epochs else parts[0][name]
                for part_name, role in preparing.PARTS.items():
                    if (role_n == role).any():
                        signals.write(folders[name], part_name, group, array[:, role_n == role])


def query_group(folder, work, ensemble, plan, group, n_devices, query, data, epoch) -> dict[str, np.ndarray]:
    """{signal: [G, N, A, ...]} of the trained models of a group, or of those after `epoch` epochs."""
    trained, batch, real = shadows.load_group(folder, work, ensemble, plan, group, n_devices, epoch)
    state = repeat_last(trained.state, len(batch.ids))
    x, y = data
    whole: dict[str, np.ndarray] = {}
    for block in signals.blocks(len(x)):
        stopping.check()
        for name, part in first_rows(query(state, batch, x[block], y[block]), real).items():
            whole.setdefault(name, np.empty((real, len(x), *part.shape[2:]), part.dtype))[:, block] = part
    return whole


def logits(c: config.Config, paths: dict[str, Path], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """float32 [S, N, C] of every shadow on inputs of the caller's, under the defence."""
    loaded = preparing.load_work(c, paths)
    used = jax.local_devices()[: c.ensemble.devices or None]
    plan = json.loads((paths["train"] / "plan.json").read_text())
    plan["width"] = min(plan["width"], -(-plan["group_size"] // len(used)))
    ensemble = make_ensemble(loaded.spec, seed=loaded.seed, width=plan["width"], devices=used)
    query = ensemble.query(signals.compute(("logits",), 1, c.defence))
    parts = [
        query_group(paths["train"], loaded, ensemble, plan, group, len(used), query, (x, y), c.signals.epoch or None)
        for group in range(plan["groups"])
    ]
    return np.concatenate([part["logits"] for part in parts])[:, :, 0]
