"""What the networks of gpu.py would do on accelerators that are not here: kernels, bytes and time of a training step,
by the static model of `jaxsnn_mia.aot`.

    python -m experiments.benchmarks.forecast [--targets h100 v5e:1x1] [--nets NAME ...]

Needs the compilers' wheels (`python -m jaxsnn_mia.aot.wheels`), no accelerator. Writes results/forecast.json and .md,
whose other rows stay.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from experiments.benchmarks import gpu
from experiments.benchmarks.machine import installed
from jaxsnn_mia.aot import targets, wheels
from jaxsnn_mia.kernels.platform import made_for
from jaxsnn_mia.models import Hyper
from jaxsnn_mia.pipeline.forecast import forecast, share
from jaxsnn_mia.signals import catalogue
from jaxsnn_mia.training.inputs import Inputs

RESULTS = Path(__file__).parent / "results"
WIDTH = {"30-32-10, T=10": 1024, "446-256-10, T=10": 64, "784-256-10, T=25": 64, "convnet, 28x28, bfloat16": 8,
         "resnet18, 32x32, bfloat16": 8}  # fmt: skip
QUERY = catalogue.Query(("phi", "correct"))
COLUMNS = {
    "kernels": "kernels", "mb": "MB", "gflop": "GFLOP", "us": "us", "limit_us": "us at the limit",
    "share": "of the limit", "rate": "model-epochs/s", "memory_mb": "memory MB",
}  # fmt: skip


def row(name: str, target: targets.Target) -> dict:
    """One network on one chip, at its width."""
    spec = gpu.spec_of(name, gpu.ROWS)
    rows = (np.zeros((2, spec.rows), np.int32), np.ones((2, spec.rows), np.float32))
    work = Inputs(spec, Hyper(), gpu.data_of(spec), rows, 0)
    start = time.process_time()
    with made_for(target.chip.platform):
        found = forecast(name, work, QUERY, WIDTH[name], WIDTH[name], target, targets.devices(target)[:1])
    step = found.step
    return {
        "target": target.name, "net": name, "width": found.width, "kernels": step.kernels,
        "mb": round(step.nbytes / 1e6, 1), "gflop": round(sum(step.flops.values()) / 1e9, 2),
        "us": round(1e6 * step.seconds, 1), "limit_us": round(1e6 * step.limit, 1), "share": round(share(step), 3),
        "rate": round(found.epochs_per_second, 2), "memory_mb": round(found.memory / 1e6, 1),
        "compile_cpu_s": round(time.process_time() - start, 1), "date": time.strftime("%Y-%m-%d"),
        "jax": installed("jax"),
    }  # fmt: skip


def as_table(rows: list[dict]) -> str:
    lines = [
        "Static model of compiled programs, no accelerator at hand; `jaxsnn_mia/aot/count.py` says what it leaves out.",
        "A step of `width` models at once; the limit is bytes and products at the whole published rates. A TPU's time "
        "is a lower bound.",
        "",
        f"| target | network | width | {' | '.join(COLUMNS.values())} | jax, date |",
        f"|{'---|' * (len(COLUMNS) + 4)}",
    ]
    for one in rows:
        cells = " | ".join(f"{one[name]:,}" for name in COLUMNS)
        lines.append(f"| {one['target']} | {one['net']} | {one['width']} | {cells} | {one['jax']}, {one['date']} |")
    return "\n".join([*lines, ""])


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=["h100", "v5e:1x1"])
    parser.add_argument("--nets", nargs="+", default=list(WIDTH), choices=list(WIDTH))
    given = parser.parse_args(argv)
    wanted = [targets.parse(name) for name in given.targets]
    if not wheels.in_child():
        done = wheels.run_again(["-m", "experiments.benchmarks.forecast", *argv])
        sys.exit(done.stderr if done.returncode else print(done.stdout, end=""))
    path = RESULTS / "forecast.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    for target in wanted:
        for name in given.nets:
            made = row(name, target)
            rows = [r for r in rows if (r["target"], r["net"]) != (target.name, name)] + [made]
            rows.sort(key=lambda r: (r["target"], list(WIDTH).index(r["net"])))
            path.write_text(json.dumps(rows, indent=1) + "\n")
            path.with_suffix(".md").write_text(as_table(rows))
    print(as_table(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
