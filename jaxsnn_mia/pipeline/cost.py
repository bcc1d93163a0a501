"""What a run would cost, before anything is trained: models, FLOPs, bytes, time."""

import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxsnn_mia.config import against_data, sweep
from jaxsnn_mia.config.specs import training_inputs
from jaxsnn_mia.data import splits
from jaxsnn_mia.pipeline.data import chosen_rows
from jaxsnn_mia.settings import Config
from jaxsnn_mia.training import probe as probing
from jaxsnn_mia.training.inputs import Inputs
from jaxsnn_mia.training.plan import fixed_width, group_plan, used_devices
from jaxsnn_mia.training.probe import Cache, largest_group, one_model

PROBE_SECONDS = 10.0  # all probes of a dry run together
SAVED_BYTES = 6e8  # a second, read off a checkpoint of 90 MB on the same machine
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
    width: int
    group: int
    chunk_s: float
    memory: int
    disk: int
    seconds: float
    measured: bool


def synthetic_work(c: Config) -> Inputs:
    """The work of a variant in its real shapes, without making its splits."""
    dataset, *_ = chosen_rows(c)
    images = dataset.x.dtype == np.uint8 and not dataset.timed
    against_data.check(c, dataset.shape, timed=dataset.timed, images=images, n_classes=len(dataset.class_names))
    against_data.check_inversion(c, dataset.shape, timed=dataset.timed, n_classes=len(dataset.class_names))
    free = np.sum(~dataset.test_n) if dataset.test_n is not None else len(dataset.y)
    n = int(free * (1 - c.data.population - c.data.validation))
    coins = coins_of(c, n)
    keep_sn = np.arange(coins) % 2 == (np.arange(c.splits.n_shadows) % 2)[:, None]
    keep_sn = splits.with_always(keep_sn, n - coins + c.splits.canaries * c.splits.poison)
    rows = np.arange(keep_sn.shape[1]) % n if c.splits.canaries else slice(n)
    x = dataset.x if dataset.x.dtype == np.uint8 else dataset.x.astype(np.float32)
    held = slice(0, max(int(free * c.data.validation), 1))
    validation = (x[held], dataset.y[held])
    pixels = [[0.0], [255.0]] if dataset.x.dtype == np.uint8 else None
    return training_inputs(
        c, x[rows], dataset.y[rows], len(dataset.class_names), keep_sn, validation=validation, pixels=pixels,
        timed=dataset.timed,
    )  # fmt: skip


def coins_of(c: Config, n: int) -> int:
    """How many of n candidates are attacked: all, or the canaries and the natural rows beside them."""
    return min(c.splits.canaries + c.splits.natural_rows, n) if c.splits.canaries else n


def estimate(c: Config, workdir: Path | None = None) -> list[Cost]:
    """The cost of every variant. Variants that ten seconds of probes do not reach are estimated by FLOPs from those
    that they do; probes are kept in `workdir`/probe.json, the only file written."""
    cache = Cache(workdir)
    variants = sweep.variants(c)
    works = {name: synthetic_work(variant) for name, variant in variants.items()}
    models = {name: one_model(work) for name, work in works.items()}
    probes, spent, longest = {}, 0.0, 0.0
    together = Counter(map(program_of, works.values()))
    for name, variant in sorted(variants.items(), key=lambda item: -models[item[0]].epoch_flops):
        used = used_devices(variant)
        members = together[program_of(works[name])]
        size = group_size(variant, works[name], used, members)
        question = [works[name]], fixed_width(variant, members * size), used, -(-size // len(used))
        if cache.knows(*question) or spent + longest < PROBE_SECONDS:
            start = time.perf_counter()
            probes[name] = cache.get(*question)
            longest = max(longest, time.perf_counter() - start)
            spent += time.perf_counter() - start
    programs: set[str] = set()  # variants of one program compile it once
    return [
        one_cost(name, variant, works[name], models, probes, programs, together[program_of(works[name])])
        for name, variant in variants.items()
    ]


def program_of(work: Inputs) -> tuple[str, int]:
    """What variants share that are trained as one ensemble."""
    return repr(work.spec), work.seed


def group_size(c: Config, work: Inputs, used: list, members: int) -> int:
    """Shadows of each of the variants that are trained together."""
    return group_plan(c, members=members, fits=largest_group(work.spec, used))["group_size"]


def one_cost(name: str, c: Config, work: Inputs, models: dict, probes: dict, programs: set[str], members: int) -> Cost:
    """Of one variant; memory and chunks are those of its whole ensemble."""
    model = models[name]
    nearest = name if name in probes else min(probes, key=lambda o: abs(models[o].epoch_flops - model.epoch_flops))
    probe = probes[nearest]
    compiling = 0.0 if (program := repr(work.spec)) in programs else probe.compile_s
    programs.add(program)
    shadows_, n, epochs = c.splits.n_shadows, coins_of(c, len(work.data[0])), c.train.epochs
    training = probe.epoch_s * epochs * shadows_ * model.epoch_flops / models[nearest].epoch_flops
    intervals = INTERVAL_SECONDS * shadows_ * n * c.metrics.replicates_auc * len(c.attacks.names)
    used = used_devices(c)
    group = group_size(c, work, used, members)
    data_bytes, state_bytes = sum(array.nbytes for array in work.data), probing.state_bytes(work.spec)
    state = max(probe.memory - data_bytes, 0) / probe.group * len(used)  # temporaries included
    return Cost(
        variant=name,
        models=shadows_,
        parameters=model.parameters,
        flops=model.epoch_flops * epochs * shadows_,
        width=probe.width,
        group=group,
        chunk_s=max(c.ensemble.chunk_seconds * members, saving_share(c) * group * members * state_bytes / SAVED_BYTES),
        memory=int(state * group * members) + len(used) * data_bytes,
        disk=2 * state_bytes * shadows_ + (13 + 4 * len(c.attacks.names)) * shadows_ * n,
        seconds=compiling + training + intervals + OTHER_SECONDS,
        measured=name in probes,
    )


def saving_share(c: Config) -> float:
    """How many times longer than a checkpoint a chunk is at least."""
    return 1 / c.ensemble.checkpoint_share if c.ensemble.checkpoint_share else 0.0


def as_text(costs: list[Cost]) -> str:
    """The table that --dry_run prints."""
    lines = [
        f"{'variant':28} {'models':>6} {'parameters':>10} {'GFLOP':>9} {'width':>5} {'group':>5} {'chunk s':>7} "
        f"{'memory MB':>9} {'disk MB':>8} {'time s':>7}"
    ]
    for cost in costs:
        lines.append(
            f"{cost.variant:28} {cost.models:6d} {cost.parameters:10d} {cost.flops / 1e9:9.1f} "
            f"{cost.width:5d} {cost.group:5d} {cost.chunk_s:7.1f} "
            f"{cost.memory / 1e6:9.1f} {cost.disk / 1e6:8.1f} {cost.seconds:7.1f}"
            f"{'' if cost.measured else '  (by FLOPs)'}"
        )
    total = sum(cost.seconds for cost in costs)
    lines.append(f"{sum(cost.models for cost in costs)} models in about {total:.0f} s; nothing was trained.")
    return "\n".join(lines)
