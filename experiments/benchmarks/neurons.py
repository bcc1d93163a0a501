"""Forward and backward of LIF neurons: this project's plain, fused and Pallas versions beside Spyx, snnTorch and
SpikingJelly.

    python -m experiments.benchmarks.neurons                  # LIF alone, and after an n x n product
    python -m experiments.benchmarks.neurons --full_size      # n=16384, B=16, T=500, for a GPU

Prediction, written before the first run: a LIF forward and backward is bound by memory; the fused one moves 24 to 28
bytes per neuron-step and should take half or less of what autodiff of the plain scan takes, and a tenth of snnTorch,
which launches several operations per step. Every row differentiates the sum of the spikes (weighted) and the mean
squared membrane with respect to the input (and the matrix), beta and threshold, where the library lets them be learned.

Each row runs in a process of its own; the rows take turns for `--rounds` rounds. Times are medians of synchronised
repeats over all rounds: as a user would run it, where what counts is often the pages that the C library returns to the
system and must fault in again for every call, and with the C library told to keep its pages (glibc's MALLOC_ settings,
the same for every row). "peak MB" is what the process's resident memory rose above that before the first call (on a
GPU: the device's own count), "temporary MB" what XLA's plan of the program needs beside arguments and results. A
library that is not installed is named and left out. Writes results/neurons*.json and .md.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))

import numpy as np

from experiments.benchmarks.machine import installed, processor

KEEP_PAGES = {
    "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "8000000000", "MALLOC_TOP_PAD_": "64000000",
    "MALLOC_ARENA_MAX": "1",
}  # fmt: skip
RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[2]
BETA, THRESHOLD = 0.9, 1.0
ROWS = ("plain scan, autodiff", "fused", "Pallas", "Spyx", "snnTorch", "SpikingJelly")
MODULES = {"Spyx": "spyx", "snnTorch": "snntorch", "SpikingJelly": "spikingjelly"}


def arrays(args):
    rng = np.random.default_rng(0)
    shape = (args.T, args.batch, args.n)
    matrix = rng.normal(0, 0.05, (args.n, args.n)) if args.linear else np.zeros((1, 1))
    return [a.astype(np.float32) for a in (rng.normal(0.3, 0.5, shape), rng.normal(0, 1, shape), matrix)]


def jax_call(run, x, weight, matrix, linear):
    """(call, temporary bytes) of a jitted forward and backward of run(x, beta, threshold) -> (spikes, membrane)."""
    import jax
    import jax.numpy as jnp

    def loss(x, beta, threshold, matrix, weight):
        spikes, membrane = run(x @ matrix if linear else x, beta, threshold)
        return (spikes * weight).sum() + 0.3 * (membrane**2).mean()

    wanted = (0, 1, 2, 3) if linear else (0, 1, 2)
    args = [jnp.asarray(a) for a in (x, np.float32(BETA), np.float32(THRESHOLD), matrix, weight)]
    compiled = jax.jit(jax.grad(loss, wanted)).lower(*args).compile()
    return lambda: jax.block_until_ready(compiled(*args)), compiled.memory_analysis().temp_size_in_bytes


def ours(method):
    from jaxsnn_mia.kernels import neuron, surrogate

    def run(x, beta, threshold):
        return neuron.lif(x, beta=beta, threshold=threshold, spike=surrogate.arctan(), method=method)

    return run


def spyx_run(n):
    """Spyx's LIF in a scan; its threshold is a constant, and its membrane is the state."""
    import jax
    import jax.numpy as jnp
    import spyx
    from flax import nnx

    cell = spyx.nn.LIF((n,), BETA, THRESHOLD, spyx.axn.arctan(), rngs=nnx.Rngs(0))
    graph, state = nnx.split(cell)

    def run(x, beta, threshold):
        layer = nnx.merge(graph, jax.tree.map(lambda _: beta, state))

        def step(v, x):
            spikes, v = layer(x, v)
            return v, (spikes, v)

        return jax.lax.scan(step, jnp.zeros_like(x[0]), x)[1]

    return run


def torch_call(make, x, weight, matrix, linear):
    """(call, None) of an eager torch forward and backward; make(device) -> step function of a whole sequence."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    inputs = torch.tensor(x, device=device, requires_grad=True)
    product = torch.tensor(matrix, device=device, requires_grad=True)
    weights = torch.tensor(weight, device=device)
    run = make(torch, device)

    def call():
        spikes, membrane = run(inputs @ product if linear else inputs)
        ((spikes * weights).sum() + 0.3 * (membrane**2).mean()).backward()
        if device == "cuda":
            torch.cuda.synchronize()

    return call, None


def snntorch_run(torch, device):
    import snntorch

    cell = snntorch.Leaky(beta=BETA, threshold=THRESHOLD, learn_beta=True, learn_threshold=True).to(device)

    def run(x):
        v, spikes, membranes = cell.init_leaky(), [], []
        for current in x:
            s, v = cell(current, v)
            spikes.append(s)
            membranes.append(v)
        return torch.stack(spikes), torch.stack(membranes)

    return run


def spikingjelly_run(torch, device):
    from spikingjelly.activation_based import functional
    from spikingjelly.activation_based import neuron as sj
    from spikingjelly.activation_based import surrogate as sj_surrogate

    tau = 1 / (1 - BETA)
    cell = sj.LIFNode(
        tau=tau, decay_input=False, v_threshold=THRESHOLD, v_reset=None, detach_reset=True,
        surrogate_function=sj_surrogate.ATan(), step_mode="m", store_v_seq=True,
    ).to(device)  # fmt: skip
    if device == "cuda" and "triton" in cell.supported_backends:
        cell.backend = "triton"

    def run(x):
        functional.reset_net(cell)
        return cell(x), cell.v_seq

    return run


def call_of(row, args):
    """(call, temporary bytes or None) of one row."""
    data = (*arrays(args), args.linear)
    methods = {"plain scan, autodiff": "plain", "fused": "fused", "Pallas": "pallas"}
    if row in methods:
        return jax_call(ours(methods[row]), *data)
    if row == "Spyx":
        return jax_call(spyx_run(args.n), *data)
    return torch_call(snntorch_run if row == "snnTorch" else spikingjelly_run, *data)


def measure(row, args):
    """What one process finds: times in seconds, bytes, device; printed as JSON for the process that asked."""
    call, temporary = call_of(row, args)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    times = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    peak = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    print(json.dumps({"times": times, "temporary": temporary, "peak": device_peak() or peak}))


def device_peak():
    """Peak bytes on the accelerator, or None on a CPU."""
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        return sys.modules["torch"].cuda.max_memory_allocated()
    if "jax" in sys.modules:
        return (sys.modules["jax"].devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return None


def main():
    parser = argparse.ArgumentParser()
    for name, default in (("T", 25), ("batch", 128), ("n", 1024), ("repeats", 25), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--full_size", action="store_true", help="n=16384, B=16, T=500")
    parser.add_argument("--linear", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.full_size:
        args.T, args.batch, args.n = 500, 16, 16384
    if args.row:
        measure(args.row, args)
        return
    for args.linear in (False, True):
        report(args)


def report(args):
    """All rows at one size, in turns; their tables on disk and on the screen."""
    gpu, device = on_gpu()
    found = {row: ([], []) for row in ROWS if (gpu or row != "Pallas") and installed(MODULES.get(row, "jax"))}
    for _ in range(args.rounds):
        for row, (runs, kept) in found.items():
            runs.append(in_a_process(row, args, {}))
            kept.append(in_a_process(row, args, KEEP_PAGES))
    steps = args.T * args.batch * args.n
    rows = [summary(row, *runs, steps) for row, runs in found.items()]
    about = {
        "size": {"T": args.T, "batch": args.batch, "n": args.n, "linear": args.linear},
        "device": f"{device}, {os.cpu_count()} cores, {platform.machine()}",
        "date": time.strftime("%Y-%m-%d"),
        "versions": {name: v for name in ("jax", *MODULES.values(), "torch") if (v := installed(name))},
        "missing": [row for row in ROWS if row not in found],
    }
    RESULTS.mkdir(exist_ok=True)
    where = RESULTS / ("neurons" + "_full_size" * args.full_size + "_gpu" * gpu + "_linear" * args.linear)
    where.with_suffix(".json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    where.with_suffix(".md").write_text(as_table(about, rows))
    print(as_table(about, rows))


def on_gpu():
    """(whether jax runs on a GPU here, the device's name), asked of another process: this one must hold no device."""
    code = "import jax; d = jax.devices()[0]; print(d.platform, d.device_kind, sep='|')"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    backend, kind = shown.strip().splitlines()[-1].split("|")
    return backend == "gpu", f"{kind} ({processor()})" if backend == "cpu" else kind


def in_a_process(row, args, settings):
    command = [sys.executable, "-m", "experiments.benchmarks.neurons", f"--row={row}", f"--T={args.T}"]
    command += [f"--batch={args.batch}", f"--n={args.n}", f"--repeats={args.repeats}"]
    if args.linear:
        command.append("--linear")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ | settings)
    return json.loads(done.stdout.splitlines()[-1])


def summary(row, runs, kept, steps):
    temporary = runs[0]["temporary"]
    medians = {"": timing(runs), "_pages_kept": timing(kept)}
    return {
        "row": row,
        **{name + how: value for how, times in medians.items() for name, value in times.items()},
        "neuron_steps_per_second": steps / (1e-3 * medians[""]["median_ms"]),
        "temporary_mb": temporary and temporary / 1e6,
        "peak_mb": statistics.median(run["peak"] for run in runs) / 1e6,
    }


def timing(runs):
    """Milliseconds: over all repeats, and of each round."""
    times = [1e3 * t for run in runs for t in run["times"]]
    rounds = [1e3 * statistics.median(run["times"]) for run in runs]
    return {"median_ms": statistics.median(times), "min_ms": min(times), "median_ms_of_each_round": rounds}


def as_table(about, rows):
    size = about["size"]
    lines = [
        f"LIF forward and backward, [T={size['T']}, B={size['batch']}, n={size['n']}]"
        f"{', after an n x n product' if size['linear'] else ''}, float32, {about['device']}, {about['date']}; "
        + ", ".join(f"{name} {v}" for name, v in about["versions"].items()),
        "",
        "| row | median ms (of each round) | times the fused | ms, pages kept | times the fused | neuron-steps/s "
        "| peak MB | temporary MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    fused = next(row for row in rows if row["row"] == "fused")
    for row in rows:
        temporary = "" if row["temporary_mb"] is None else f"{row['temporary_mb']:.1f}"
        times = " | ".join(shown(row, fused, how) for how in ("", "_pages_kept"))
        lines.append(
            f"| {row['row']} | {times} | {row['neuron_steps_per_second']:.2e} | {row['peak_mb']:.0f} | {temporary} |"
        )
    lines += [f"| {name} | unmeasured here: needs a GPU or its library |" + " |" * 6 for name in about["missing"]]
    return "\n".join([*lines, ""])


def shown(row, fused, how):
    """Median of all repeats, span of the rounds' medians, and how many times the fused."""
    median, rounds = row[f"median_ms{how}"], row[f"median_ms_of_each_round{how}"]
    return f"{median:.1f} ({min(rounds):.1f} to {max(rounds):.1f}) | {median / fused[f'median_ms{how}']:.2f}"


if __name__ == "__main__":
    main()
