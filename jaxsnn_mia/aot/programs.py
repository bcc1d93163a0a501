"""A run's programs, compiled for devices that are not here."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxsnn_mia.training.ensemble import compiled
from jaxsnn_mia.training.inputs import Inputs, group_of


class Program(NamedTuple):
    """The text of a scheduled HLO module and the bytes that it needs on each device."""

    hlo: str
    memory: int


def abstract(tree: Any) -> Any:
    """Shapes and dtypes in place of arrays."""

    def shape(a: Any) -> jax.ShapeDtypeStruct:
        dtype = jax.dtypes.canonicalize_dtype(np.asarray(a).dtype if np.isscalar(a) else a.dtype)
        return jax.ShapeDtypeStruct(np.shape(a), dtype)

    return jax.tree.map(shape, tree)


def training(inputs: Inputs, width: int, devices: list) -> Program:
    """The program that trains `width` models on each device, epoch by epoch."""
    count = width * len(devices)
    idx_sr, mask_sr = (np.resize(a, (count, a.shape[1])) for a in inputs.rows)
    batch, _ = group_of(
        [inputs._replace(rows=(idx_sr, mask_sr))], {"group_size": count, "width": width}, 0, len(devices)
    )
    shadows, data = abstract(batch), abstract(inputs.data)
    programs, root = compiled(inputs.spec, width, tuple(devices)), np.uint32(0)
    group = jax.eval_shape(programs.shape, shadows, (root, data))
    made = programs.run.compiled((group, shadows), abstract((root, data, np.int32(0), np.int32(1))))
    return Program(made.as_text(), needed(made))


def needed(program: Any) -> int:
    """Bytes on each device: what is given and returned, and the most that is in use between."""
    stats = program.memory_analysis()
    together = stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes
    return int(getattr(stats, "peak_memory_in_bytes", 0) or together)
