"""The stages of a run, their versions, and what their manifests say."""

import functools
import json
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import logging

from jaxsnn_mia import __version__
from jaxsnn_mia.runtime import resources, stopping, tracking
from jaxsnn_mia.store.files import digest, file_sha256, intact, write_json

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


def provenance() -> dict[str, Any]:
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


def read_manifest(path: Path) -> dict[str, Any]:
    return json.loads((path / MANIFEST).read_text())


MANIFEST = "manifest.json"


def stage_path(parent: Path, name: str, version: int, inputs: Any) -> Path:
    """`parent/name-<hash>` of the stage's version, its slice of the config and the hashes of its inputs."""
    return parent / f"{name}-{digest([name, version, inputs])}"


def is_done(path: Path) -> bool:
    """True where the stage has a manifest and every file of it has the recorded size and hash."""
    try:
        files = json.loads((path / MANIFEST).read_text())["files"]
    except FileNotFoundError:
        return False
    except (ValueError, KeyError):
        files = {MANIFEST: "unreadable"}
    broken = [name for name, sha in files.items() if not intact(path / name, sha)]
    if broken:
        logging.warning("%s: %s is damaged or missing; this stage is done again", path.name, ", ".join(broken))
        (path / MANIFEST).unlink()
    else:
        logging.debug("%s is finished and used again", path)
    return not broken


def finish(path: Path, **about: Any) -> None:
    """Writes the manifest, last of all: what `about` says and the sha256 of every file. Tells those who track the
    run."""
    files = {
        str(file.relative_to(path)): file_sha256(file)
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != MANIFEST and not file.name.startswith(".") and file.suffix != ".claim"
    }
    write_json(path / MANIFEST, {**about, "files": files})
    tracking.tell_stage(path, about)


def run_stage(path: Path, work: Callable[[Path], None], **about: Any) -> Path:
    """The folder of a finished stage: `work(path)` runs only where it is not done yet, and no stop was asked for."""
    if not is_done(path):
        stopping.check()
        path.mkdir(parents=True, exist_ok=True)
        meter = resources.Meter()
        work(path)
        finish(path, stage=path.name, **meter.read(), finished=time.ctime(), **about)
    return path
