"""What one model of an ensemble costs: FLOPs counted, memory analysed, time measured, and the width that is fastest."""

import dataclasses
import functools
import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from jaxsnn_mia.models import Hyper
from jaxsnn_mia.runtime.resources import host_memory
from jaxsnn_mia.store.files import digest, write_json
from jaxsnn_mia.training.ensemble import make_ensemble
from jaxsnn_mia.training.inputs import Inputs, group_of
from jaxsnn_mia.training.spec import TrainSpec
from jaxsnn_mia.training.step import make_train

ENOUGH_SECONDS = 0.3  # a timed probe runs at least this long
SHORT_FLOPS = {"cpu": 2e10}  # an epoch of more is probed by its first steps
SHORT_STEPS = 8
BETTER = 0.97  # a wider probe must take less than this share of the time to count as faster
ROOM = 0.8  # share of a device's memory that a program may take


class Probe(NamedTuple):
    """`width` models per vmap: seconds to compile, seconds of one model's epoch on all devices together, bytes that
    the program needs on each device for `group` models in all."""

    width: int
    compile_s: float
    epoch_s: float
    memory: int
    group: int


class OneModel(NamedTuple):
    """Counts of one model: parameters, FLOPs of an epoch."""

    parameters: int
    epoch_flops: float


def flops(jaxpr: jax.extend.core.Jaxpr) -> float:  # type: ignore[name-defined]
    """Floating-point operations of a jaxpr: 2 m n k for a product, one for each element that an operation writes;
    the body of a scan counts once for every step (XLA's own analysis counts it once in all)."""
    total = 0.0
    for eqn in jaxpr.eqns:
        inner = [getattr(sub, "jaxpr", sub) for sub in jax.tree.leaves(list(eqn.params.values()), is_leaf=is_jaxpr)
                 if is_jaxpr(sub)]  # fmt: skip
        if eqn.primitive.name in ("cond", "platform_index"):
            total += max(map(flops, inner), default=0.0)
        elif inner:
            total += eqn.params.get("length", 1) * sum(map(flops, inner))
        elif eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            k = math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
            total += 2 * k * eqn.outvars[0].aval.size
        elif eqn.primitive.name == "conv_general_dilated":
            kernel, spec = eqn.invars[1].aval, eqn.params["dimension_numbers"].rhs_spec
            total += 2 * eqn.outvars[0].aval.size * kernel.size / kernel.shape[spec[0]]
        else:
            total += sum(var.aval.size for var in eqn.outvars if jax.numpy.issubdtype(var.aval.dtype, np.floating))
    return total


def is_jaxpr(value: Any) -> bool:
    return hasattr(getattr(value, "jaxpr", value), "eqns")


def one_model(inputs: Inputs) -> OneModel:
    """Counted from shapes; nothing is compiled."""
    train, spec = make_train(inputs.spec), inputs.spec
    rows = (inputs.rows[0][0], inputs.rows[1][0])
    state = jax.eval_shape(train.init, jax.random.key(0), inputs.hyper, rows, inputs.data)
    batch = (np.zeros(spec.padded_size, np.int32), np.ones(spec.padded_size, np.float32))
    data = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, jax.dtypes.canonicalize_dtype(a.dtype)), inputs.data)
    step = jax.make_jaxpr(lambda state, data, key: train.step(state, batch, data, inputs.hyper, key))
    return OneModel(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params["params"])),
        epoch_flops=flops(step(state, data, jax.random.key(0)).jaxpr) * spec.steps_per_epoch,
    )


@functools.cache
def state_bytes(spec: TrainSpec) -> int:
    """Bytes of one model's parameters and optimizer state."""
    shared = dataclasses.replace(spec, per_shadow_standardise=False)  # the rest needs no rows
    state = jax.eval_shape(lambda key: make_train(shared).init(key, Hyper(), None, None), jax.random.key(0))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


def device_memory(devices: Sequence[Any]) -> int:
    """Bytes that each device has; CPU devices share those of the machine."""
    stats = devices[0].memory_stats() or {}
    return stats.get("bytes_limit") or host_memory() // len(devices)


def largest_group(spec: TrainSpec, devices: Sequence[Any]) -> int:
    """How many models may train together: their states are on the devices twice, and twice on the host."""
    return int(0.5 * min(device_memory(devices) * len(devices), host_memory()) / (2 * state_bytes(spec)))


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def shortened(inputs: Inputs, epoch_flops: float) -> tuple[Inputs, float]:
    """(the inputs, or those of the first steps where an epoch is long; how many times longer a whole epoch is)."""
    spec = inputs.spec
    steps = max(SHORT_STEPS, int(SHORT_FLOPS.get(jax.default_backend(), 2e13) / epoch_flops * spec.steps_per_epoch))
    if steps >= spec.steps_per_epoch:
        return inputs, 1.0
    rows = steps * spec.batch_size
    idx, mask = (array[:, :rows] for array in inputs.rows)
    return inputs._replace(spec=dataclasses.replace(spec, rows=rows), rows=(idx, mask)), spec.steps_per_epoch / steps


def probe(members: list[Inputs], width: int, devices: list, most: int) -> Probe:
    """Compiles and times the training of a few shadows of each member, at most `most` on all devices together."""
    epoch_flops = one_model(members[0]).epoch_flops
    short, times = zip(*(shortened(member, epoch_flops) for member in members), strict=True)
    size = min(2 * width * len(devices), max(most // len(members), 1), len(members[0].rows[0]))
    batch, _ = group_of(list(short), {"group_size": size, "width": width}, 0, len(devices))
    batch = batch._replace(hyper=batch.hyper._replace(stop_at=np.full_like(batch.hyper.lr, 9.0)))  # nobody rests
    ensemble = make_ensemble(short[0].spec, seed=members[0].seed, width=width, devices=devices)
    start = time.perf_counter()
    group = jax.block_until_ready(ensemble.init(batch, members[0].data))
    memory = ensemble.memory(group, batch, members[0].data)
    group = jax.block_until_ready(ensemble.run(group, batch, members[0].data, 0, 1))
    compiling, epochs = time.perf_counter() - start, 1
    while True:
        start = time.perf_counter()
        group = jax.block_until_ready(ensemble.run(group, batch, members[0].data, 1, 1 + epochs))
        seconds = time.perf_counter() - start
        if seconds > ENOUGH_SECONDS:
            return Probe(width, compiling, seconds * times[0] / (epochs * len(batch.ids)), memory, len(batch.ids))
        epochs *= 4


def fastest(members: list[Inputs], devices: list, most: int) -> Probe:
    """The probe of the fastest width of 1, 2, 4, ... `most` on each device that fits into its memory."""
    best, width, worse = None, 1, 0  # `worse`: widths in a row that were no faster
    while worse < 2:
        try:
            now = probe(members, width, devices, most * len(devices))
        except jax.errors.JaxRuntimeError as error:
            if best is None:
                raise
            said = str(error).splitlines()[0]  # no memory, or a kernel that a library does not have at this width
            logging.warning("width %d does not run here, %d is kept: %s", width, best.width, said)
            break
        if best is not None and now.memory > ROOM * device_memory(devices):
            break
        faster = best is None or now.epoch_s < BETTER * best.epoch_s
        best, worse = (now, 0) if faster else (best, worse + 1)
        if width >= most:
            break
        width = min(2 * width, most)
    assert best is not None
    return best


def known(path: Path) -> dict[str, Any]:
    """The probes of a file; none where it cannot be read, since they are measured again."""
    try:
        probes = json.loads(path.read_text())
        return {key: list(Probe(*values)) for key, values in probes.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError):
        logging.warning("%s cannot be read and is measured again", path)
        return {}


class Cache:
    """Probes by the hash of what they measured, kept in `workdir`/probe.json (not at all where it is None)."""

    def __init__(self, workdir: Path | None):
        self.path = None if workdir is None else workdir / "probe.json"
        self.probes = {} if self.path is None else known(self.path)

    def key(self, members: list[Inputs], width: int | None, devices: list, most: int) -> str:
        kind = [devices[0].device_kind, len(devices), jax.__version__, os.cpu_count()]
        return digest([repr(members[0].spec), members[0].rows[0].shape, len(members), width, most, kind])

    def knows(self, members: list[Inputs], width: int | None, devices: list, most: int) -> bool:
        return self.key(members, width, devices, most) in self.probes

    def get(self, members: list[Inputs], width: int | None, devices: list, most: int) -> Probe:
        """The probe of `width`, or of the fastest one where it is None; measured where it is not known."""
        key = self.key(members, width, devices, most)
        if key not in self.probes:
            if width:
                self.probes[key] = probe(members, width, devices, most * len(devices))
            else:
                self.probes[key] = fastest(members, devices, most)
            if self.path:
                write_json(self.path, self.probes)
        return Probe(*self.probes[key])
