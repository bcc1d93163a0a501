"""An accelerator in one command: are the results those of the CPU, what can the card do, how much of it is used.

    python -m experiments.benchmarks.gpu

Needs jax for the device, flax, optax and this checkout; compares with snnTorch where it can be imported. First one
optimiser step of every network is compared with the CPU's; then the copy bandwidth and the rates of bfloat16 and TF32
products are measured; then S models are trained at once (a vmap of S) on 2,048 samples in batches of 64 (images: 128),
S = 1, 8, 64, 256, 1024, as far as memory and the minutes go. The share of the roofline is the least time that the
FLOPs (counted by `probe.flops`) and bytes need at the measured rates over the time taken; bytes are 28 for each
parameter and step (Adam reads parameter, two moments and gradient and writes three) and 24 for each neuron and time
step (spike, membrane and spike cotangent, each written and read). These bytes are no bound: a program that is written
out moves fewer. Beside the measured rate stands the one that results/forecast.json predicts for this device.

Prediction, written before the first run: small networks are launch-bound, so that model-epochs a second grow with S
until about 256; 256 models of 784-256-10 at T=25 pass 500 times snnTorch and half of the memory roofline; grouped
convolutions stay below a third of it. Writes results/gpu.json and .md on a GPU. Elsewhere it writes a table that says
"unmeasured" where there is none yet, and with `--cpu` prints what the CPU does, a check of the command itself.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.machine import installed, processor
from jaxsnn_mia.aot import targets
from jaxsnn_mia.models import Hyper, ModelSpec, QuantSpec
from jaxsnn_mia.training import probe as probing
from jaxsnn_mia.training.ensemble import Shadows, make_ensemble
from jaxsnn_mia.training.probe import is_out_of_memory
from jaxsnn_mia.training.step import TrainSpec, make_train

RESULTS = Path(__file__).parent / "results"
ROWS, CLASSES, BETA = 2048, 10, 0.9
SIZES = (1, 8, 64, 256, 1024)
BFLOAT = QuantSpec(compute="bfloat16")


def dense(features, hidden, steps):
    return ModelSpec("snn", (features,), CLASSES, hidden=(hidden,), time_steps=steps), 64, "float32"


def images(architecture, hidden=(), shape=(32, 32, 3)):
    return ModelSpec("ann", shape, CLASSES, hidden=hidden, architecture=architecture, quant=BFLOAT), 128, "bfloat16"


CASES = {
    "30-32-10, T=10": dense(30, 32, 10),
    "446-256-10, T=10": dense(446, 256, 10),
    "784-256-10, T=25": dense(784, 256, 25),
    "convnet, 28x28, bfloat16": images("convnet", (1000,), (28, 28, 1)),
    "resnet18, 32x32, bfloat16": images("resnet18"),
}
TORCH = {"30-32-10, T=10": (30, 32, 10), "446-256-10, T=10": (446, 256, 10), "784-256-10, T=25": (784, 256, 25)}


def spec_of(name, rows):
    model, batch, precision = CASES[name]
    return TrainSpec(model, epochs=1, batch_size=min(batch, rows), rows=rows, precision=precision)


def data_of(spec):
    """Overlapping classes, in the shape of a model's input."""
    rng = np.random.default_rng(0)
    n, shape = 2 * spec.rows, spec.model.in_shape
    y = np.arange(n) % CLASSES
    x = rng.normal(size=(n, *shape)) + rng.normal(size=(CLASSES, *shape))[y] * 3 / np.prod(shape) ** 0.5
    return x.astype(np.float32), y.astype(np.int32)


def shadows(spec, count):
    rng = np.random.default_rng(1)
    rows = np.stack([rng.choice(2 * spec.rows, spec.rows, replace=False) for _ in range(count)]).astype(np.int32)
    hyper = Hyper(**{**Hyper()._asdict(), "beta": BETA})
    hyper = Hyper(*[np.full(count, value, np.float32) for value in hyper])
    return Shadows(np.arange(count, dtype=np.int32), hyper, (rows, np.ones(rows.shape, np.float32)))


def engine(spec, width, device):
    return make_ensemble(spec, seed=0, width=width, devices=[device])


def difference(name, device):
    """The largest relative difference, over a model's parameters, of one step here from one step on the CPU."""
    batch = CASES[name][1]
    spec = dataclasses.replace(spec_of(name, batch), precision="float32", optimizer="sgd")
    spec = dataclasses.replace(spec, model=dataclasses.replace(spec.model, quant=QuantSpec()))
    data, two = data_of(spec), shadows(spec, 2)
    found = []
    for where in (device, jax.devices("cpu")[0]):
        with jax.default_device(where):
            made = engine(spec, 2, where)
            found.append(jax.device_get(made.run(made.init(two, data), two, data, 0, 1).state.params))
    pairs = zip(*map(jax.tree.leaves, found), strict=True)
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-6)) for a, b in pairs)


def median_seconds(call, repeats=5):
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def ceilings(size):
    """Copy bandwidth in bytes a second, and FLOPs a second of products in bfloat16 and TF32."""
    x = jnp.ones(size * size * 16, jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    found = {"copy": 2 * x.nbytes / median_seconds(lambda: jax.block_until_ready(copy(x)))}
    for name, dtype, precision in (("bfloat16", jnp.bfloat16, None), ("tf32", jnp.float32, "tensorfloat32")):
        a = jax.random.normal(jax.random.key(0), (size, size), dtype)
        product = jax.jit(partial(jnp.matmul, precision=precision))
        found[name] = 2 * size**3 / median_seconds(lambda a=a, f=product: jax.block_until_ready(f(a, a)))
    return found


def step_costs(spec):
    """(FLOPs, least bytes) of one model's step."""
    train, hyper = make_train(spec), Hyper()
    data = data_of(dataclasses.replace(spec, rows=spec.batch_size))
    state = jax.eval_shape(lambda: train.init(jax.random.key(0), hyper, None, data))
    batch = (np.zeros(spec.batch_size, np.int32), np.ones(spec.batch_size, np.float32))
    graph = jax.make_jaxpr(lambda s: train.step(s, batch, data, hyper, jax.random.key(0)))(state)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params["params"]))
    model = spec.model
    neurons = (sum(model.hidden) + model.n_classes) * model.time_steps * spec.batch_size if model.family == "snn" else 0
    return probing.flops(graph.jaxpr), 28.0 * parameters + 24.0 * neurons


def one_size(name, count, rows, device, ceiling):
    """A row of the table: `count` models at once."""
    spec = spec_of(name, rows)
    data, some = jax.device_put(data_of(spec), device), shadows(spec, count)
    made = engine(spec, count, device)
    start = time.perf_counter()
    group = jax.block_until_ready(made.init(some, data))
    memory = made.memory(group, some, data)
    compiling = time.perf_counter() - start

    def epoch():  # a run takes the memory of the models that it is given
        nonlocal group
        group = jax.block_until_ready(made.run(group, some, data, 0, 1))

    seconds = median_seconds(epoch, repeats=3)
    flops, least = step_costs(spec)
    steps = count * spec.steps_per_epoch
    peak = ceiling["bfloat16" if CASES[name][2] == "bfloat16" else "tf32"]
    needed = max(steps * flops / peak, steps * least / ceiling["copy"])
    return {
        "net": name, "S": count, "rate": count / seconds, "roofline": needed / seconds, "compile_s": compiling,
        "memory_gb": memory / 1e9, "tflops": steps * flops / seconds / 1e12,
        "predicted": predicted(device, name, count),
    }  # fmt: skip


def predicted(device, name, count):
    """Model-epochs a second of results/forecast.json for this kind of device; None where that has no such row."""
    path = RESULTS / "forecast.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    of_device = [r for r in rows if targets.parse(r["target"]).chip.kind == device.device_kind]
    return next((r["rate"] for r in of_device if (r["net"], r["width"]) == (name, count)), None)


def snntorch_rate(name, rows, seconds):
    """Model-epochs a second of snnTorch's eager loop, one model after the other, on its CUDA device; None without."""
    try:
        import snntorch
        import torch
    except ImportError:
        return None
    where = "cuda" if torch.cuda.is_available() else "cpu"
    features, hidden, steps = TORCH[name]
    x, y = (torch.tensor(a, device=where) for a in data_of(spec_of(name, rows)))
    y = y.long()
    layers = [torch.nn.Linear(features, hidden).to(where), torch.nn.Linear(hidden, CLASSES).to(where)]
    cells = [snntorch.Leaky(beta=BETA).to(where) for _ in layers]
    optimizer = torch.optim.Adam([p for layer in layers for p in layer.parameters()], lr=1e-3)

    def epoch():
        for batch in torch.randperm(rows, device=where).split(64):
            v1, v2 = (cell.init_leaky() for cell in cells)
            current = layers[0](x[batch])
            for _ in range(steps):
                spikes, v1 = cells[0](current, v1)
                _, v2 = cells[1](layers[1](spikes), v2)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(v2, y[batch]).backward()
            optimizer.step()
        if where == "cuda":
            torch.cuda.synchronize()

    epoch()
    times, begun = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        epoch()
        times.append(time.perf_counter() - start)
    return 1 / statistics.median(times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=400.0, help="after this nothing new is started")
    parser.add_argument("--rows", type=int, default=ROWS, help="training rows of a model")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--nets", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--product", type=int, default=8192, help="side of the products that measure the ceilings")
    parser.add_argument("--cpu", action="store_true", help="without an accelerator: run on the CPU and print")
    args = parser.parse_args()
    if jax.default_backend() == "cpu" and not args.cpu:
        table = RESULTS / "gpu.md"
        if not table.exists():
            table.write_text(unmeasured())
        sys.exit(f"error: jax finds no accelerator here; {table} stays as it is. Pass --cpu to run on the CPU.")
    begun, device = time.perf_counter(), jax.devices()[0]
    about = {
        "device": device.device_kind if device.platform != "cpu" else processor(), "date": time.strftime("%Y-%m-%d"),
        "versions": {name: installed(name) for name in ("jax", "jaxlib", "flax", "optax", "snntorch", "torch")},
        "ceilings": ceilings(args.product), "difference": {}, "rows": [], "snntorch": {}, "left_out": [],
    }  # fmt: skip
    for name in args.nets:
        about["difference"][name] = difference(name, device)
        if name in TORCH:
            about["snntorch"][name] = snntorch_rate(name, args.rows, 5.0)
        for count in args.sizes:
            if time.perf_counter() - begun > args.seconds * (args.nets.index(name) + 1) / len(args.nets):
                about["left_out"].append(f"{name}, S={count}: no time left")
                continue
            try:
                about["rows"].append(one_size(name, count, args.rows, device, about["ceilings"]))
            except jax.errors.JaxRuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                about["left_out"].append(f"{name}, S={count}: out of memory")
            print(about["rows"][-1:], flush=True)
    if device.platform == "gpu":
        (RESULTS / "gpu.json").write_text(json.dumps(about, indent=1) + "\n")
        (RESULTS / "gpu.md").write_text(as_table(about))
    print(as_table(about))


def unmeasured():
    """The table where no accelerator was ever at hand."""
    lines = [f"No accelerator was at hand up to {time.strftime('%Y-%m-%d')}: every row is unmeasured.", "",
             "| network | S | model-epochs a second | share of the roofline | times snnTorch, one by one |",
             "|---|---|---|---|---|"]  # fmt: skip
    lines += [f"| {name} | {count} | unmeasured | unmeasured | unmeasured |" for name in CASES for count in SIZES]
    goal = f"| 256 ResNet-18 on CIFAR-10 (`experiments/configs/cifar10_resnet.py`) | 256 {'| unmeasured ' * 3}|"
    return "\n".join([*lines, goal, ""])


def as_table(about):
    ceiling = about["ceilings"]
    lines = [
        f"{about['device']}, {about['date']}, "
        + ", ".join(f"{name} {v}" for name, v in about["versions"].items() if v)
        + f". Copy {ceiling['copy'] / 1e9:.0f} GB/s, bfloat16 {ceiling['bfloat16'] / 1e12:.1f} and TF32 "
        f"{ceiling['tf32'] / 1e12:.1f} TFLOP/s.",
        "",
        "| network | S | model-epochs a second | predicted | share of the roofline | TFLOP/s "
        "| times snnTorch, one by one | memory GB | compile s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in about["rows"]:
        peer = about["snntorch"].get(row["net"])
        lines.append(
            f"| {row['net']} | {row['S']} | {row['rate']:.3g} | "
            f"{format(row['predicted'], '.3g') if row['predicted'] else ''} | {100 * row['roofline']:.1f} % | "
            f"{row['tflops']:.3g} | "
            f"{format(row['rate'] / peer, '.0f') if peer else ''} | {row['memory_gb']:.2f} | {row['compile_s']:.1f} |"
        )
    lines += ["", *(f"- Left out: {what}." for what in about["left_out"])]
    lines += [
        f"- {name}: parameters after one step differ from the CPU's by {value:.1e} of the largest."
        for name, value in about["difference"].items()
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
