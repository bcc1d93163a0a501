"""Lifts one model's training over the shadow axis: devices x lax.map x a vmap of `width` models.

On a CPU a wide vmap loses to one small model after the other per device (cache), so width is 1 there; on an
accelerator small models are launch-bound, so width pays. Every shadow's randomness comes from its global id.
"""

import functools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jaxsnn_mia.runtime import spmd
from jaxsnn_mia.training.spec import State, TrainSpec, at_epoch
from jaxsnn_mia.training.step import Train, make_train

LIGHT = {"xla_backend_optimization_level": 1}
INIT, SHUFFLE, STEP, QUERY = range(4)  # purposes, folded into a shadow's key


class Shadows(NamedTuple):
    """What tells the models of a group apart, each with a leading axis G: global ids int32, hyper-parameters
    (a Hyper of float32), training rows (idx_gr int32, mask_gr float32)."""

    ids: Any
    hyper: Any
    rows: Any


class Group(NamedTuple):
    """A group in training, leading axis G: model states, history [G, epochs, 2] (loss and accuracy over an epoch's
    batches; a third, validation accuracy after it, where that decides on stopping), and epochs trained int32 [G]."""

    state: State
    history: Any
    epochs: Any


def model_key(seed: jax.Array, shadow_id: jax.Array, purpose: int) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), shadow_id), purpose)


def shuffled(key: jax.Array, rows: tuple, spec: TrainSpec) -> tuple[jax.Array, jax.Array]:
    """One epoch's batches (idx [steps, B], mask [steps, B]): valid rows in random order, then padding, which begins
    with them again: moments and ranges of a last batch are those of a whole one, not of one row many times."""
    idx_r, mask_r = rows
    order_r = jnp.argsort(jnp.where(mask_r > 0, jax.random.uniform(key, mask_r.shape), 2.0))
    at = jnp.arange(spec.steps_per_epoch * spec.batch_size)
    valid = (mask_r > 0).sum()
    batches = (spec.steps_per_epoch, spec.batch_size)
    return idx_r[order_r[at % valid]].reshape(batches), (at < valid).astype(mask_r.dtype).reshape(batches)


def sampled(key: jax.Array, rows: tuple, spec: TrainSpec) -> tuple[jax.Array, jax.Array]:
    """One epoch's batches (idx [steps, B], mask [steps, B]) of a private training: in every step each valid row with
    probability `spec.rate` of its own, padding last. Of more than B = `spec.capacity` rows the last are left out, which
    `accounting` counts in."""
    if not spec.capacity:
        raise ValueError("`capacity` must be set for private training, got 0. Take it from `accounting.plan`.")
    idx_r, mask_r = rows

    def batch(i):
        drawn_r = jax.random.uniform(jax.random.fold_in(key, i), mask_r.shape) < spec.rate
        (at_b,) = jnp.nonzero(drawn_r & (mask_r > 0), size=spec.capacity, fill_value=len(mask_r))
        return idx_r[jnp.minimum(at_b, len(mask_r) - 1)], (at_b < len(mask_r)).astype(mask_r.dtype)

    return lax.map(batch, jnp.arange(spec.steps_per_epoch))


def run_epochs(train: Train, spec: TrainSpec, group: Group, shadow: Shadows, data, seed, first, last) -> Group:
    """Epochs first..last-1 of ONE model (traced bounds: a chunk of any length is the same program). data is (x, y), or
    (x, y, x_validation, y_validation)."""
    shuffle_key = model_key(seed, shadow.ids, SHUFFLE)
    step_key = model_key(seed, shadow.ids, STEP)

    def epoch(e, group):
        batches = (sampled if spec.private else shuffled)(jax.random.fold_in(shuffle_key, e), shadow.rows, spec)
        hyper = at_epoch(spec, shadow.hyper, e)

        def step(state, batch):
            i, batch = batch
            key = jax.random.fold_in(step_key, e * spec.steps_per_epoch + i)
            return train.step(state, batch, data, hyper, key)

        state, sums = lax.scan(step, group.state, (jnp.arange(spec.steps_per_epoch), batches))
        count = jnp.maximum(sums["count"].sum(), 1)  # a private epoch may draw no row
        row = [sums["loss"].sum() / count, sums["correct"].sum() / count]
        if spec.stop == "gap":
            row.append(train.accuracy(state, *data[2:], hyper, step_key))
        return Group(state, group.history.at[e].set(jnp.stack(row)), e + 1)

    def rest(e, group):
        return group._replace(history=group.history.at[e].set(group.history[e - 1]))

    def epoch_or_rest(e, group):
        if spec.stop == "never":
            return epoch(e, group)
        row = group.history[jnp.maximum(e - 1, 0)]
        settled = e > (0 if spec.post_training else spec.float_epochs)  # not before an epoch with quantization
        reached = settled & ((row[1] if spec.stop == "train_accuracy" else row[1] - row[2]) >= shadow.hyper.stop_at)
        return lax.cond((group.epochs < e) | reached, rest, epoch, e, group)

    group = lax.fori_loop(first, last, epoch_or_rest, group)
    if not spec.post_training:
        return group

    def calibrated(group):
        batches = shuffled(shuffle_key, shadow.rows, spec)
        return group._replace(state=train.calibrate(group.state, batches, data, shadow.hyper, step_key))

    return lax.cond(last == spec.epochs, calibrated, lambda group: group, group)


class Lifted(NamedTuple):
    """call(per_shadow, shared) -> arrays with a leading axis; compiled(per_shadow, shared): the program of that call,
    which does not compile again."""

    call: Callable
    compiled: Callable


def over_shadows(one: Callable, width: int, devices: list, *, once: bool = False) -> Lifted:
    """jit of `one(per_shadow, shared)` over the leading axis of `per_shadow`, which must be a multiple of
    width x devices: shards over devices, lax.map inside, a vmap of `width` innermost. A program that runs `once`
    a group is compiled with less optimisation on CPUs: half of the time to start, the same time to run."""
    mesh = jax.sharding.Mesh(np.array(devices), ("shadow",))

    def shard(per_shadow, shared):
        if width == 1:
            return lax.map(lambda shadow: one(shadow, shared), per_shadow)
        blocks = jax.tree.map(lambda a: a.reshape(-1, width, *a.shape[1:]), per_shadow)
        out = lax.map(jax.vmap(lambda shadow: one(shadow, shared)), blocks)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), out)

    each, whole = PartitionSpec("shadow"), PartitionSpec()
    sharded = jax.jit(
        jax.shard_map(shard, mesh=mesh, in_specs=(each, whole), out_specs=each, check_vma=False),
        compiler_options=LIGHT if once and devices[0].platform == "cpu" else None,
    )
    put_each, put_whole = (partial(spmd.place, sharding=NamedSharding(mesh, spec)) for spec in (each, whole))
    return Lifted(
        lambda per_shadow, shared: sharded(put_each(per_shadow), put_whole(shared)),
        lambda per_shadow, shared: sharded.lower(put_each(per_shadow), put_whole(shared)).compile(),
    )


class Ensemble(NamedTuple):
    """place(data) -> the data on every device, which the functions below take as it is;
    init(shadows, data) -> Group; shape_of(shadows, data) -> the same as shapes;
    run(group, shadows, data, first, last) -> Group; memory(group, shadows, data) -> bytes that `run` needs on each
    device, and `run` is compiled;
    query(fn)(state, shadows, x, y) -> arrays with a leading axis G, fn as in `signals.SIGNALS`."""

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
        run = programs.query(fn)
        return lambda state, shadows, x, y: run.call((state, shadows), (root, x, y))

    def run(group, shadows, data, first, last):
        return programs.run.call((group, shadows), (root, data, np.int32(first), np.int32(last)))

    def memory(group, shadows, data):
        program = programs.run.compiled((group, shadows), (root, data, np.int32(0), np.int32(0)))
        stats = program.memory_analysis()
        if stats is None:  # not every platform tells
            return 0
        return stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes

    whole = NamedSharding(jax.sharding.Mesh(np.array(devices), ("shadow",)), PartitionSpec())
    return Ensemble(
        lambda data: spmd.place(data, whole),
        lambda shadows, data: programs.init.call(shadows, (root, data)),
        lambda shadows, data: jax.eval_shape(programs.shape, shadows, (root, data)),
        run,
        memory,
        query,
    )


class Programs(NamedTuple):
    """What an ensemble runs, of any seed; `shape` is never run, but traced once for what `init` gives."""

    shape: Callable
    init: Lifted
    run: Lifted
    query: Callable[[Callable], Lifted]


@functools.lru_cache(maxsize=16)
def compiled(spec: TrainSpec, width: int, devices: tuple) -> Programs:
    train = make_train(spec)

    def init_one(shadow, shared):
        seed, data = shared
        state = train.init(model_key(seed, shadow.ids, INIT), shadow.hyper, shadow.rows, data)
        return Group(state, jnp.full((spec.epochs, 3 if spec.stop == "gap" else 2), jnp.nan), jnp.int32(0))

    def run_one(pair, shared):
        group, shadow = pair
        seed, data, first, last = shared
        return run_epochs(train, spec, group, shadow, data, seed, first, last)

    @functools.cache
    def query(fn):
        def query_one(pair, shared):
            state, shadow = pair
            seed, x, y = shared
            key = model_key(seed, shadow.ids, QUERY)

            def apply(params, x, hyper, key):
                return train.apply(params, state.norm, x, hyper, key)

            return fn(apply, state.params, x, y, shadow.hyper, key)

        return over_shadows(query_one, width, list(devices), once=True)

    init, run = (over_shadows(one, width, list(devices), once=one is init_one) for one in (init_one, run_one))
    return Programs(jax.jit(jax.vmap(init_one, in_axes=(0, None))), init, run, query)
