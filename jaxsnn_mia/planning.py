"""How an ensemble is cut into groups, and what its bits depend on: plan.json, written before training and reused."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from absl import logging

from jaxsnn_mia import config, store
from jaxsnn_mia.distributed import Share, wait_for

SAME_PROGRAM = ("group_size", "groups", "width")  # taken over from an existing plan
SAME_BITS = ("pool", "isa", "versions", "platform")  # a difference here means: go on, but not bitwise


def plan_of(folder: Path, c: config.Config, n_devices: int, share: Share, members: int) -> dict[str, Any]:
    """The plan of a training stage, which the leader writes."""
    if not share.rank:
        return agreed_plan(folder, make_plan(c, n_devices, share.world, members))
    path = folder / "plan.json"
    wait_for(path.exists, f"the plan of {folder}", folder.parent.parent)
    return agreed_plan(folder, make_plan(c, n_devices, share.world, members))


def devices(c: config.Config) -> list:
    """The local devices of this run; ValueError where more are asked for than there are."""
    here = jax.local_devices()
    if c.ensemble.devices > len(here):
        raise ValueError(f"`ensemble.devices` must be at most {len(here)} here, got {c.ensemble.devices}.")
    return here[: c.ensemble.devices or len(here)]


def instruction_set() -> str:
    """The widest vector instructions of this processor, which decide the order of sums."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split()
    except (OSError, IndexError):
        return platform.machine()
    return next((name for name in ("amx_tile", "avx512f", "avx2", "avx") if name in flags), platform.machine())


def make_plan(c: config.Config, n_devices: int, world: int = 1, members: int = 1) -> dict[str, Any]:
    """Groups of whole pairs, all of one size and at least one for each process, the width on each device, and what
    the bits depend on. `ensemble.group_size` is shared by the members of an ensemble."""
    pairs = c.splits.n_shadows // 2
    needed = min(max(-(-pairs // max(c.ensemble.group_size // (2 * members), 1)), world), pairs)
    # groups of one size are one program; where no number near enough divides the pairs, the last is shorter
    groups = next((g for g in range(needed, min(2 * needed, pairs) + 1) if pairs % g == 0), needed)
    group_size = 2 * -(-pairs // groups)
    groups = -(-pairs // (group_size // 2))
    wide = jax.default_backend() != "cpu"
    return {
        "group_size": group_size,
        "groups": groups,
        "width": c.ensemble.width or (-(-members * group_size // n_devices) if wide else 1),
        "chunk_seconds": c.ensemble.chunk_seconds,
        "pool": max(int(os.environ.get("PJRT_NPROC", 0)) or os.cpu_count() or 1, jax.local_device_count()),
        "isa": instruction_set(),
        "platform": jax.default_backend(),
        "versions": {name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")},
    }


def agreed_plan(folder: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """The plan of a stage: the one on disk where there is one, with what has changed since recorded in it."""
    path = folder / "plan.json"
    if path.exists():
        old = json.loads(path.read_text())
        changed = {key: plan[key] for key in SAME_BITS if old.get(key) != plan[key]}
        plan = {**plan, **{key: old[key] for key in SAME_PROGRAM}, **{key: old[key] for key in SAME_BITS}}
        plan["not_bitwise"] = old.get("not_bitwise", [])
        if changed and changed not in plan["not_bitwise"]:
            logging.warning("resuming under %s: the results will not be bitwise those of one run", changed)
            plan["not_bitwise"].append(changed)
    store.write_json(path, plan)
    return plan
