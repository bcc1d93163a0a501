"""How an ensemble is cut into groups, and what its bits depend on: plan.json, written before training and reused."""

import json
import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from absl import logging

from jaxsnn_mia.settings import Config
from jaxsnn_mia.store.files import StoreError, digest, write_json
from jaxsnn_mia.training.claims import Share, wait_for

SAME_BITS = ("pool", "isa", "versions", "platform")  # a difference here means: go on, but not bitwise


def plan_of(
    folder: Path, share: Share, make: Callable[[], dict[str, Any]], width_of: Callable[[int], int | None]
) -> dict[str, Any]:
    """The plan of a training stage: the leader makes it where there is none yet. `width_of(group_size)` is the width
    that the config names, if it names one."""
    if share.rank:
        wait_for((folder / "plan.json").exists, f"the plan of {folder}", folder.parent.parent, share.patience)
    return agreed_plan(folder, make, width_of)


def fixed_width(c: Config, models: int) -> int | None:
    """The width that the config names, at most the models of a group; None where a probe is to find it."""
    if c.ensemble.width == "default":
        return 1 if jax.default_backend() == "cpu" else None
    if c.ensemble.width == "auto":
        return None
    return min(int(c.ensemble.width), models)


def used_devices(c: Config) -> list:
    """The devices of this run, of all processes of one job; ValueError where more are asked for than there are."""
    here = jax.devices()
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


def group_plan(c: Config, world: int = 1, members: int = 1, fits: int | None = None) -> dict[str, int]:
    """Groups of whole pairs, all of one size and at least one for each process: of `ensemble.group_size` shadows of
    each member of an ensemble, or fewer where the members' models do not fit in memory together."""
    pairs = c.splits.n_shadows // 2
    size = min(c.ensemble.group_size, fits // members if fits else c.ensemble.group_size)
    needed = min(max(-(-pairs // max(size // 2, 1)), world), pairs)
    # groups of one size are one program; where no number near enough divides the pairs, the last is shorter
    groups = next((g for g in range(needed, min(2 * needed, pairs) + 1) if pairs % g == 0), needed)
    group_size = 2 * -(-pairs // groups)
    return {"group_size": group_size, "groups": -(-pairs // (group_size // 2))}


def make_plan(groups: dict[str, int], width: int) -> dict[str, Any]:
    """The groups, the width on each device, and what the bits depend on."""
    return {
        **groups,
        "width": width,
        "pool": max(int(os.environ.get("PJRT_NPROC", 0)) or os.cpu_count() or 1, jax.local_device_count()),
        "isa": instruction_set(),
        "platform": jax.default_backend(),
        "versions": {name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")},
    }


def agreed_plan(
    folder: Path, make: Callable[[], dict[str, Any]], width_of: Callable[[int], int | None]
) -> dict[str, Any]:
    """The plan of a stage: the one on disk where there is one, with what has changed since recorded in it."""
    if not (folder / "plan.json").exists():
        plan = make()
    else:
        plan = read_plan(folder)
        now, width = make_plan({}, plan["width"]), width_of(plan["group_size"])
        changed = {key: now[key] for key in SAME_BITS if plan.get(key) != now[key]}
        too_wide = {"width": width} in plan.get("not_bitwise", [])  # no memory for it, see `loop.narrower`
        asked = width not in (None, plan["width"]) and not too_wide
        if asked:
            changed["width_before"] = plan["width"]
        if not changed or (changed in plan.get("not_bitwise", []) and not asked):
            return plan
        logging.warning("resuming under %s: the results will not be bitwise those of one run", changed)
        plan = not_bitwise(plan, changed)
        if asked:
            plan["width"] = width
    write_plan(folder, plan)
    return plan


def read_plan(folder: Path) -> dict[str, Any]:
    """The plan of a training stage. StoreError where the file is not what was written; plans of earlier versions have
    no digest."""
    path = folder / "plan.json"
    try:
        plan = json.loads(path.read_text())
        said = plan.pop("digest", None)
        whole = all(type(plan[name]) is int for name in ("group_size", "groups", "width"))
        whole = whole and said in (None, digest(plan))
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise StoreError(
            f"{path} is damaged or was changed. Put it back, or remove {folder}: its training is then done again."
        )
    return plan


def write_plan(folder: Path, plan: dict[str, Any]) -> None:
    """plan.json, with a digest of itself."""
    write_json(folder / "plan.json", {**plan, "digest": digest(plan)})


def not_bitwise(plan: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    """The plan with what changed since it was made."""
    return {**plan, "not_bitwise": [*plan.get("not_bitwise", []), changed]}
