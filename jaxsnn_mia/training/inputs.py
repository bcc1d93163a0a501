"""What the training of one variant needs, cut into groups: rows, settings and ids as arrays with a leading axis."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxsnn_mia import models
from jaxsnn_mia.training.ensemble import Shadows
from jaxsnn_mia.training.spec import TrainSpec


class Inputs(NamedTuple):
    """Everything the training and querying of one variant needs."""

    spec: TrainSpec
    hyper: models.Hyper
    data: tuple[np.ndarray, ...]  # x, y of the candidates; then of the validation rows, where they decide on stopping
    rows: tuple[np.ndarray, np.ndarray]  # idx [S, R], mask [S, R]
    seed: int


def group_length(work: Inputs, plan: dict[str, Any], group: int) -> int:
    """The shadows of one group; the last may be shorter."""
    return min(plan["group_size"], len(work.rows[0]) - group * plan["group_size"])


def group_of(works: list[Inputs], plan: dict[str, Any], group: int, n_devices: int) -> tuple[Shadows, int]:
    """(the shadows of a group of every member, one member after the other; how many are real in each): padded to
    whole blocks by repeating the last one."""
    real = group_length(works[0], plan, group)
    ids = np.tile(group * plan["group_size"] + np.arange(real, dtype=np.int32), len(works))
    hyper = models.Hyper(
        *[np.repeat(np.float32(values), real) for values in zip(*(w.hyper for w in works), strict=True)]
    )
    block = plan["width"] * n_devices
    padded = -(-len(ids) // block) * block
    ids, hyper = repeat_last((ids, hyper), padded)
    return Shadows(ids, hyper, (works[0].rows[0][ids], works[0].rows[1][ids])), real


def first_rows(tree: Any, count: int) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], tree)


def repeat_last(tree: Any, length: int) -> Any:
    return jax.tree.map(lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], length - len(leaf), 0)]), tree)
