"""What a run says of its progress, line by line: in the workdir's log, and in TensorBoard or Weights & Biases.

A line is a dict with "time" (unix seconds) and "event":

    plan   variant, stage (its folder), models, epochs, groups   when the training of a variant starts in this process
    group  variant, group, shadows, epoch                        when a group is claimed: so many epochs are done
    chunk  variant, group, shadows, epoch, epochs, loss, accuracy, seconds     when `epoch` of `epochs` are done: means
           over the group's shadows in their last epoch, those that are finite; the chunk's seconds, of all variants
           that are trained together
    stage  variant ("" where all share it), stage (its folder), seconds, peak_host_bytes, peak_device_bytes
    end    status (done, stopped or failed), message

Nothing is written where nothing is opened.
"""

import contextlib
import json
import math
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from absl import logging

from jaxsnn_mia.runtime import stopping

TRACKERS = ("tensorboard", "wandb")
SCALARS = {"chunk": ("loss", "accuracy", "seconds"), "stage": ("seconds", "peak_host_bytes", "peak_device_bytes")}
_sinks: list[Callable[[dict[str, Any]], None]] = []
_workdirs: list[Path] = []


def tell(event: str, **about: Any) -> None:
    """Gives a line to everything that is opened."""
    line = {"time": time.time(), "event": event, **about}
    for sink in _sinks:
        sink(line)


def tell_stage(folder: Path, about: dict[str, Any]) -> None:
    """Tells of a finished stage in workdir/[VARIANT/]FOLDER."""
    taken = {name: about.get(name) for name in SCALARS["stage"]}
    tell("stage", variant="" if folder.parent in _workdirs else folder.parent.name, stage=folder.name, **taken)


def mean(values: Any) -> float | None:
    """The mean of those that are finite, or None."""
    finite = [float(value) for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None


@contextlib.contextmanager
def logged(workdir: Path) -> Iterator[None]:
    """Appends every line to workdir/log/<host>-<pid>.jsonl, and at the end how it ended."""
    path = workdir / "log" / f"{socket.gethostname()}-{os.getpid()}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab", buffering=0) as file:

        def write(line: dict[str, Any]) -> None:
            with contextlib.suppress(OSError):  # that a disk is full is for the next checkpoint to say
                file.write(json.dumps(line).encode() + b"\n")

        def ended_at_once(message: str) -> None:
            tell("end", status="stopped", message=message)

        _sinks.append(write)
        _workdirs.append(workdir)
        stopping.last_words.append(ended_at_once)
        try:
            yield
            tell("end", status="done", message="")
        except BaseException as error:
            status = "stopped" if isinstance(error, (stopping.Stopped, KeyboardInterrupt)) else "failed"
            tell("end", status=status, message=" ".join(str(error).split()) or type(error).__name__)
            raise
        finally:
            stopping.last_words.remove(ended_at_once)
            _workdirs.remove(workdir)
            _sinks.remove(write)


@contextlib.contextmanager
def tracked(name: str | None, workdir: Path) -> Iterator[None]:
    """Sends the scalars of chunks and stages to one of TRACKERS as well, or to nothing. ValueError where its extra is
    not installed or it cannot start."""
    if not name:
        yield
        return
    try:
        send, close = {"tensorboard": tensorboard, "wandb": wandb}[name](workdir)
    except ImportError as error:
        raise ValueError(f"--track={name} needs an extra ({error}): pip install -e '.[track]'") from None
    except Exception as error:  # of a client, on its way to a server
        raise ValueError(f"--track={name} could not start: {error}") from error

    def sink(line: dict[str, Any]) -> None:
        if line["event"] in SCALARS:
            try:
                send(*scalars(line))
            except Exception as error:  # training does not end for it
                logging.log_first_n(logging.WARNING, "--track=%s failed: %s", 1, name, error)

    _sinks.append(sink)
    try:
        yield
    finally:
        _sinks.remove(sink)
        close()


def scalars(line: dict[str, Any]) -> tuple[str, dict[str, float], int | None]:
    """(what they are of, scalars by name, epoch) of a chunk; a stage has no epoch."""
    of = line["stage"] if line["event"] == "stage" else f"group-{line['group']:05d}"
    there = {name: line[name] for name in SCALARS[line["event"]] if line[name] is not None}
    return f"{line['variant'] or 'shared'}/{of}", there, line.get("epoch")


def tensorboard(workdir: Path) -> tuple[Callable, Callable]:
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(str(workdir / "log" / "tensorboard" / f"{socket.gethostname()}-{os.getpid()}"))

    def send(of: str, values: dict[str, float], epoch: int | None) -> None:
        for name, value in values.items():
            writer.add_scalar(f"{of}/{name}", value, epoch or 0)
        writer.flush()

    return send, writer.close


def wandb(workdir: Path) -> tuple[Callable, Callable]:
    import wandb as client

    (workdir / "log").mkdir(parents=True, exist_ok=True)
    run = client.init(project="jaxsnn_mia", name=workdir.name, dir=str(workdir / "log"))

    def send(of: str, values: dict[str, float], epoch: int | None) -> None:
        of_epoch = {} if epoch is None else {"epoch": epoch}
        run.log({f"{of}/{name}": value for name, value in (values | of_epoch).items()})

    return send, run.finish
