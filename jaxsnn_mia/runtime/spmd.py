"""One job of several processes over all their devices (`jax.distributed`): every process runs the same program in step,
the first one decides and writes. Without it there is one process, and everything here is the identity."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxsnn_mia.runtime import stopping

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def start(environ: Mapping[str, str] = os.environ) -> None:
    """Connects to the other processes: by `VARIABLES`, or as JAX finds out by itself where a cluster's scheduler or
    a TPU slice tells. ValueError where only some of the variables are there, or nothing tells."""
    given = {name: environ[name] for name in VARIABLES if name in environ}
    if not given:
        try:
            jax.distributed.initialize()
        except ValueError as error:
            raise ValueError(
                f"--spmd found no cluster that says who takes part: {error} Set {VARIABLES[0]} (HOST:PORT of process "
                f"0), {VARIABLES[1]} and {VARIABLES[2]}."
            ) from None
        return
    missing = [name for name in VARIABLES if name not in given]
    if missing:
        raise ValueError(f"--spmd needs the environment variables {' and '.join(missing)} too.")
    address, count, index = given.values()
    if not (count.isdecimal() and index.isdecimal() and int(index) < int(count)):
        raise ValueError(f"JAX_PROCESS_ID must be in [0, JAX_NUM_PROCESSES), got {index} of {count}.")
    jax.distributed.initialize(address, int(count), int(index))


def place(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    """Every array on its devices; what is not there yet must be the same in all processes. A shape in place of an array
    gets the sharding."""

    def put(a: Any) -> Any:
        if isinstance(a, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding)
        if jax.process_count() == 1 or isinstance(a, jax.Array):
            return jax.device_put(a, sharding)
        # device_put would compare the processes' arrays, and NaN (an epoch of a history yet to come) is not NaN
        return jax.make_array_from_callback(np.shape(a), sharding, lambda index: np.asarray(a)[index])

    return jax.tree.map(put, tree)


def on_host(tree: Any) -> Any:
    """Every array whole, as numpy, in every process."""
    if jax.process_count() == 1:
        return jax.tree.map(np.asarray, tree)
    return multihost_utils.process_allgather(tree, tiled=True)


def of_first(value: float) -> float:
    """The value that the first process has."""
    return value if jax.process_count() == 1 else float(multihost_utils.broadcast_one_to_all(np.float32(value)))


def is_first() -> bool:
    return jax.process_index() == 0


def check_stop() -> None:
    """Raises `stopping.Stopped`, in every process of the job, where the first one was asked to stop."""
    if of_first(stopping.asked()):
        stopping.stop()
