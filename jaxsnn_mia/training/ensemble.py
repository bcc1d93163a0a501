"""Lifts one model's training over the shadow axis: devices x lax.map x a vmap of `width` models.

On a CPU a wide vmap loses to one small model after the other per device (cache), so width is 1 there; on an
accelerator small models are launch-bound, so width pays. Every shadow's randomness comes from its global id.

Programs are kept by what they are made of: a TrainSpec, a width, devices, and a query. These are compared by value, so
equal settings compile once.
"""

import functools
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jaxsnn_mia.runtime import spmd
from jaxsnn_mia.training.epochs import INIT, QUERY, Group, Shadows, model_key, run_epochs
from jaxsnn_mia.training.spec import State, TrainSpec
from jaxsnn_mia.training.step import Train, make_train

LEVEL = "xla_backend_optimization_level"
LIGHT = {} if LEVEL in os.environ.get("XLA_FLAGS", "") else {LEVEL: 1}  # a level that the user names is kept


class Ensemble(NamedTuple):
    """place(data) -> the data on every device, which the functions below take as it is;
    init(shadows, data) -> Group; shape_of(shadows, data) -> the same as shapes;
    run(group, shadows, data, first, last) -> Group, which on accelerators takes the place of the one that was given;
    memory(group, shadows, data) -> bytes that `run` needs on each device, and `run` is compiled;
    query(fn)(state, shadows, x, y) -> arrays with a leading axis G, fn as in `signals.SIGNALS`. An fn that is compared
    by value, such as `catalogue.Query`, compiles once for equal settings."""

    place: Callable[..., Any]
    init: Callable[..., Group]
    shape_of: Callable[..., Group]
    run: Callable[..., Group]
    memory: Callable[..., int]
    query: Callable[..., Callable]


def make_ensemble(spec: TrainSpec, *, seed: int, width: int, devices: list) -> Ensemble:
    """Compiled functions for groups of one size; the results do not depend on the number of devices. Asked again for
    the same, or for another seed, it gives functions that are already compiled."""
    programs, root = compiled(spec, width, tuple(devices)), np.uint32(seed)

    def query(fn):
        asked = programs.query(fn)
        return lambda state, shadows, x, y: asked.call(state, shadows, (root, x, y))

    def run(group, shadows, data, first, last):
        return programs.run.call(group, shadows, (root, data, np.int32(first), np.int32(last)))

    def memory(group, shadows, data):
        program = programs.run.compiled(group, shadows, (root, data, np.int32(0), np.int32(0)))
        stats = program.memory_analysis()
        if stats is None:  # not every platform tells
            return 0
        return stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes

    whole = NamedSharding(jax.sharding.Mesh(np.array(devices), ("shadow",)), PartitionSpec())
    return Ensemble(
        place=lambda data: spmd.place(data, whole),
        init=lambda shadows, data: programs.init.call(None, shadows, (root, data)),
        shape_of=lambda shadows, data: jax.eval_shape(programs.shape, None, shadows, (root, data)),
        run=run,
        memory=memory,
        query=query,
    )


class Lifted(NamedTuple):
    """call(state, shadows, shared) -> arrays with a leading axis; compiled(state, shadows, shared): the program of that
    call, which does not compile again."""

    call: Callable
    compiled: Callable


class Programs(NamedTuple):
    """What an ensemble runs, of any seed; `shape` is never run, but traced once for what `init` gives."""

    shape: Callable
    init: Lifted
    run: Lifted
    query: Callable[[Callable], Lifted]


@functools.lru_cache(maxsize=16)
def compiled(spec: TrainSpec, width: int, devices: tuple) -> Programs:
    """The programs of a training; each is compiled when it is first called."""
    train, lifted = make_train(spec), partial(over_shadows, width=width, devices=list(devices))
    init = partial(init_one, train, spec)

    @functools.cache
    def query(fn):
        return lifted(partial(query_one, train, fn), once=True)

    return Programs(
        shape=jax.jit(jax.vmap(init, in_axes=(0, 0, None))),
        init=lifted(init, once=True),
        run=lifted(partial(run_one, train, spec), in_place=True),
        query=query,
    )


def init_one(train: Train, spec: TrainSpec, _: None, shadow: Shadows, shared: tuple) -> Group:
    """One model before its first epoch; shared is (seed, data)."""
    seed, data = shared
    state = train.init(model_key(seed, shadow.ids, INIT), shadow.hyper, shadow.rows, data)
    columns = 3 if spec.stop == "gap" else 2
    return Group(state, jnp.full((spec.epochs, columns), jnp.nan), jnp.int32(0))


def run_one(train: Train, spec: TrainSpec, group: Group, shadow: Shadows, shared: tuple) -> Group:
    """One model after some epochs; shared is (seed, data, first, last)."""
    seed, data, first, last = shared
    return run_epochs(train, spec, group, shadow, data, seed, first, last)


def query_one(train: Train, fn: Callable, state: State, shadow: Shadows, shared: tuple) -> Any:
    """What `fn` gives of one model; shared is (seed, x, y)."""
    seed, x, y = shared

    def apply(params, x, hyper, key):
        return train.apply(params, state.norm, x, hyper, key)

    return fn(apply, state.params, x, y, shadow.hyper, model_key(seed, shadow.ids, QUERY))


def over_shadows(one: Callable, width: int, devices: list, *, once: bool = False, in_place: bool = False) -> Lifted:
    """jit of `one(state, shadow, shared)` over the leading axis of states and shadows, which must be a multiple of
    width x devices: shards over devices, lax.map inside, a vmap of `width` innermost. A program that runs `once`
    a group is compiled with less optimisation on CPUs: half of the time to start, the same time to run. One that is
    `in_place` gives its memory of the states to the new ones; not on CPUs, where arrays on the host may be the same
    memory."""
    mesh, on_cpu = jax.sharding.Mesh(np.array(devices), ("shadow",)), devices[0].platform == "cpu"

    def shard(state, shadows, shared):
        if width == 1:
            return lax.map(lambda pair: one(*pair, shared), (state, shadows))
        blocks = jax.tree.map(lambda a: a.reshape(-1, width, *a.shape[1:]), (state, shadows))
        out = lax.map(jax.vmap(lambda pair: one(*pair, shared)), blocks)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), out)

    each, whole = PartitionSpec("shadow"), PartitionSpec()
    sharded = jax.jit(
        jax.shard_map(shard, mesh=mesh, in_specs=(each, each, whole), out_specs=each, check_vma=False),
        compiler_options=LIGHT if once and on_cpu else None,
        donate_argnums=0 if in_place and not on_cpu else (),
    )

    def placed(state, shadows, shared):
        own = spmd.place((state, shadows), NamedSharding(mesh, each))
        return *own, spmd.place(shared, NamedSharding(mesh, whole))

    return Lifted(lambda *args: sharded(*placed(*args)), lambda *args: sharded.lower(*placed(*args)).compile())
