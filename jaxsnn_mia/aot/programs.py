"""A run's programs, compiled for devices that are not here."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxsnn_mia.training.ensemble import compiled
from jaxsnn_mia.training.inputs import Inputs, group_of


class Program(NamedTuple):
    """The text of a scheduled HLO module and the bytes that it needs on each device."""

    hlo: str
    memory: int

    @classmethod
    def of(cls, made: Any) -> "Program":
        return cls(made.as_text(), needed(made))


def abstract(tree: Any) -> Any:
    """Shapes and dtypes in place of arrays."""

    def shape(a: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(np.shape(a), jax.dtypes.canonicalize_dtype(a.dtype))

    return jax.tree.map(shape, tree)


def training(inputs: Inputs, width: int, devices: list) -> Program:
    """The program that trains `width` models on each device, epoch by epoch."""
    group, shadows, data = shapes(inputs, width, devices)
    counters = abstract((np.uint32(0), data, np.int32(0), np.int32(1)))  # seed, data, first and last epoch
    return Program.of(compiled(inputs.spec, width, tuple(devices)).run.compiled(group, shadows, counters))


def querying(inputs: Inputs, query: Callable, rows: int, width: int, devices: list) -> Program:
    """The program that asks `width` models on each device about so many rows."""
    group, shadows, data = shapes(inputs, width, devices)
    x, y = (jax.ShapeDtypeStruct((rows, *a.shape[1:]), a.dtype) for a in data[:2])
    asked = compiled(inputs.spec, width, tuple(devices)).query(query)
    return Program.of(asked.compiled(group.state, shadows, abstract((np.uint32(0), x, y))))


def shapes(inputs: Inputs, width: int, devices: list) -> tuple[Any, Any, Any]:
    """Of (the group of models, their shadows, the data)."""
    count = width * len(devices)
    idx_sr, mask_sr = (np.resize(rows_sr, (count, rows_sr.shape[1])) for rows_sr in inputs.rows)
    plan = {"group_size": count, "width": width}
    shadows, data = (
        abstract(group_of([inputs._replace(rows=(idx_sr, mask_sr))], plan, 0, len(devices))[0]),
        abstract(inputs.data),
    )
    shape = compiled(inputs.spec, width, tuple(devices)).shape
    return jax.eval_shape(shape, None, shadows, (np.uint32(0), data)), shadows, data


def needed(program: Any) -> int:
    """Bytes on each device: what is given and returned, and the most that is in use between."""
    stats = program.memory_analysis()
    together = stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes
    return int(getattr(stats, "peak_memory_in_bytes", 0) or together)
