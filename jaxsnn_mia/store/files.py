"""Stages on disk: a folder named by the hash of what went in, its manifest renamed into place last."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


class StoreError(RuntimeError):
    """Something is wrong with the workdir; the message says what and what to do."""


class TransientError(StoreError):
    """The machine failed, not what was asked for: the same command may go on. What was finished is kept."""


# what another try may not meet
PASSING = {
    errno.EIO, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT, errno.ENOSPC, errno.EDQUOT,
    errno.EREMOTEIO, errno.ENFILE, errno.EMFILE, errno.ECONNRESET, errno.ECONNREFUSED, errno.ENETUNREACH,
}  # fmt: skip


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
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")  # of this process alone
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
    except (OSError, ValueError) as error:
        # Orbax says it by a ValueError, numpy by what it could not write
        said = re.search(r"No space left|\d+ requested and \d+ written", str(error))
        if getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT) and not said:
            raise
        raise TransientError(
            f"the disk is full: could not write {path}. Everything finished before it survives: free some "
            "space and run the same command again to go on."
        ) from None


def may_pass(error: Exception) -> bool:
    """Whether the same command may go on after an error, since the machine failed and not what was asked for."""
    return isinstance(error, TransientError) or getattr(error, "errno", None) in PASSING


@contextlib.contextmanager
def going_on() -> Iterator[None]:
    """Turns what the system refuses while a run is under way into an error that says what survives."""
    try:
        yield
    except OSError as error:
        raise TransientError(
            f"{error}. Finished stages and the last checkpoints are kept: run the same command again to go on."
        ) from error


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


def intact(path: Path, sha: str) -> bool:
    return path.is_file() and file_sha256(path) == sha


def remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
