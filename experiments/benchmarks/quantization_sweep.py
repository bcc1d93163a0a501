"""A sweep over five bit widths as one ensemble, beside five separate runs.

    python -m experiments.benchmarks.quantization_sweep

Prediction, written before the first run: on CPUs the arithmetic is the same, shadow after shadow, so one ensemble saves
the start of four processes and four compilations of each program, a few seconds per family, and its checkpoints cost
the same; together a tenth to a third less than the five separate runs.

64 shadows on digits for each width and family, all stages up to training. Each side is timed as whole processes, in
turns, and by the seconds that its training stages took. Writes results/quantization_sweep.json and .md.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from experiments.benchmarks.machine import processor

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
BITS = (32, 16, 8, 4, 2)


def run(workdir, *flags):
    """Seconds of a whole process that ends after training."""
    command = [sys.executable, str(ROOT / "experiments/run.py"), "--stage=train", f"--workdir={workdir}",
               f"--config={ROOT / 'experiments/configs/quickstart.py'}", "--config.sweep.dataset=()"]  # fmt: skip
    start = time.perf_counter()
    subprocess.run([*command, *flags], check=True, capture_output=True)
    return time.perf_counter() - start


def training_seconds(workdir):
    """Seconds of the training stages; members of one ensemble share theirs."""
    manifests = [json.loads(path.read_text()) for path in Path(workdir).glob("*/train-*/manifest.json")]
    return sum({tuple(m["members"]): m["seconds"] for m in manifests}.values())


def one_round(family, shadows):
    """(process seconds, training seconds) of the sweep and of the separate runs."""
    common = [f"--config.sweep.family=('{family}',)", f"--config.splits.n_shadows={shadows}"]
    with tempfile.TemporaryDirectory() as folder:
        whole = run(f"{folder}/sweep", *common, f"--config.sweep.bits={BITS}")
        parts = [run(f"{folder}/{b}", *common, f"--config.quantization.bits={b}") for b in BITS]
        trained = [training_seconds(f"{folder}/{name}") for name in ("sweep", *BITS)]
    return {"sweep": (whole, trained[0]), "separate": (sum(parts), sum(trained[1:]))}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shadows", type=int, default=64)
    args = parser.parse_args()
    rows = []
    for family in ("ann", "snn"):
        rounds = [one_round(family, args.shadows) for _ in range(args.rounds)]
        for side in ("sweep", "separate"):
            processes, trained = zip(*(r[side] for r in rounds), strict=True)
            rows.append({"family": family, "side": side, "process_s": processes, "training_s": trained,
                         "median_process_s": statistics.median(processes),
                         "median_training_s": statistics.median(trained)})  # fmt: skip
    about = {
        "shadows": args.shadows, "bits": BITS, "rounds": args.rounds, "date": time.strftime("%Y-%m-%d"),
        "device": f"{processor()}, {os.cpu_count()} cores", "python": platform.python_version(),
        "jax": version("jax"), "rows": rows,
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "quantization_sweep.json").write_text(json.dumps(about, indent=1) + "\n")
    (RESULTS / "quantization_sweep.md").write_text(as_table(about))
    print(as_table(about))


def as_table(about):
    lines = [
        f"{about['shadows']} shadows on digits at each of {about['bits']} bits of the weights, up to training; "
        f"{about['device']}, Python {about['python']}, jax {about['jax']}, {about['date']}, medians of "
        f"{about['rounds']} rounds.",
        "",
        "| family | | whole processes, s | training stages, s |",
        "|---|---|---|---|",
    ]
    for row in about["rows"]:
        how = "one ensemble" if row["side"] == "sweep" else "five separate runs"
        lines.append(
            f"| {row['family']} | {how} | {row['median_process_s']:.1f} | {row['median_training_s']:.1f} "
            f"({min(row['training_s']):.1f} to {max(row['training_s']):.1f}) |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
