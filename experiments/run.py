"""Runs an audit from a config file: data, splits, shadow models, signals, attacks, metrics, report.

python experiments/run.py --config=experiments/configs/quickstart.py --workdir=runs/quickstart
"""

import os
import sys

# XLA's thread pool decides the order of sums, and more threads than cores make small models 1.6 times slower:
# set before jax is imported, recorded in plan.json. A scheduler may give a process some of the cores only
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
os.environ.setdefault("PJRT_NPROC", str(min(CORES, 4)))

from pathlib import Path
from typing import NoReturn

from absl import app, flags
from ml_collections import config_flags

from jaxsnn_mia.aot import targets, wheels
from jaxsnn_mia.config import parse as settings
from jaxsnn_mia.pipeline import cost, forecast, inventory
from jaxsnn_mia.pipeline.run import run_pipeline
from jaxsnn_mia.report import console, tables
from jaxsnn_mia.runtime import spmd, stopping, terminal, tracking
from jaxsnn_mia.settings import Config
from jaxsnn_mia.store import remote
from jaxsnn_mia.store.files import StoreError, may_pass
from jaxsnn_mia.store.stage import STAGES
from jaxsnn_mia.training import claims as distributed
from jaxsnn_mia.training.claims import Share

CONFIG = config_flags.DEFINE_config_file("config", help_string="A config file; override by --config.a.b=VALUE.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where every stage is kept; a second run goes on there.")
STAGE = flags.DEFINE_enum("stage", "report", list(STAGES), "Run up to this stage.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print what would be trained and how long it takes; train nothing.")
TARGET = flags.DEFINE_string("target", None, "With --dry_run: an accelerator, here or not, as h100 or v5e:4x4.")
WORKER = flags.DEFINE_bool("worker", False, "Join the process that runs in this workdir and share its training.")
SPMD = flags.DEFINE_bool("spmd", False, "One job of several processes over all their devices; see runtime/spmd.py.")
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Several processes share the work; see training/claims.py.")
PATIENCE = flags.DEFINE_float("patience", 60, "Seconds that a worker waits while no process leads.", lower_bound=0)
TRACK = flags.DEFINE_enum("track", None, list(tracking.TRACKERS), "Send losses and times there as well.")
LIST = flags.DEFINE_bool("list", False, "Print the stages of --workdir, finished or not; run nothing.")
CLEAN = flags.DEFINE_bool("clean", False, "Remove the unfinished stages of --workdir, after asking; run nothing.")
VERIFY = flags.DEFINE_bool("verify", False, "Say what in --workdir is not as it was written; run nothing.")
SETTINGS = flags.DEFINE_bool("settings", False, "Print every setting, what it may be and what sweeps it; run nothing.")
YES = flags.DEFINE_bool("yes", False, "Let --clean remove without asking.")


def fail(message: object, code: int = 2) -> NoReturn:
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    sys.exit(code)


def parse(argv: list[str]) -> list[str]:
    """The flags, or one line and exit code 2."""
    for flag in argv:
        check_config_file(flag)
    try:
        rest = flags.FLAGS([settings.listed(flag) for flag in argv])
        check()
        if rest[1:]:
            fail(f"unexpected argument {rest[1]!r}; flags start with --.")
        return rest
    except SystemExit:
        raise
    except (KeyError, AttributeError) as error:
        fail(unknown(str(error)))
    except Exception as error:
        fail(error)


def check_config_file(flag: str) -> None:
    """One line where --config names what a run wrote in place of a config file."""
    name, _, value = flag.removeprefix("--").partition("=")
    if name != "config" or not (Path(value).is_dir() or value.endswith((".json", ".html"))):
        return
    held = Path(value) if Path(value).is_dir() else Path(value).parent
    fail(
        f"--config takes a config file (.py), got {value}. To run the settings of a workdir again pass "
        f"--config=experiments/resolved.py:{held / 'config.json'}."
    )


def unknown(message: str) -> str:
    """What to say of a setting that is not there: the nearest ones, or those that other programs call so."""
    given = next((name for flag in sys.argv if (name := settings.setting_of(flag)) and not settings.is_known(name)), "")
    return settings.unknown(given) if given else f"unknown setting: {message}"


def check() -> None:
    """Whether the flags go together."""
    if SETTINGS.value:
        return
    for group in ((WORKER, DISTRIBUTED, SPMD), (LIST, CLEAN, VERIFY, DRY_RUN)):
        given = [f"--{flag.name}" for flag in group if flag.value]
        if len(given) > 1:
            fail(f"{' and '.join(given)} exclude each other. Pass one of them.")
    if YES.value and not CLEAN.value:
        fail("--yes is for --clean.")
    if TARGET.value is not None and not DRY_RUN.value:
        fail("--target is for --dry_run.")
    if LIST.value or CLEAN.value or VERIFY.value:
        if WORKDIR.value is None:
            fail("--workdir=DIR is needed.")
        return
    if CONFIG.value is None or (not WORKDIR.value and not DRY_RUN.value):
        fail("--config=FILE and --workdir=DIR are needed, as in --config=experiments/configs/quickstart.py.")
    CONFIG.value.to_dict()  # a config file that cannot be loaded fails here, not before


def folder() -> Path:
    """The local folder that --workdir names, as `remote.opened` has it."""
    return Path(WORKDIR.value).expanduser()


def keep_house() -> None:
    """--list, --verify and --clean."""
    if LIST.value:
        print(inventory.as_text(inventory.items(folder())))
    elif VERIFY.value:
        damaged = inventory.verify(folder())
        print("\n".join(f"{path} is not as it was written" for path in damaged) or "everything is as it was written")
        sys.exit(1 if damaged else 0)
    else:
        inventory.clean(folder(), agreed=YES.value)


def forecast_for(target: targets.Target, c: Config) -> None:
    """What the run would cost on an accelerator, said by a child process that has its compiler."""
    if wheels.in_child():
        print(forecast.as_text(forecast.forecasts(c, target), target))
        return
    done = wheels.run_again(sys.argv)
    print(done.stdout, end="")
    if done.returncode:
        print(done.stderr, end="", file=sys.stderr)
        sys.exit(done.returncode)


def audit() -> None:
    """The run, or what it would cost."""
    import jax

    jax.config.update("jax_num_cpu_devices", min(CORES, 4))
    from jaxsnn_mia import config
    from jaxsnn_mia.runtime import stopping, tracking

    c = config.from_dict(CONFIG.value.to_dict())
    if TARGET.value is not None:
        forecast_for(targets.parse(TARGET.value), c)
        return
    if DRY_RUN.value:
        local = WORKDIR.value and not WORKDIR.value.startswith(remote.SCHEMES)
        print(cost.as_text(cost.estimate(c, folder() if local else None)))
        return
    share = distributed.share() if DISTRIBUTED.value else distributed.WORKER if WORKER.value else Share()
    if SPMD.value:
        spmd.start()
        stopping.listen()  # again: JAX took SIGTERM for itself
        share = Share(rank=jax.process_index())
    share = share._replace(patience=PATIENCE.value)
    alone = not (WORKER.value or DISTRIBUTED.value or SPMD.value)
    with remote.opened(WORKDIR.value, alone=alone) as workdir, tracking.tracked(TRACK.value, workdir):
        run_pipeline(c, workdir, until=STAGE.value, share=share)
        if STAGE.value == "report" and share.rank == 0:
            print(console.summary(workdir))
            for name, reason in tables.left_out(workdir).items():
                print(f"{name} is left out: {reason}")
            print(f"\n{WORKDIR.value.rstrip('/')}/report.html")


def main(argv: list[str]) -> None:
    try:
        if SETTINGS.value:
            print(settings.as_text())
            return
        if LIST.value or CLEAN.value or VERIFY.value:
            keep_house()
            return
        if not DRY_RUN.value:
            stopping.gently()
        if not flags.FLAGS["verbosity"].present:  # else it is as absl has it
            terminal.plain()
        audit()
    except stopping.Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.code)
    except (ValueError, OSError, StoreError) as error:
        fail(error, stopping.REQUEUE if may_pass(error) else 2)
    except MemoryError:
        fail("this machine has not enough memory for it. Take fewer rows (data.rows) or a smaller model.")


if __name__ == "__main__":
    stopping.listen()
    app.run(main, flags_parser=parse)
