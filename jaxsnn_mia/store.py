"""Stages on disk: a folder named by the hash of what went in, its manifest renamed into place last."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from jaxsnn_mia import measuring, stopping, tracking

MANIFEST = "manifest.json"


class StoreError(RuntimeError):
    """Something is wrong with the workdir; the message says what and what to do."""


def digest(value: Any) -> str:
    """sha256 of the canonical JSON of `value`, its first 12 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Gives a temporary path that is renamed to `path` at the end, or removed when anything fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with disk_full(path):
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_full(path: Path) -> Iterator[None]:
    """Turns "no space left" into an error that says what survives."""
    try:
        yield
    except (OSError, ValueError) as error:  # Orbax says it by a ValueError
        if getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT) and "No space left" not in str(error):
            raise
        raise StoreError(
            f"the disk is full: could not write {path}. Everything finished before it survives: free some "
            "space and run the same command again to go on."
        ) from None


def write_array(path: Path, array: np.ndarray) -> None:
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)


def write_text(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text)


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Arrays by name, whole or not at all."""
    with atomic(path) as part, open(part, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, default=str) + "\n")


def read_array(path: Path) -> np.ndarray:
    """A memory-mapped array; pickled content is refused."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


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


def intact(path: Path, sha: str) -> bool:
    return path.is_file() and file_sha256(path) == sha


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
        meter = measuring.Meter()
        work(path)
        finish(path, stage=path.name, **meter.read(), finished=time.ctime(), **about)
    return path


@contextlib.contextmanager
def lock(workdir: Path) -> Iterator[None]:
    """Holds the workdir; a second process is refused. The lock dies with its process."""
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / ".lock", "a+") as file:
        for tries_left in range(4, -1, -1):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if tries_left:  # a worker may be looking whether anyone leads
                    time.sleep(0.05)
                    continue
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise StoreError(f"{workdir} is in use by {holder}. Wait for it or pass another --workdir.") from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def is_locked(workdir: Path) -> bool:
    """Whether a process holds the workdir."""
    try:
        with open(workdir / ".lock", "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def check_claim(workdir: Path, config: dict, follow: tuple[str, ...]) -> None:
    """StoreError unless the workdir is new or belongs to this config.

    Sections named in `follow` (attacks, metrics, report, ...) may change: their stages are added beside the
    old ones. Any other difference is refused with its name, and nothing is overwritten.
    """
    path = workdir / "config.json"
    if path.exists():
        try:
            old = json.loads(path.read_text())["config"]
        except (ValueError, KeyError):
            raise StoreError(f"{path} is unreadable. Pass another --workdir or remove the file.") from None
        new = json.loads(json.dumps(config))
        differences = [
            f"{name} is {was!r} there and {now!r} here"
            for name, was, now in compare(old, new)
            if name.split(".")[0] not in follow and name not in follow
        ]
        if differences:
            raise StoreError(
                f"{workdir} belongs to another config: {'; '.join(differences)}. Pass another --workdir; "
                "nothing was overwritten."
            )


def claim(workdir: Path, config: dict) -> None:
    """Writes config.json."""
    write_json(workdir / "config.json", {"hash": digest(config), "config": config})


def compare(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted name, old value, new value) of every leaf that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [d for k in keys for d in compare(old.get(k), new.get(k), f"{name}.{k}".lstrip("."))]
    return [] if old == new else [(name, old, new)]


def remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
