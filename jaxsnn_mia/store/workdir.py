"""A workdir: held by one process, of one config."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxsnn_mia.store.files import StoreError, digest, write_json


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


def check_config(workdir: Path, config: dict, follow: tuple[str, ...]) -> None:
    """StoreError unless the workdir is new or belongs to this config.

    Sections named in `follow` (attacks, metrics, report, ...) may change: their stages are added beside the
    old ones. Any other difference is refused with its name, and nothing is overwritten.
    """
    path = workdir / "config.json"
    if path.exists():
        try:
            old = json.loads(path.read_text())["config"]
        except (ValueError, KeyError, TypeError):
            raise StoreError(f"{path} is unreadable. Pass another --workdir or remove the file.") from None
        new = json.loads(json.dumps(config))
        changed = [
            f"{name} is {was!r} there and {now!r} here"
            for name, was, now in differences(old, new)
            if name.split(".")[0] not in follow and name not in follow
        ]
        if changed:
            raise StoreError(
                f"{workdir} belongs to another config: {'; '.join(changed)}. Pass another --workdir; "
                "nothing was overwritten."
            )


def write_config(workdir: Path, config: dict) -> None:
    """Writes config.json."""
    write_json(workdir / "config.json", {"hash": digest(config), "config": config})


def differences(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted name, old value, new value) of every leaf that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [d for k in keys for d in differences(old.get(k), new.get(k), f"{name}.{k}".lstrip("."))]
    return [] if old == new else [(name, old, new)]
