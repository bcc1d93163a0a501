"""How far the processes of a run are, from the logs that `tracking` writes: bars on a terminal, lines elsewhere."""

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

SHOW_SECONDS = 1.0  # between looks at the logs

Name = tuple[str, float]  # of a process: that of its log, without .jsonl, and when it began (unix seconds)


class Logs:
    """What was appended to the logs of a folder, read bit by bit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.offsets: dict[str, int] = {}
        self.newest: dict[str, dict[str, Any]] = {}  # line of each log
        self.stages: dict[str, str] = {}  # the last training of each variant
        self.planned: dict[str, int] = {}  # epochs of models of each variant
        self.done: dict[tuple[str, int], int] = {}  # of each of its groups

    def read(self) -> None:
        """Takes in what is new."""
        for path in self.folder.glob("*.jsonl"):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                file.seek(self.offsets.get(path.stem, 0))
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # still being written
                    self.offsets[path.stem] = self.offsets.get(path.stem, 0) + len(line)
                    with contextlib.suppress(ValueError, LookupError, TypeError):  # half a line, from a kill
                        self.note(json.loads(line), path.stem)

    def note(self, line: dict[str, Any], log: str) -> None:
        self.newest[log] = line | {"text": describe(line)}
        if line["event"] == "plan":
            variant = line["variant"]
            if line["stage"] != self.stages.setdefault(variant, line["stage"]):  # another training than before
                self.stages[variant] = line["stage"]
                self.done = {group: done for group, done in self.done.items() if group[0] != variant}
            self.planned[variant] = line["models"] * line["epochs"]
        if line["event"] in ("group", "chunk"):
            group = line["variant"], line["group"]
            self.done[group] = max(self.done.get(group, 0), line["epoch"] * line["shadows"])

    def total(self) -> tuple[int, int]:
        """(epochs of models that are done, of how many) in all variants that were planned so far."""
        return sum(self.done.values()), sum(self.planned.values())

    def last(self, name: Name) -> dict[str, Any]:
        """The last line of a process; one of an earlier run may have had the same log."""
        log, since = name
        line = self.newest.get(log)
        return line if line and line["time"] >= since else {"text": "starting"}


def describe(line: dict[str, Any]) -> str:
    if line["event"] == "stage":
        return f"{line['variant']} {line['stage']} is done".lstrip()
    if line["event"] == "end":
        return line["status"]
    if line["event"] == "plan":
        return f"{line['variant']}: {line['models']} models in {line['groups']} group(s)"
    what = f"{line['variant']}, group {line['group']}: epoch {line['epoch']}"
    means = [f"{name} {line[name]:.3g}" for name in ("loss", "accuracy") if line.get(name) is not None]
    return ", ".join([what + (f" of {line['epochs']}" if "epochs" in line else ""), *means])


def say(line: str) -> None:
    """A line on stderr, above the bars."""
    with contextlib.suppress(OSError):  # the terminal is closed
        tqdm.write(line, file=sys.stderr)


@contextlib.contextmanager
def shown(folder: Path, count: int, names: Callable[[], list[Name]], every: float) -> Iterator[Callable[[], None]]:
    """A function to call often, that shows how far `count` processes are, whose `names()` may change: a bar for each
    and one for all where stderr is a terminal, lines every so many seconds, and at the end, where it is not."""
    tqdm.monitor_interval = 0  # no thread: processes are forked
    bars = sys.stderr.isatty()
    logs = Logs(folder)
    logs.read()
    own = [tqdm(total=1, bar_format="|{bar:20}| {desc}", position=rank, disable=not bars) for rank in range(count)]
    whole = tqdm(initial=logs.total()[0], desc="all", unit="epoch", position=count, disable=not bars)
    looked, told = -math.inf, time.monotonic()

    def tell() -> None:
        for rank, name in enumerate(names()):
            say(f"process {rank}: {logs.last(name)['text']}")
        done, planned = logs.total()
        say(f"all: {done} of {planned} epochs of models ({done / max(planned, 1):.0%})")

    def show() -> None:
        nonlocal looked, told
        if time.monotonic() < looked + SHOW_SECONDS:
            return
        looked = time.monotonic()
        logs.read()
        for rank, (name, bar) in enumerate(zip(names(), own, strict=True)):
            line = logs.last(name)
            bar.total, bar.n = line.get("epochs", 1), line.get("epoch", 0)
            bar.set_description_str(f"{rank}: {line['text']}")
        done, whole.total = logs.total()
        whole.update(done - whole.n)
        if not bars and looked > told + every:
            told = looked
            tell()

    try:
        yield show
    finally:
        for bar in (*own, whole):
            bar.close()
        logs.read()
        if not bars and any("event" in logs.last(name) for name in names()):
            tell()
