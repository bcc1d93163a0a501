"""Groups of shadows on disk: their folders and checkpoints."""

from pathlib import Path
from typing import Any

from jaxsnn_mia.store import checkpoint
from jaxsnn_mia.store.files import StoreError
from jaxsnn_mia.store.stage import MANIFEST
from jaxsnn_mia.training.ensemble import Ensemble
from jaxsnn_mia.training.epochs import Group, Shadows
from jaxsnn_mia.training.inputs import Inputs, group_of


def group_path(folder: Path, group: int) -> Path:
    """The checkpoints of one group in the folder of a training stage."""
    return folder / f"group-{group:05d}"


def is_trained(path: Path, inputs: Inputs, snapshots: tuple[int, ...]) -> bool:
    """Whether the group's final checkpoint and its snapshots are there and whole."""
    steps = {*(epoch for epoch in snapshots if epoch), inputs.spec.epochs}
    return all(checkpoint.is_whole(checkpoint.step_path(path, epoch)) for epoch in steps)


def load_group(
    folder: Path, inputs: Inputs, ensemble: Ensemble, plan: dict[str, Any], group: int, n_devices: int,
    epoch: int | None = None,
) -> tuple[Group, Shadows, int]:  # fmt: skip
    """(the states of a group's real shadows after `epoch` epochs or all, its padded shadows, how many are real).
    StoreError where the checkpoint is not whole."""
    shadows, real = group_of([inputs], plan, group, n_devices)
    path = group_path(folder, group)
    epoch = inputs.spec.epochs if epoch is None else epoch
    if not checkpoint.is_whole(checkpoint.step_path(path, epoch)):
        raise StoreError(
            f"{path} has no whole checkpoint of epoch {epoch}. Remove {folder / MANIFEST} and run the same command "
            "again: it is trained again."
        )
    like = ensemble.shape_of(shadows, inputs.data)
    return checkpoint.restore(path, epoch, like, shadows.ids[:real].tolist()), shadows, real
