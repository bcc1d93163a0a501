"""Which groups are mine: several processes share one workdir, without collectives.

Every process is started with the same command, --distributed, JAX_NUM_PROCESSES and its own JAX_PROCESS_ID.
Process 0 prepares the data, trains its share, waits for the others' groups and goes on to the report.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from absl import logging

from jaxsnn_mia import store

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0


class Share(NamedTuple):
    """This process is `rank` of `world`."""

    rank: int = 0
    world: int = 1

    def groups(self, count: int) -> range:
        """The groups of this process, out of `count`."""
        return range(self.rank, count, self.world)


def share(environ: Mapping[str, str] = os.environ) -> Share:
    """The share that JAX_PROCESS_ID and JAX_NUM_PROCESSES name; ValueError says which is missing or wrong."""
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


def wait_for(ready: Callable[[], bool], what: str, led: Path | None = None) -> None:
    """Returns when `ready()` holds; says once a minute what it waits for. StoreError where for that minute no process
    held the workdir `led`: process 0 was refused or is gone."""
    polls, abandoned = 0, 0
    while not ready():
        abandoned = abandoned + 1 if led is not None and not store.is_locked(led) else 0
        if abandoned * POLL_SECONDS >= PATIENCE_SECONDS:
            raise store.StoreError(f"process 0 does not run in {led}: gave up waiting for {what}. Start it again.")
        if polls % int(60 / POLL_SECONDS) == 0:
            logging.info("waiting for %s", what)
        polls += 1
        time.sleep(POLL_SECONDS)
