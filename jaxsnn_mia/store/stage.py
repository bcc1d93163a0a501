"""A stage: a folder named by the hash of what goes in, its manifest renamed into place last. It is made once."""

import dataclasses
import functools
import json
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging

from jaxsnn_mia import __version__
from jaxsnn_mia.runtime import resources, stopping, tracking
from jaxsnn_mia.store.files import digest, file_sha256, intact, write_json

MANIFEST = "manifest.json"
STAGES = ("data", "splits", "train", "signals", "attacks", "metrics", "report")
# part of every hash: raise it when a stage's code changes what the stage writes
STAGE_VERSION = {
    "data": 4,
    "splits": 1,
    "train": 6,
    "signals": 5,
    "attacks": 6,
    "inversion": 3,
    "attribute": 2,
    "metrics": 9,
    "releases": 1,
}

USUAL_NUMBERS = {"jax_default_prng_impl": "threefry2x32", "jax_threefry_partitionable": True, "jax_enable_x64": False}


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a stage is made from: its `name` (a key of STAGE_VERSION), the folder that holds it, and its `inputs`, JSON
    values: the settings that it depends on and the names of the stages that it reads."""

    name: str
    parent: Path
    inputs: dict[str, Any]

    @functools.cached_property
    def path(self) -> Path:
        """`parent/name-<hash>`."""
        parts = [self.name, STAGE_VERSION[self.name], self.inputs, *unusual_numbers()]
        return self.parent / f"{self.name}-{digest(parts)}"

    @property
    def is_done(self) -> bool:
        return is_done(self.path)


def unusual_numbers() -> list[Any]:
    """The options of JAX that change what a key draws, where they are not as usual; they are part of every hash."""
    options = {name: getattr(jax.config, name) for name in USUAL_NUMBERS}
    return [] if options == USUAL_NUMBERS else [options]


def run(stage: Stage, make: Callable[[Path], dict[str, Any] | None]) -> Path:
    """The folder of a finished stage. Where it is not finished, `make(path)` writes its files and may return what the
    manifest says beside the usual. Raises `stopping.Stopped` before it begins where a stop was asked for."""
    (path,) = run_together([stage], lambda missing: make(stage.path))
    return path


def run_together(stages: Sequence[Stage], make: Callable[[list[Stage]], dict[str, Any] | None]) -> list[Path]:
    """The folders of finished stages. One call of `make(missing)` makes all that are not finished: time and memory in
    their manifests are those of the whole call."""
    missing = [stage for stage in stages if not stage.is_done]
    if missing:
        stopping.check()
        for stage in missing:
            stage.path.mkdir(parents=True, exist_ok=True)
        meter = resources.Meter()
        about = make(missing) or {}
        taken = meter.read()
        for stage in missing:
            finish(stage, **about, **taken)
    return [stage.path for stage in stages]


def is_done(path: Path) -> bool:
    """True where the folder has a manifest and every file of it has the recorded hash."""
    found = broken(path)
    if found is None:
        return False
    if found:
        logging.warning("%s: %s is damaged or missing; this stage is done again", path.name, ", ".join(found))
        (path / MANIFEST).unlink()
    else:
        logging.debug("%s is finished and used again", path)
    return not found


def broken(path: Path) -> list[str] | None:
    """The files of a finished stage that are not what was written; None of a stage that is not finished."""
    try:
        files = read_manifest(path)["files"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError):
        return [MANIFEST]
    return [name for name, sha in files.items() if not intact(path / name, sha)]


def finish(stage: Stage, **about: Any) -> None:
    """Writes the manifest, last of all: the inputs, what `about` says, where the stage ran, and the sha256 of every
    file. Tells those who track the run."""
    path = stage.path
    files = {str(file.relative_to(path)): file_sha256(file) for file in kept(path)}
    about = {"stage": path.name, "inputs": stage.inputs, **about, "finished": time.ctime(), **provenance()}
    manifest = {**about, "files": files}
    write_json(path / MANIFEST, {**manifest, "digest": digest(manifest)})
    tracking.tell_stage(path, about)


def kept(path: Path) -> list[Path]:
    """The files of a stage's folder that its manifest lists: no claims, nothing hidden, nothing half written."""
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return [
        file
        for file in files
        if file.name != MANIFEST
        and file.suffix != ".claim"
        and not any(part.startswith(".") or ".orbax-checkpoint-tmp" in part for part in file.relative_to(path).parts)
    ]


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a stage's folder. Raises FileNotFoundError where the stage is not finished, ValueError where the
    file is not what was written; manifests of earlier versions have no digest."""
    manifest = json.loads((path / MANIFEST).read_text())
    if not isinstance(manifest, dict) or manifest.pop("digest", None) not in (None, digest(manifest)):
        raise ValueError(f"{path / MANIFEST} is damaged or was changed. Remove it, and the stage is done again.")
    return manifest


def upto(stage: str, until: str) -> bool:
    """Whether a run up to the stage `until` makes the stage."""
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
