"""A scheduler's SIGTERM, or Ctrl-C: the chunk in hand is finished and kept, then the process ends and can be run again.

Python handles a signal between two of its own instructions, and a compiled program may run for long. So a thread
listens: it answers at once, and ends the process at the second Ctrl-C, which resuming survives as it does a kill.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

REQUEUE = 75  # EX_TEMPFAIL: try again later
INTERRUPTED = 130  # what a shell gives for Ctrl-C
AGAIN = "Run the same command again to go on."
last_words: list[Callable[[str], Any]] = []  # called with a message before the process is ended at once
_asked, _gentle = threading.Event(), threading.Event()
_signals: list[int] = []
_listening: list[socket.socket] = []


class Stopped(Exception):
    """The process was asked to stop; everything up to here is on disk. `code` is what it exits with."""

    def __init__(self, message: str, code: int = REQUEUE):
        super().__init__(message)
        self.code = code


def listen() -> None:
    """From now on a thread answers SIGTERM and SIGINT: it ends the process, with one line, until `gently` is called.
    May be called again, after a library that takes signals for itself; from the main thread."""
    if not _listening:
        here, there = socket.socketpair()
        there.setblocking(False)
        _listening.extend((here, there))
        threading.Thread(target=hear, args=(here,), daemon=True).start()
    signal.set_wakeup_fd(_listening[1].fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # without a handler the thread would not hear of it


def gently() -> None:
    """From now on SIGTERM and the first SIGINT ask for a stop, which `check` answers; the second SIGINT ends the
    process."""
    _gentle.set()


def hear(here: socket.socket) -> None:
    """Answers every signal, for as long as the process lives."""
    while numbers := here.recv(64):
        for number in numbers:
            if number not in (signal.SIGINT, signal.SIGTERM):
                continue
            if not _gentle.is_set() or (number == signal.SIGINT and signal.SIGINT in _signals):
                leave(number)
            if number == signal.SIGINT:
                say("stopping: what is in hand is finished and kept first; a second Ctrl-C stops at once.")
            ask(number)


def say(line: str) -> None:
    """A line on stderr, below a progress bar, whatever another thread holds."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{line}\n".encode())


def leave(number: int) -> None:
    """Ends the process now."""
    message = f"stopped at once; finished stages and the last checkpoints are kept. {AGAIN}"
    for word in list(last_words):
        word(message)
    say(message)
    os._exit(code(number))


def code(number: int) -> int:
    """What a process that a signal stopped exits with."""
    return INTERRUPTED if number == signal.SIGINT else REQUEUE


def ask(number: int = signal.SIGTERM, *_: Any) -> None:
    """Asks for a stop, as the signal of that number does."""
    _signals.append(number)
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
    number = _signals[0] if _signals else signal.SIGTERM
    raise Stopped(f"stopped on request; finished stages and the last checkpoint are kept. {AGAIN}", code(number))
