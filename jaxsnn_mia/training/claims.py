"""Who trains which group: processes that share a workdir claim groups there, without collectives.

One process leads: it prepares the data, trains, waits for the last group and goes on to the report. Any number of
others (--worker, or --distributed with a JAX_PROCESS_ID above 0) join at any time, claim groups that nobody holds, and
leave when all are trained. A claim is a file that names the system and the process of its holder. Its modification time
is the heartbeat. A claim whose heartbeat was not seen for a minute, or of a process that is gone from this system, is
taken over.
"""

import contextlib
import fcntl
import functools
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from jaxsnn_mia.runtime import stopping
from jaxsnn_mia.store.files import StoreError
from jaxsnn_mia.store.workdir import is_locked

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
FORGOTTEN_SECONDS = 86400.0

SEEN: dict[Path, tuple[Any, float]] = {}  # claims of others: what they were, and since when by this process's clock


class Share(NamedTuple):
    """The part of a process in a run. The process of `rank` 0 leads; `world` processes are expected. A process that
    does not lead waits for `patience` seconds for one that does."""

    rank: int = 0
    world: int = 1
    patience: float = PATIENCE_SECONDS


WORKER = Share(rank=1)


def share(environ: Mapping[str, str] = os.environ) -> Share:
    """The share that the variables JAX_PROCESS_ID and JAX_NUM_PROCESSES give; ValueError where one is missing or
    wrong."""
    missing = [name for name in ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES") if name not in environ]
    if missing:
        raise ValueError(f"--distributed needs the environment variables {' and '.join(missing)}.")
    try:
        rank, world = int(environ["JAX_PROCESS_ID"]), int(environ["JAX_NUM_PROCESSES"])
    except ValueError:
        raise ValueError("JAX_PROCESS_ID and JAX_NUM_PROCESSES must be integers.") from None
    if not 0 <= rank < world:
        raise ValueError(f"JAX_PROCESS_ID must be in [0, {world - 1}], got {rank}.")
    return Share(rank, world)


def wait_for(ready: Callable[[], bool], what: str, led: Path, patience: float = PATIENCE_SECONDS) -> None:
    """Returns when `ready()` holds, and logs once a minute what it waits for.

    Raises StoreError where no process held the workdir `led` for `patience` seconds: the leader has not started, was
    refused or is gone.
    """
    polls, abandoned = 0, 0
    while not ready():
        abandoned = abandoned + 1 if not is_locked(led) else 0
        if abandoned * POLL_SECONDS > patience:
            raise StoreError(
                f"no process leads in {led}: gave up waiting for {what} after {patience:g} s. Start one, or pass a "
                "longer --patience=SECONDS."
            )
        stopping.check()
        if polls % int(60 / POLL_SECONDS) == 0:
            logging.info("waiting for %s", what)
        polls += 1
        time.sleep(POLL_SECONDS)


class Overtaken(Exception):
    """Another process took over what this one held, because it held this one for dead."""


class Claim(NamedTuple):
    """A claim that this process took: its file, and the word in it that only this claim has."""

    path: Path
    token: str

    def held(self) -> bool:
        """Whether nobody took it over since."""
        try:
            return self.token in self.path.read_text()
        except OSError:
            return False


def take(path: Path) -> Claim | None:
    """A new claim, or None where another process holds `path`."""
    claim = Claim(path, uuid.uuid4().hex)
    with open(path.parent / ".claims", "a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # of two that find a dead claim, one takes it over
        if path.exists() and not is_dead(path):
            return None
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644), "w") as file:
            file.write(f"{system()} {os.getpid()}:{started(os.getpid())} {claim.token}\n")
    return claim


@functools.cache
def system() -> str:
    """What has process numbers of its own: a host since it was started, and a container's namespace on it."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    known = [boot.read_text().strip() if boot.exists() else "", space.readlink().name if space.exists() else ""]
    return "/".join([socket.gethostname(), *known])


def started(pid: int) -> str:
    """When a process of this system began, in ticks since the system did; "" where it is gone or nothing tells."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_dead(path: Path) -> bool:
    """Whether a claim's process is gone from this system, or its file has not changed for `STALE_SECONDS` by the clock
    of this process. Clocks of other hosts may be wrong, so times of files count only where they are a day apart."""
    try:
        said, beat = path.read_text(), path.stat().st_mtime
    except FileNotFoundError:
        return False
    parts = said.split()
    if len(parts) == 3 and parts[0] == system() and not is_running(*parts[1].split(":")):
        return True
    now = time.monotonic()
    state, since = SEEN.get(path, (None, now))
    if state != (said, beat):
        since = now
    SEEN[path] = (said, beat), since
    return now - since > STALE_SECONDS or time.time() - beat > FORGOTTEN_SECONDS


def is_running(pid: str, start: str = "") -> bool:
    """Whether the process of this number still is the one that started then."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except PermissionError:
        pass
    return not start or started(int(pid)) in ("", start)


@contextlib.contextmanager
def claimed(paths: list[Path]) -> Iterator[list[Claim]]:
    """Claims on all of `paths`, or none: the list is empty where another process holds one of them. Their heartbeats
    are written as long as the block runs."""
    claims: list[Claim] = []
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        claim = take(path)
        if claim is None:
            break
        claims.append(claim)
    stop = threading.Event()
    heart = threading.Thread(target=beat, args=(claims, stop), daemon=True)
    heart.start()
    try:
        yield claims if len(claims) == len(paths) else []
    finally:
        stop.set()
        heart.join()
        for claim in claims:
            if claim.held():
                claim.path.unlink(missing_ok=True)


def beat(claims: list[Claim], stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        for claim in claims:
            with contextlib.suppress(OSError):  # a file system that fails once may answer at the next beat
                if claim.held():
                    os.utime(claim.path)
