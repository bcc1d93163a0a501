"""The training stage: groups of shadows in chunks of epochs, each chunk a checkpoint, nothing trained twice."""

import json
import os
import platform
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from jaxsnn_mia import checkpoint, config, models, splits, store
from jaxsnn_mia.distributed import Share, wait_for
from jaxsnn_mia.ensemble import Ensemble, Group, Shadows, make_ensemble
from jaxsnn_mia.kernels import quantize, surrogate
from jaxsnn_mia.train import TrainSpec

SAME_PROGRAM = ("group_size", "groups", "width")  # taken over from an existing plan
SAME_BITS = ("pool", "isa", "versions", "platform")  # a difference here means: go on, but not bitwise


class Work(NamedTuple):
    """Everything the training and querying of one variant needs."""

    spec: TrainSpec
    hyper: models.Hyper
    data: tuple[np.ndarray, np.ndarray]  # x, y of the candidates
    rows: tuple[np.ndarray, np.ndarray]  # idx [S, R], mask [S, R]
    seed: int


def prepare(c: config.Config, x: np.ndarray, y: np.ndarray, n_classes: int, keep_sn: np.ndarray) -> Work:
    """The work of one checked variant on its candidates x, y [N]."""
    rows = splits.training_rows(keep_sn)
    batch_size = min(c.train.batch_size, rows[0].shape[1])
    last_batch = (rows[0].shape[1] - 1) // batch_size * batch_size
    spec = TrainSpec(
        models.ModelSpec(
            family=c.model.family,
            in_shape=x.shape[1:],
            n_classes=n_classes,
            hidden=c.model.hidden,
            time_steps=c.model.time_steps,
            readout=c.model.readout,
            surrogate=c.model.surrogate,
            reset=c.model.reset,
        ),
        optimizer=c.train.optimizer,
        momentum=c.train.momentum,
        schedule=c.train.schedule,
        epochs=c.train.epochs,
        batch_size=batch_size,
        rows=rows[0].shape[1],
        per_shadow_standardise=c.data.standardise == "per_shadow",
        ragged=bool((rows[1].sum(1) <= last_batch).any()),
    )
    hyper = models.Hyper(
        lr=c.train.lr,
        weight_decay=c.train.weight_decay,
        smoothing=c.train.smoothing,
        beta=c.model.beta,
        threshold=c.model.threshold,
        slope=c.model.slope or surrogate.default_slope(c.model.surrogate),
        qmax_weight=quantize.qmax_symmetric(c.model.bits),
    )
    return Work(spec, hyper, (x, y), rows, c.train.seed)


def instruction_set() -> str:
    """The widest vector instructions of this processor, which decide the order of sums."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split()
    except (OSError, IndexError):
        return platform.machine()
    return next((name for name in ("amx_tile", "avx512f", "avx2", "avx") if name in flags), platform.machine())


def make_plan(c: config.Config, n_devices: int, world: int = 1) -> dict[str, Any]:
    """Groups of whole pairs, all of one size and at least one for each process, the width on each device, and what
    the bits depend on."""
    pairs = c.splits.n_shadows // 2
    groups = min(max(-(-pairs // max(c.ensemble.group_size // 2, 1)), world), pairs)
    group_size = 2 * -(-pairs // groups)
    groups = -(-pairs // (group_size // 2))
    wide = jax.default_backend() != "cpu"
    return {
        "group_size": group_size,
        "groups": groups,
        "width": c.ensemble.width or (-(-group_size // n_devices) if wide else 1),
        "chunk_seconds": c.ensemble.chunk_seconds,
        "pool": max(int(os.environ.get("PJRT_NPROC", 0)) or os.cpu_count() or 1, jax.local_device_count()),
        "isa": instruction_set(),
        "platform": jax.default_backend(),
        "versions": {name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")},
    }


def agreed_plan(folder: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """The plan of a stage: the one on disk where there is one, with what has changed since recorded in it."""
    path = folder / "plan.json"
    if path.exists():
        old = json.loads(path.read_text())
        changed = {key: plan[key] for key in SAME_BITS if old.get(key) != plan[key]}
        plan = {**plan, **{key: old[key] for key in SAME_PROGRAM}, **{key: old[key] for key in SAME_BITS}}
        plan["not_bitwise"] = old.get("not_bitwise", [])
        if changed and changed not in plan["not_bitwise"]:
            logging.warning("resuming under %s: the results will not be bitwise those of one run", changed)
            plan["not_bitwise"].append(changed)
    store.write_json(path, plan)
    return plan


def group_of(work: Work, plan: dict[str, Any], group: int, n_devices: int) -> tuple[Shadows, int]:
    """(the shadows of a group, how many are real): padded to whole blocks by repeating the last one."""
    size, total = plan["group_size"], len(work.rows[0])
    real = min(size, total - group * size)
    block = plan["width"] * n_devices
    padded = -(-size // block) * block
    ids = np.minimum(group * size + np.arange(padded), group * size + real - 1).astype(np.int32)
    hyper = models.Hyper(*[np.full(padded, value, np.float32) for value in work.hyper])
    return Shadows(ids, hyper, (work.rows[0][ids], work.rows[1][ids])), real


def first_rows(tree: Any, count: int) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], tree)


def repeat_last(tree: Any, length: int) -> Any:
    return jax.tree.map(lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], length - len(leaf), 0)]), tree)


def devices(c: config.Config) -> list:
    """The local devices of this run; ValueError where more are asked for than there are."""
    here = jax.local_devices()
    if c.ensemble.devices > len(here):
        raise ValueError(f"`ensemble.devices` must be at most {len(here)} here, got {c.ensemble.devices}.")
    return here[: c.ensemble.devices or len(here)]


def train_all(folder: Path, c: config.Config, work: Work, share: Share) -> None:
    """Trains this process's groups that are not finished; process 0 then waits for the others and writes
    history.npz and shadows.jsonl."""
    used = devices(c)
    if share.rank:
        wait_for((folder / "plan.json").exists, f"the plan of {folder}", folder.parent.parent)
        plan = json.loads((folder / "plan.json").read_text())
    else:
        plan = agreed_plan(folder, make_plan(c, len(used), share.world))
    ensemble = make_ensemble(work.spec, seed=work.seed, width=plan["width"], devices=used)
    mine = [group_of(work, plan, group, len(used)) for group in share.groups(plan["groups"])]
    total = sum(real for _, real in mine) * work.spec.epochs
    with tqdm(total=total, desc=f"train {folder.parent.name}", unit="epoch", leave=False) as bar:
        for group, (shadows, real) in zip(share.groups(plan["groups"]), mine, strict=True):
            train_group(group_path(folder, group), c, work, ensemble, shadows, real, bar)
    if share.rank:
        return
    histories, finite = [], []
    for group in range(plan["groups"]):
        path = group_path(folder, group)
        if group not in share.groups(plan["groups"]):
            wait_for(partial(is_trained, path, work), f"{path}, which process {group % share.world} trains")
        trained = load_group(folder, work, ensemble, plan, group, len(used))[0]
        histories.append(trained.history)
        finite.append(all_finite(trained.state.params))
    write_history(folder, np.concatenate(histories), np.concatenate(finite))


def group_path(folder: Path, group: int) -> Path:
    return folder / f"group-{group:05d}"


def is_trained(path: Path, work: Work) -> bool:
    """Whether the group's final checkpoint is there and whole."""
    return checkpoint.is_whole(checkpoint.step_path(path, work.spec.epochs))


def train_group(path: Path, c: config.Config, work: Work, ensemble: Ensemble, shadows: Shadows, real: int, bar: tqdm):
    """Trains one group from its last whole checkpoint to the end."""
    done = checkpoint.latest(path) or 0
    bar.update(done * real)
    if done == work.spec.epochs:
        return
    if done:
        like = ensemble.shape_of(shadows, work.data)
        state = repeat_last(checkpoint.restore(path, done, like), len(shadows.ids))
    else:
        state = ensemble.init(shadows, work.data)
    ahead, stops = 1, sorted({*c.train.snapshot_epochs, work.spec.epochs})
    while done < work.spec.epochs:
        last = min(done + ahead, next(stop for stop in stops if stop > done))
        start = time.perf_counter()
        state = jax.block_until_ready(ensemble.run(state, shadows, work.data, done, last))
        seconds_an_epoch = (time.perf_counter() - start) / (last - done)
        checkpoint.save(path, last, first_rows(state, real), keep=c.train.snapshot_epochs)
        bar.update((last - done) * real)
        done, ahead = last, max(1, int(c.ensemble.chunk_seconds / seconds_an_epoch))


def load_group(
    folder: Path, work: Work, ensemble: Ensemble, plan: dict[str, Any], group: int, n_devices: int
) -> tuple[Group, Shadows, int]:
    """(the trained states of a group's real shadows, its padded shadows, how many are real)."""
    shadows, real = group_of(work, plan, group, n_devices)
    path = group_path(folder, group)
    if not is_trained(path, work):
        raise store.StoreError(f"{path} has no whole final checkpoint. Remove {folder / store.MANIFEST} and rerun.")
    return checkpoint.restore(path, work.spec.epochs, ensemble.shape_of(shadows, work.data)), shadows, real


def all_finite(params: Any) -> np.ndarray:
    """bool [G]: the models all of whose parameters are finite (the last update comes after the last loss)."""
    return np.all([np.isfinite(leaf).reshape(len(leaf), -1).all(1) for leaf in jax.tree.leaves(params)], axis=0)


def write_history(folder: Path, history_se2: np.ndarray, finite_s: np.ndarray) -> None:
    """history.npz (loss, accuracy: [S, E]) and shadows.jsonl; a loss or parameter that is not finite is a diverged
    shadow."""
    loss_se, accuracy_se = history_se2[..., 0], history_se2[..., 1]
    with store.atomic(folder / "history.npz") as path, open(path, "wb") as file:
        np.savez(file, loss=loss_se, accuracy=accuracy_se)
    valid_s = np.isfinite(loss_se).all(1) & finite_s
    lines = [
        {
            "id": s,
            "status": "ok" if valid_s[s] else "diverged",
            "epochs": loss_se.shape[1],
            "train_accuracy": round(float(accuracy_se[s, -1]), 6),
            "loss": float(loss_se[s, -1]) if np.isfinite(loss_se[s, -1]) else None,
        }
        for s in range(len(loss_se))
    ]
    if not valid_s.all():
        logging.warning(
            "%d of %d shadows diverged and are excluded with their pairs: %s",
            np.sum(~valid_s), len(valid_s), np.flatnonzero(~valid_s).tolist(),
        )  # fmt: skip
    store.write_text(folder / "shadows.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def valid(folder: Path) -> np.ndarray:
    """valid_s bool [S]: the shadows that trained to the end."""
    lines = (folder / "shadows.jsonl").read_text().splitlines()
    return np.array([json.loads(line)["status"] == "ok" for line in lines])
