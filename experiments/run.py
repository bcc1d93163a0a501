"""Runs an audit from a config file: data, splits, shadow models, signals, attacks, metrics, report.

python experiments/run.py --config=experiments/configs/quickstart.py --workdir=runs/quickstart
"""

import os
import sys

# XLA's thread pool decides the order of sums, and more threads than cores make small models 1.6 times slower:
# set before jax is imported, recorded in plan.json
os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))

from absl import app, flags, logging
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file("config", help_string="A config file; override by --config.a.b=VALUE.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where every stage is kept; a second run goes on there.")
STAGE = flags.DEFINE_enum(
    "stage",
    "report",
    ["data", "splits", "train", "signals", "attacks", "metrics", "report"],
    "Run up to this stage.",
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print what would be trained and how long it takes; train nothing.")
WORKER = flags.DEFINE_bool("worker", False, "Join the process that runs in this workdir and share its training.")
SPMD = flags.DEFINE_bool("spmd", False, "One job of several processes over all their devices; see spmd.py.")
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Several processes share the work; see distributed.py.")


def fail(message: str) -> None:
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    sys.exit(2)


def parse(argv: list[str]) -> list[str]:
    """The flags, or one line and exit code 2."""
    try:
        rest = flags.FLAGS(argv)
        if CONFIG.value is None or (WORKDIR.value is None and not DRY_RUN.value):
            fail("--config=FILE and --workdir=DIR are needed, as in --config=experiments/configs/quickstart.py.")
        CONFIG.value.to_dict()  # a config file that cannot be loaded fails here, not before
        if rest[1:]:
            fail(f"unexpected argument {rest[1]!r}; flags start with --.")
        return rest
    except SystemExit:
        raise
    except KeyError as error:
        fail(f"unknown setting {error}; jaxsnn_mia/settings.py lists all.")
        raise
    except Exception as error:
        fail(error)
        raise


def main(argv: list[str]) -> None:
    import jax

    jax.config.update("jax_num_cpu_devices", min(os.cpu_count() or 1, 4))
    from pathlib import Path

    from jaxsnn_mia import config, cost, distributed, pipeline, remote, results, spmd, stopping, store

    logging.set_verbosity(logging.WARNING)
    try:
        c = config.from_dict(CONFIG.value.to_dict())
        if DRY_RUN.value:
            local = WORKDIR.value and not WORKDIR.value.startswith(remote.SCHEMES)
            print(cost.as_text(cost.estimate(c, Path(WORKDIR.value) if local else None)))
            return
        share = distributed.share() if DISTRIBUTED.value else distributed.Share()
        share = distributed.WORKER if WORKER.value else share
        if SPMD.value:
            spmd.start()
            share = distributed.Share(rank=jax.process_index())
        stopping.listen()
        alone = not (WORKER.value or DISTRIBUTED.value or SPMD.value)
        with remote.opened(WORKDIR.value, alone=alone) as workdir:
            pipeline.run(c, workdir, until=STAGE.value, share=share)
            if STAGE.value == "report" and share.rank == 0:
                print(results.as_text(results.table(results.read(workdir))))
                print(f"\n{WORKDIR.value.rstrip('/')}/report.html")
    except stopping.Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopping.REQUEUE)
    except (ValueError, OSError, store.StoreError) as error:
        fail(error)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
