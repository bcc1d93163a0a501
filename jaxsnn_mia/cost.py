"""What a run would cost, before anything is trained: models, FLOPs, bytes, time."""

import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxsnn_mia import config, data, planning, shadows, store
from jaxsnn_mia.ensemble import make_ensemble
from jaxsnn_mia.train import make_train

PROBE_SECONDS = 10.0  # all probes of a dry run together
ENOUGH_SECONDS = 0.3  # a timed probe runs at least this long
# seconds per target x example x replicate of the AUC interval, and the fixed seconds of a variant's other stages
# (start-up, queries, figures); both read off the quickstart on 2 x86 cores, 2026-11
INTERVAL_SECONDS = 7e-9
OTHER_SECONDS = 2.5


class Cost(NamedTuple):
    """One variant's cost in bytes and seconds; `measured` tells a probe from an estimate by FLOPs."""

    variant: str
    models: int
    parameters: int
    flops: float
    memory: int
    disk: int
    seconds: float
    measured: bool


def flops(jaxpr: jax.extend.core.Jaxpr) -> float:  # type: ignore[name-defined]
    """Floating-point operations of a jaxpr: 2 m n k for a product, one for each element that an operation writes;
    the body of a scan counts once for every step (XLA's own analysis counts it once in all)."""
    total = 0.0
    for eqn in jaxpr.eqns:
        inner = [getattr(sub, "jaxpr", sub) for sub in jax.tree.leaves(list(eqn.params.values()), is_leaf=is_jaxpr)
                 if is_jaxpr(sub)]  # fmt: skip
        if eqn.primitive.name == "cond":
            total += max(map(flops, inner))
        elif inner:
            total += eqn.params.get("length", 1) * sum(map(flops, inner))
        elif eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            k = math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
            total += 2 * k * eqn.outvars[0].aval.size
        else:
            total += sum(var.aval.size for var in eqn.outvars if jax.numpy.issubdtype(var.aval.dtype, np.floating))
    return total


def is_jaxpr(value: Any) -> bool:
    return hasattr(getattr(value, "jaxpr", value), "eqns")


def synthetic_work(c: config.Config) -> shadows.Work:
    """The work of a variant in its real shapes, without making its splits."""
    dataset = data.load(c.data.name, c.data.dir)
    free = np.sum(~dataset.test_n) if dataset.test_n is not None else len(dataset.y)
    n = int(free * (1 - c.data.population - c.data.validation))
    keep_sn = np.arange(n) % 2 == (np.arange(c.splits.n_shadows) % 2)[:, None]
    held = slice(0, max(int(free * c.data.validation), 1))
    validation = (dataset.x[held], dataset.y[held])
    pixels = [[0.0], [255.0]] if dataset.x.dtype == np.uint8 else None
    return shadows.prepare(
        c, dataset.x[:n], dataset.y[:n], len(dataset.class_names), keep_sn, validation=validation, pixels=pixels
    )


def estimate(c: config.Config, workdir: Path | None = None) -> list[Cost]:
    """The cost of every variant. Variants that ten seconds of probes do not reach are estimated by FLOPs from those
    that they do; probes are kept in `workdir`/probe.json, the only file written."""
    cache = {}
    if workdir is not None and (workdir / "probe.json").exists():
        cache = json.loads((workdir / "probe.json").read_text())
    variants = config.variants(c)
    works = {name: synthetic_work(variant) for name, variant in variants.items()}
    models = {name: one_model(work) for name, work in works.items()}
    probes, spent, longest = {}, 0.0, 0.0
    for name, variant in sorted(variants.items(), key=lambda item: -models[item[0]][1]):
        key = store.digest([config.as_dict(variant), planning.make_plan(variant, len(planning.devices(variant)))])
        if key not in cache and spent + longest < PROBE_SECONDS:
            start = time.perf_counter()
            cache[key] = probe(variant, works[name])
            longest = max(longest, time.perf_counter() - start)
            spent += time.perf_counter() - start
        if key in cache:
            probes[name] = cache[key]
    if workdir is not None:
        store.write_json(workdir / "probe.json", cache)
    programs: set[str] = set()  # variants of one program compile it once
    return [one_cost(name, variant, works[name], models, probes, programs) for name, variant in variants.items()]


def one_cost(name: str, c: config.Config, work: shadows.Work, models: dict, probes: dict, programs: set[str]) -> Cost:
    parameters, epoch_flops = models[name]
    nearest = name if name in probes else min(probes, key=lambda other: abs(models[other][1] - epoch_flops))
    compiling, epoch = probes[nearest]
    compiling = 0.0 if (program := repr(work.spec)) in programs else compiling
    programs.add(program)
    shadows_, n, epochs = c.splits.n_shadows, len(work.data[0]), c.train.epochs
    training = epoch * epochs * shadows_ * epoch_flops / models[nearest][1]
    intervals = INTERVAL_SECONDS * shadows_ * n * c.metrics.replicates_auc * len(c.attacks.names)
    state = 12 * parameters  # parameters and two moments, float32
    return Cost(
        variant=name,
        models=shadows_,
        parameters=parameters,
        flops=epoch_flops * epochs * shadows_,
        memory=3 * state * min(shadows_, c.ensemble.group_size) + work.data[0].nbytes,
        disk=2 * state * shadows_ + (13 + 4 * len(c.attacks.names)) * shadows_ * n,
        seconds=compiling + training + intervals + OTHER_SECONDS,
        measured=name in probes,
    )


def one_model(work: shadows.Work) -> tuple[int, float]:
    """(parameters, FLOPs of one epoch) of one model."""
    train, spec = make_train(work.spec), work.spec
    rows = (work.rows[0][0], work.rows[1][0])
    state = jax.eval_shape(train.init, jax.random.key(0), work.hyper, rows, work.data)
    batch = (np.zeros(spec.batch_size, np.int32), np.ones(spec.batch_size, np.float32))
    data = jax.tree.map(jax.numpy.asarray, work.data)
    step = jax.make_jaxpr(lambda state, key: train.step(state, batch, data, work.hyper, key))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params["params"]))
    return parameters, flops(step(state, jax.random.key(0)).jaxpr) * spec.steps_per_epoch


def probe(c: config.Config, work: shadows.Work) -> tuple[float, float]:
    """(seconds to compile, seconds of one model's epoch on all devices together), by training a few shadows."""
    used = planning.devices(c)
    plan = planning.make_plan(c, len(used))
    few = {**plan, "group_size": min(plan["group_size"], 2 * plan["width"] * len(used))}
    batch, _ = shadows.group_of([work], few, 0, len(used))
    batch = batch._replace(hyper=batch.hyper._replace(stop_at=np.full_like(batch.hyper.lr, 9.0)))  # nobody rests
    ensemble = make_ensemble(work.spec, seed=work.seed, width=plan["width"], devices=used)
    start = time.perf_counter()
    group = jax.block_until_ready(ensemble.run(ensemble.init(batch, work.data), batch, work.data, 0, 1))
    compiling = time.perf_counter() - start
    epochs = 1
    while True:
        start = time.perf_counter()
        jax.block_until_ready(ensemble.run(group, batch, work.data, 1, 1 + epochs))
        seconds = time.perf_counter() - start
        if seconds > ENOUGH_SECONDS:
            return compiling, seconds / (epochs * len(batch.ids))
        epochs *= 4


def as_text(costs: list[Cost]) -> str:
    """The table that --dry_run prints."""
    lines = [
        f"{'variant':28} {'models':>6} {'parameters':>10} {'GFLOP':>9} {'memory MB':>9} {'disk MB':>8} {'time s':>7}"
    ]
    for cost in costs:
        lines.append(
            f"{cost.variant:28} {cost.models:6d} {cost.parameters:10d} {cost.flops / 1e9:9.1f} "
            f"{cost.memory / 1e6:9.1f} {cost.disk / 1e6:8.1f} {cost.seconds:7.1f}"
            f"{'' if cost.measured else '  (by FLOPs)'}"
        )
    total = sum(cost.seconds for cost in costs)
    lines.append(f"{sum(cost.models for cost in costs)} models in about {total:.0f} s; nothing was trained.")
    return "\n".join(lines)
