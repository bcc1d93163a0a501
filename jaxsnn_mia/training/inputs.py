"""What the training of one variant needs, cut into groups: rows, settings and ids as arrays with a leading axis."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxsnn_mia import models
from jaxsnn_mia.training.epochs import Shadows
from jaxsnn_mia.training.spec import TrainSpec


class Inputs(NamedTuple):
    """Everything the training and querying of one variant needs."""

    spec: TrainSpec
    hyper: models.Hyper
    data: tuple[np.ndarray, ...]  # x, y of the candidates; then of the validation rows, where they decide on stopping
    rows: tuple[np.ndarray, np.ndarray]  # idx [S, R], mask [S, R]
    seed: int


def group_length(inputs: Inputs, plan: dict[str, Any], group: int) -> int:
    """The shadows of one group; the last may be shorter."""
    return min(plan["group_size"], len(inputs.rows[0]) - group * plan["group_size"])


def group_of(members: list[Inputs], plan: dict[str, Any], group: int, n_devices: int) -> tuple[Shadows, int]:
    """(the shadows of a group of every member, one member after the other; how many are real in each): padded to
    whole blocks by repeating the last one."""
    idx_sr, mask_sr = members[0].rows
    real = group_length(members[0], plan, group)
    ids = np.tile(group * plan["group_size"] + np.arange(real, dtype=np.int32), len(members))
    settings = zip(*(member.hyper for member in members), strict=True)  # of every member, one setting after the other
    hyper = models.Hyper(*[np.repeat(np.float32(values), real) for values in settings])
    block = plan["width"] * n_devices
    padded = -(-len(ids) // block) * block
    ids, hyper = repeat_last((ids, hyper), padded)
    return Shadows(ids, hyper, (idx_sr[ids], mask_sr[ids])), real


def first_rows(tree: Any, count: int) -> Any:
    """The first `count` rows of every array, as numpy."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], tree)


def repeat_last(tree: Any, length: int) -> Any:
    """Every array with its last row repeated up to `length`."""
    return jax.tree.map(lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], length - len(leaf), 0)]), tree)
