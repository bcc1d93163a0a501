"""A scheduler's SIGTERM: the chunk in hand is finished and kept, then the process ends and asks to be run again."""

import signal
import threading
from typing import Any

REQUEUE = 75  # EX_TEMPFAIL: try again later
_asked = threading.Event()


class Stopped(Exception):
    """The process was asked to stop; everything up to here is on disk."""


def listen() -> None:
    """From now on SIGTERM is remembered instead of ending the process at once."""
    signal.signal(signal.SIGTERM, ask)


def ask(*_: Any) -> None:
    _asked.set()


def asked() -> bool:
    """Whether a stop was asked for."""
    return _asked.is_set()


def check() -> None:
    """Raises Stopped where a stop was asked for."""
    if asked():
        stop()


def stop() -> None:
    """Raises Stopped."""
    raise Stopped("stopped on request; everything up to here is kept. Run the same command again to go on.")
