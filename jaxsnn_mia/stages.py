"""The stages of a run, their versions, and what their manifests say."""

import functools
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

from jaxsnn_mia import __version__, store

STAGES = ("data", "splits", "train", "signals", "attacks", "metrics", "report")
# part of every hash: raise it when a stage's code changes what the stage writes
STAGE_VERSION = {
    "data": 3,
    "splits": 1,
    "train": 6,
    "signals": 5,
    "attacks": 4,
    "inversion": 2,
    "attribute": 1,
    "metrics": 8,
}


def upto(stage: str, until: str) -> bool:
    return STAGES.index(stage) <= STAGES.index(until)


def about() -> dict[str, Any]:
    """What a manifest says of where a stage ran."""
    import jax  # which whoever lists the stages does not need

    return {
        "version": __version__,
        "device": f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}",
        "python": platform.python_version(),
        "jax": jax.__version__,
        "commit": git_commit(),
    }


@functools.cache
def git_commit() -> str:
    """The commit of the checkout that this package runs from, "-dirty" where files were changed since; empty where it
    is none."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def manifest(path: Path) -> dict[str, Any]:
    return json.loads((path / store.MANIFEST).read_text())
