"""Runs an audit as several processes of this machine, one on each GPU or group of CPU cores, that share its workdir.

    python launch/local.py [--processes=N] [--restarts=K] [--every=SECONDS] -- FLAGS of experiments/run.py
    python launch/local.py -- --config=experiments/configs/quickstart.py --workdir=runs/mine

The processes claim one group of `ensemble.group_size` shadows after the other; process 0 leads and makes the report,
whose table is printed at the end. On CPUs the scores are those of one process, to the bit. With --dry_run, --list or
--clean experiments/run.py runs once, as if called itself.

  --processes=N    default: one for each GPU of CUDA_VISIBLE_DEVICES or nvidia-smi that this jax can use, each with its
                   own; without any, one for every four cores, each kept to its own (Linux). Each one starts and
                   compiles for itself: on 2 cores the quickstart's training takes one process 23 to 27 CPU
                   seconds, and two with a core each 43 to 47
  --restarts=K     a process that crashes, or that somebody else stopped, is started again up to K times (default 2).
                   When it fails once more, a worker is left out, and a leader stops all
  --every=SECONDS  between lines on progress where stderr is no terminal (default 30)

All processes have the PJRT_NPROC that experiments/run.py alone would have. Progress is that of WORKDIR/log/*.jsonl,
with what earlier runs trained there; the messages of process R are in WORKDIR/log/process-R.err.

Ctrl-C and SIGTERM stop all processes with what is in hand kept, and the same command goes on from there. A second
Ctrl-C kills them, and so does the end of this launcher, however it comes (on Linux; elsewhere not that by SIGKILL).
Exit codes: 0; 2 where a setting, file or workdir is refused; 75 after SIGTERM or a failure of the machine; 130 after
Ctrl-C; that of a leader that failed.
"""

import argparse
import ctypes
import importlib.util
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from jaxsnn_mia.runtime.progress import Name, say, shown

RUN = Path(__file__).parents[1] / "experiments" / "run.py"
REFUSED, STOPPED, INTERRUPTED = 2, 75, 130
POLL_SECONDS = 0.2
GRACE_SECONDS = 30.0  # for the others, once one has decided how the run ends
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


class Place(NamedTuple):
    """What a process has to itself: entries of its environment, and cores (none: all of them)."""

    environ: dict[str, str]
    cores: list[int]


@dataclass
class Child:
    """A process, or the one that was started in its place."""

    rank: int
    place: Place
    errors: Path
    process: subprocess.Popen | None = None
    since: float = 0.0  # unix seconds of its start
    skip: int = 0  # bytes of `errors` that earlier ones wrote
    restarts: int = 0
    code: int | None = None  # once it has ended for good

    @property
    def name(self) -> Name:
        """As its log is named."""
        return f"{socket.gethostname()}-{self.process.pid if self.process else 0}", self.since


def gpus() -> list[str]:
    """The GPUs that jax can use, as CUDA_VISIBLE_DEVICES names them."""
    plugin = any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    if not plugin or os.environ.get("JAX_PLATFORMS", "").startswith("cpu"):
        return []
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        names = [name.strip() for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",")]
        return [name for name in names if name and name != "-1"]
    try:
        lines = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout.splitlines()
    except OSError:
        return []
    return [line.split(":")[0].removeprefix("GPU ") for line in lines if line.startswith("GPU ")]


def places(n: int | None = None) -> list[Place]:
    """A place for each of `n` processes, or of the default number. ValueError for more than there are GPUs or cores."""
    cards = gpus()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    most, what = (len(cards), "GPUs") if cards else (len(cores) or os.cpu_count() or 1, "cores")
    n = n if n is not None else most if cards else max(most // 4, 1)
    if not 1 <= n <= most:
        raise ValueError(f"--processes must be in [1, {most}], the {what} here, got {n}.")
    # one pool for all, though each has a part of the cores: it decides the order of sums
    pool = str(min(len(cores) or os.cpu_count() or 1, 4))
    common = {"PJRT_NPROC": os.environ.get("PJRT_NPROC", pool), "JAX_NUM_PROCESSES": str(n)}
    return [
        Place(common | {"JAX_PROCESS_ID": str(i), "CUDA_VISIBLE_DEVICES": cards[i]}, [])
        if cards
        else Place(common | {"JAX_PROCESS_ID": str(i)}, cores[i * len(cores) // n : (i + 1) * len(cores) // n])
        for i in range(n)
    ]


def launch(command: list[str], workdir: Path, at: list[Place], *, restarts: int = 2, every: float = 30.0) -> int:
    """Runs `command` at every place until all have ended, shows their progress, prints what the first one printed, and
    gives the exit code. SIGINT, SIGTERM and SIGHUP stop them. None is left when this returns or raises."""
    asked: list[int] = []
    nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    numbers = (signal.SIGINT, signal.SIGTERM) if nohup else (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, _: asked.append(number)) for number in numbers}
    log = workdir / "log"
    children = [Child(rank, place, log / f"process-{rank}.err") for rank, place in enumerate(at)]
    try:
        log.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile() as table:
            with shown(log, len(children), lambda: [child.name for child in children], every) as show:
                for child in children:
                    start(child, command, table)
                code = watch(children, asked, restarts, lambda child: start(child, command, table), show)
            table.seek(0)
            print(table.read().decode(errors="replace"), end="", flush=True)
        return code
    finally:
        send(children, signal.SIGKILL)
        for number, handler in before.items():
            signal.signal(number, handler)


def start(child: Child, command: list[str], table: IO[bytes]) -> None:
    """Starts a child's process, also in place of one that has ended; what the leader prints goes to `table`."""
    launcher, cores = os.getpid(), child.place.cores

    def prepare() -> None:  # in the new process
        if cores:
            os.sched_setaffinity(0, cores)
        if LIBC:
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # when the launcher is gone
            if os.getppid() != launcher:
                os._exit(1)

    with open(child.errors, "ab") as errors:
        child.skip, child.since = errors.tell(), time.time()
        child.process = subprocess.Popen(
            command, env=os.environ | child.place.environ, stdin=subprocess.DEVNULL,
            stdout=errors if child.rank else table, stderr=errors, preexec_fn=prepare,
            start_new_session=True,  # a terminal's Ctrl-C does not reach it
        )  # fmt: skip


def send(children: list[Child], number: int) -> None:
    """A signal to those that run; SIGKILL is for all that they have started too, and is waited for."""
    for process in [child.process for child in children if child.process and child.process.poll() is None]:
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)
            process.wait()
        else:
            process.send_signal(number)


def watch(
    children: list[Child], asked: list[int], restarts: int, again: Callable[[Child], None], show: Callable[[], None]
) -> int:
    """Waits for all children, starts those `again` that crash, and gives the exit code of the run."""
    ending, deadline = 0, math.inf
    while running := [child for child in children if child.code is None]:
        if asked:
            number = asked.pop(0)
            if not ending:
                say("stopping: what is in hand is finished and kept first; a second Ctrl-C kills.")
                ending = INTERRUPTED if number == signal.SIGINT else STOPPED
                send(running, signal.SIGTERM)
            elif number == signal.SIGINT:
                send(running, signal.SIGKILL)
        for child in running:
            code = child.process.poll() if child.process else None
            if code is None:
                continue
            over = ending or children[0].code == 0
            if not over and code not in (0, REFUSED) and child.restarts < restarts:
                child.restarts += 1
                say(f"process {child.rank} {fate(code)}: started again ({child.restarts} of {restarts}).")
                again(child)
                continue
            child.code = code if code >= 0 else 128 - code
            if code and not over:
                say(last_words(child, code))
            if (code == REFUSED or child.rank == 0) and not over:
                ending, deadline = child.code, time.monotonic() + GRACE_SECONDS
                send(running, signal.SIGTERM if code else 0)
        if time.monotonic() > deadline:
            send(running, signal.SIGKILL)
        show()
        time.sleep(POLL_SECONDS)
    if children[0].code and ending in (STOPPED, INTERRUPTED):
        say("stopped; finished stages and the last checkpoints are kept. Run the same command again to go on.")
    return ending if children[0].code else 0


def fate(code: int) -> str:
    return f"ended with exit code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"


def last_words(child: Child, code: int) -> str:
    """What to say of a child that is not started again: why it was refused, or the end of its messages."""
    with open(child.errors, "rb") as file:
        file.seek(max(child.skip, child.errors.stat().st_size - 20_000))
        lines = [line.rpartition("\r")[2].rstrip() for line in file.read().decode(errors="replace").split("\n")]
    refusals = [line for line in lines if line.startswith("error:")]
    if code == REFUSED and refusals:
        return refusals[-1]
    goes_on = "the others go on" if child.rank and code != REFUSED else "stopping all"
    tail = [f"    {line}" for line in lines if line][-10:]
    return "\n".join([f"process {child.rank} {fate(code)}: {goes_on}. The end of {child.errors}:", *tail])


def main(argv: list[str]) -> int:
    split = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--every", type=float, default=30.0)
    options, flags = parser.parse_args(argv[:split]), argv[split + 1 :]
    of_run = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    of_run.add_argument("--workdir", "-workdir")
    workdir = of_run.parse_known_args(flags)[0].workdir
    command = [sys.executable, str(RUN)]
    if workdir is None or any(re.match(r"--?(dry_run|list|clean)(=|$)", flag) for flag in flags):
        os.execv(sys.executable, command + flags)
    try:
        if "://" in workdir:
            raise ValueError(f"--workdir must be on a file system that all processes share, got {workdir}.")
        at = places(options.processes)
        command += ["--distributed", "--patience=86400", *flags]  # a leader that is gone for good is seen here
        return launch(command, Path(workdir), at, restarts=options.restarts, every=options.every)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
