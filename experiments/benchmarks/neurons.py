"""Forward and backward of LIF neurons: this project's plain and fused scans beside Spyx, snnTorch and SpikingJelly.

    python experiments/benchmarks/neurons.py [--T=25 --batch=128 --n=1024] [--linear]

Prediction, written before the first run: a LIF forward and backward is bound by memory; the fused one moves 24 to 28
bytes per neuron-step and should take half or less of what autodiff of the plain scan takes, and a tenth of snnTorch,
which launches several operations per step. Every row differentiates the sum of the spikes (weighted) and the mean
squared membrane with respect to the input, beta and threshold where the library lets them be learned. Medians of
synchronised repeats in one process, the rows in turn; peers that are not installed are left out and named.
Writes results/neurons.json and results/neurons.md.
"""

import argparse
import json
import os
import platform
import statistics
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.kernels import neuron, surrogate

RESULTS = Path(__file__).parent / "results"
BETA, THRESHOLD = 0.9, 1.0


def arrays(args):
    rng = np.random.default_rng(0)
    shape = (args.T, args.batch, args.n)
    x = rng.normal(0.3, 0.5, shape).astype(np.float32)
    return x, rng.normal(0, 1, shape).astype(np.float32), rng.normal(0, 0.05, (args.n, args.n)).astype(np.float32)


def jax_row(run, x, weight, matrix, linear):
    """(call, temporary bytes) of a jitted forward and backward of run(x, beta, threshold) -> (spikes, membrane)."""

    def loss(x, beta, threshold, matrix, weight):
        spikes, membrane = run(x @ matrix if linear else x, beta, threshold)
        return (spikes * weight).sum() + 0.3 * (membrane**2).mean()

    wanted = (0, 1, 2, 3) if linear else (0, 1, 2)
    args = [jnp.asarray(a) for a in (x, np.float32(BETA), np.float32(THRESHOLD), matrix, weight)]
    compiled = jax.jit(jax.grad(loss, wanted)).lower(*args).compile()
    memory = compiled.memory_analysis()
    return lambda: jax.block_until_ready(compiled(*args)), memory.temp_size_in_bytes


def ours(method):
    def run(x, beta, threshold):
        return neuron.lif(x, beta=beta, threshold=threshold, spike=surrogate.arctan(), method=method)

    return run


def spyx_row(x, weight, matrix, linear):
    """Spyx's LIF in a scan; its threshold is a constant, and its membrane is the state."""
    import spyx
    from flax import nnx

    cell = spyx.nn.LIF((x.shape[2],), BETA, THRESHOLD, spyx.axn.arctan(), rngs=nnx.Rngs(0))
    graph, state = nnx.split(cell)

    def run(x, beta, threshold):
        layer = nnx.merge(graph, jax.tree.map(lambda _: beta, state))

        def step(v, x):
            spikes, v = layer(x, v)
            return v, (spikes, v)

        return jax.lax.scan(step, jnp.zeros_like(x[0]), x)[1]

    return jax_row(run, x, weight, matrix, linear)


def torch_row(make, x, weight, matrix, linear):
    """(call, None) of an eager torch forward and backward; make() -> step function of a whole sequence."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    inputs = torch.tensor(x, requires_grad=True)
    product = torch.tensor(matrix, requires_grad=True)
    weights = torch.tensor(weight)
    run = make(torch)

    def call():
        spikes, membrane = run(inputs @ product if linear else inputs)
        ((spikes * weights).sum() + 0.3 * (membrane**2).mean()).backward()

    return call, None


def snntorch_run(torch):
    import snntorch

    cell = snntorch.Leaky(beta=BETA, threshold=THRESHOLD, learn_beta=True, learn_threshold=True)

    def run(x):
        v, spikes, membranes = cell.init_leaky(), [], []
        for current in x:
            s, v = cell(current, v)
            spikes.append(s)
            membranes.append(v)
        return torch.stack(spikes), torch.stack(membranes)

    return run


def spikingjelly_run(torch):
    from spikingjelly.activation_based import functional
    from spikingjelly.activation_based import neuron as sj
    from spikingjelly.activation_based import surrogate as sj_surrogate

    tau = 1 / (1 - BETA)
    cell = sj.LIFNode(
        tau=tau, decay_input=False, v_threshold=THRESHOLD, v_reset=None, detach_reset=True,
        surrogate_function=sj_surrogate.ATan(), step_mode="m", store_v_seq=True,
    )  # fmt: skip

    def run(x):
        functional.reset_net(cell)
        return cell(x), cell.v_seq

    return run


def timed(call, repeats):
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def main():
    parser = argparse.ArgumentParser()
    for name, default in (("T", 25), ("batch", 128), ("n", 1024), ("repeats", 25), ("rounds", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--linear", action="store_true", help="an n x n product before the neurons")
    args = parser.parse_args()
    x, weight, matrix = arrays(args)
    makers = {
        "plain scan, autodiff": lambda: jax_row(ours("plain"), x, weight, matrix, args.linear),
        "fused": lambda: jax_row(ours("fused"), x, weight, matrix, args.linear),
        "Spyx": lambda: spyx_row(x, weight, matrix, args.linear),
        "snnTorch": lambda: torch_row(snntorch_run, x, weight, matrix, args.linear),
        "SpikingJelly": lambda: torch_row(spikingjelly_run, x, weight, matrix, args.linear),
    }
    calls, missing = {}, {}
    for name, make in makers.items():
        try:
            calls[name] = make()
        except ImportError as error:
            missing[name] = str(error)
    times = {name: [] for name in calls}
    for _ in range(args.rounds):
        for name, (call, _) in calls.items():
            times[name] += timed(call, args.repeats)
    steps = args.T * args.batch * args.n
    rows = [
        {"row": name, "median_ms": 1e3 * statistics.median(times[name]), "min_ms": 1e3 * min(times[name]),
         "neuron_steps_per_second": steps / statistics.median(times[name]), "temporary_mb": memory and memory / 1e6}
        for name, (_, memory) in calls.items()
    ]  # fmt: skip
    about = {
        "size": {"T": args.T, "batch": args.batch, "n": args.n, "linear": args.linear},
        "device": f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, {platform.machine()}",
        "date": time.strftime("%Y-%m-%d"),
        "versions": {
            name: v for name in ("jax", "spyx", "torch", "snntorch", "spikingjelly") if (v := installed(name))
        },
        "missing": missing,
        "gpu": "unmeasured" if jax.default_backend() == "cpu" else "this run",
    }
    RESULTS.mkdir(exist_ok=True)
    name = "neurons_linear" if args.linear else "neurons"
    (RESULTS / f"{name}.json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(as_table(about, rows))
    print(as_table(about, rows))


def installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def as_table(about, rows):
    size = about["size"]
    fused = next(row["median_ms"] for row in rows if row["row"] == "fused")
    lines = [
        f"LIF forward and backward, [T={size['T']}, B={size['batch']}, n={size['n']}]"
        f"{', after an n x n product' if size['linear'] else ''}, float32, {about['device']}, {about['date']}; "
        + ", ".join(f"{name} {v}" for name, v in about["versions"].items()),
        "",
        "| row | median ms | times the fused | neuron-steps/s | temporary MB |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        memory = "" if row["temporary_mb"] is None else f"{row['temporary_mb']:.1f}"
        lines.append(
            f"| {row['row']} | {row['median_ms']:.1f} | {row['median_ms'] / fused:.2f} | "
            f"{row['neuron_steps_per_second']:.2e} | {memory} |"
        )
    return "\n".join([*lines, f"| GPU | {about['gpu']} | | | |", ""])


if __name__ == "__main__":
    main()
