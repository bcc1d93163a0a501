"""Checkpoints of a group of shadows: Orbax writes the arrays, a digest of every file guards them.

Orbax restores a file with a flipped bit silently, so `sha256.json` lists every file and is renamed into place
last: a step without it, or with a wrong one, never counts.
"""

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from jaxsnn_mia.store.files import StoreError, disk_full, file_sha256, intact, remove, write_json

DIGESTS = "sha256.json"


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


def save(group: Path, epoch: int, tree: Any, *, keep: tuple[int, ...] = ()) -> None:
    """Writes `tree` as the state after `epoch` epochs; keeps it, the one before and those named in `keep`."""
    import orbax.checkpoint as ocp

    path = step_path(group, epoch)
    for unfinished in group.glob(f"{path.name}*"):
        remove(unfinished)
    group.mkdir(parents=True, exist_ok=True)
    with disk_full(path):
        checkpointer().save(path.absolute(), args=ocp.args.PyTreeSave(flat(tree)))
    for old in epochs(group)[:-2]:
        if old not in keep:
            remove(step_path(group, old))
    files = sorted(file for file in path.rglob("*") if file.is_file())
    write_json(path / DIGESTS, {str(f.relative_to(path)): file_sha256(f) for f in files})


def epochs(group: Path) -> list[int]:
    """The epochs that have a folder, in order, whole or not; what Orbax left of a killed save has another name."""
    return sorted(int(path.name.removeprefix("epoch-")) for path in group.glob("epoch-" + 6 * "[0-9]"))


def is_whole(path: Path) -> bool:
    try:
        digests = json.loads((path / DIGESTS).read_text())
    except (OSError, ValueError):
        return False
    return all(intact(path / name, sha) for name, sha in digests.items())


def latest(group: Path) -> int | None:
    """The last epoch whose checkpoint is whole; damaged ones are named and passed over."""
    for epoch in reversed(epochs(group)):
        if is_whole(step_path(group, epoch)):
            return epoch
        logging.warning("%s is damaged or incomplete; using the checkpoint before it", step_path(group, epoch))
    return None


def restore(group: Path, epoch: int, like: Any) -> Any:
    """The tree of that epoch in the structure of `like` (arrays or their shapes), as numpy arrays."""
    import orbax.checkpoint as ocp

    arrays = checkpointer().restore(step_path(group, epoch).absolute(), args=ocp.args.PyTreeRestore())
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    missing = set(names) ^ set(arrays)
    if missing:
        raise StoreError(
            f"{step_path(group, epoch)} does not fit the model: {sorted(missing)}. Pass another --workdir."
        )
    return structure.unflatten([np.asarray(arrays[name]) for name in names])
