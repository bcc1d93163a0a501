"""Checkpoints of a group of shadows: Orbax writes the arrays, a digest of every file guards them.

Orbax restores a file with a flipped bit silently, so `sha256.json` lists every file: a step without it, or with a wrong
one, never counts. A step is written aside and renamed into place when it is whole.
"""

import json
import os
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from jaxsnn_mia.store.files import StoreError, disk_full, file_sha256, intact, remove, write_json

DIGESTS = "sha256.json"
SHADOWS = "shadows.json"  # the ids of the models in a step
ASIDE = ".writing-"


def flat(tree: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


class Writer:
    """Runs what writes checkpoints: at once, or in a thread while training goes on, one after the other. What fails in
    the thread is raised by the next `run` or `wait`."""

    def __init__(self, asynchronous: bool):
        self.pool = ThreadPoolExecutor(1) if asynchronous else None
        self.pending: Future | None = None

    def run(self, write: Callable[[], None]) -> None:
        if self.pool is None:
            write()
            return
        self.wait()
        self.pending = self.pool.submit(write)

    def wait(self) -> None:
        """Returns when everything is on disk."""
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.pool is not None:
            self.pool.shutdown()


def step_path(group: Path, epoch: int) -> Path:
    return group / f"epoch-{epoch:06d}"


def checkpointer() -> Any:
    """Orbax for this process alone, which does not wait for the others of one job. Trained floats hardly compress:
    without, a save takes half of the time."""
    import orbax.checkpoint as ocp

    one: dict[str, Any] = {}
    if jax.process_count() > 1:
        index = jax.process_index()
        one["multiprocessing_options"] = ocp.options.MultiprocessingOptions(
            primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process-{index}"
        )
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_compression=False, **one), **one)


def save(
    group: Path, epoch: int, tree: Any, *, shadows: Sequence[int] = (), keep: tuple[int, ...] = (),
    check: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Writes `tree` as the state of the models `shadows` after `epoch` epochs; keeps it, the one before and those named
    in `keep`. `check` is called before it takes its place, and may raise."""
    import orbax.checkpoint as ocp

    path, aside = step_path(group, epoch), group / f"{ASIDE}{uuid.uuid4().hex[:8]}"
    for unfinished in (*group.glob(f"{ASIDE}*"), *group.glob(f"{path.name}.*")):
        remove(unfinished)
    aside.mkdir(parents=True)
    made = aside / path.name
    try:
        with disk_full(path):
            checkpointer().save(made.absolute(), args=ocp.args.PyTreeSave(flat(tree)))
            write_json(made / SHADOWS, [int(shadow) for shadow in shadows])
            files = sorted(file for file in made.rglob("*") if file.is_file())
            write_json(made / DIGESTS, {str(f.relative_to(made)): file_sha256(f) for f in files})
        check()
        remove(path)
        os.replace(made, path)
    finally:
        remove(aside)
    earlier = [old for old in epochs(group) if old < epoch]
    later = [old for old in epochs(group) if old > epoch]  # of a training that goes on from before a damaged step
    for old in (*earlier[:-1], *later):
        if old not in keep:
            remove(step_path(group, old))


def epochs(group: Path) -> list[int]:
    """The epochs that have a folder, in order, whole or not; what Orbax left of a killed save has another name."""
    return sorted(int(path.name.removeprefix("epoch-")) for path in group.glob("epoch-" + 6 * "[0-9]"))


def is_whole(path: Path) -> bool:
    try:
        digests = json.loads((path / DIGESTS).read_text())
        return all(intact(path / name, sha) for name, sha in digests.items())
    except (OSError, ValueError, AttributeError):
        return False


def latest(group: Path, needed: tuple[int, ...] = ()) -> int | None:
    """The last epoch whose checkpoint is whole, and so are those of the epochs `needed` before it; damaged ones are
    named and passed over."""
    damaged: set[int] = set()
    for epoch in reversed(epochs(group)):
        for step in {epoch, *(step for step in needed if step <= epoch)} - damaged:
            if not is_whole(step_path(group, step)):
                logging.warning("%s is damaged or incomplete; using a checkpoint before it", step_path(group, step))
                damaged.add(step)
        if not any(step <= epoch for step in damaged):
            return epoch
    return None


def restore(group: Path, epoch: int, like: Any, shadows: Sequence[int] | None = None) -> Any:
    """The tree of that epoch in the structure of `like` (arrays or their shapes, with any number of models), as numpy
    arrays. StoreError where its arrays are of another model, or its models not `shadows`."""
    import orbax.checkpoint as ocp

    path = step_path(group, epoch)
    check_shadows(path, shadows)
    arrays = checkpointer().restore(path.absolute(), args=ocp.args.PyTreeRestore())
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    wrong = set(names) ^ set(arrays)
    if not wrong:
        wrong = {n for n, (_, leaf) in zip(names, paths, strict=True) if np.shape(arrays[n])[1:] != np.shape(leaf)[1:]}
    if wrong:
        raise StoreError(f"{path} does not fit the model: {sorted(wrong)}. Pass another --workdir.")
    return structure.unflatten([np.asarray(arrays[name]) for name in names])


def check_shadows(path: Path, shadows: Sequence[int] | None) -> None:
    """StoreError where a step says that it holds other models than `shadows`; those of earlier versions do not say."""
    if shadows is None or not (path / SHADOWS).exists():
        return
    held = json.loads((path / SHADOWS).read_text())
    if held and held != [int(shadow) for shadow in shadows]:
        raise StoreError(
            f"{path} holds the models {held[0]} to {held[-1]}, not {shadows[0]} to {shadows[-1]}: plan.json was "
            f"changed since. Put it back, or remove {path.parent.parent}: its training is then done again."
        )
