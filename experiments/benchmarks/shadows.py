"""Shadow models a second: this engine beside snnTorch's eager loop and Spyx's jitted step.

    python -m experiments.benchmarks.shadows

Two dense + LIF layers, 2,048 samples, batch 64, Adam, 20 epochs; three sizes. Ours is the whole training stage of
experiments/run.py, checkpoints and progress bar included, in steady state: a first training of a group of the same size
compiles, and that is a column of its own. The peers train one model after the other with all cores; snnTorch also as
two processes of one thread side by side, and the better of the two counts. snnTorch's models have the same neurons,
initial weights and rows as ours, so that the training losses of the last epoch must agree; Spyx's neuron spikes a step
later, and its loss is only shown.

Prediction, written before the first run: one small model after the other on each core has its data in cache and pays no
interpreter, so 50 times snnTorch and 25 times Spyx at 30-32-10, falling to 10 and 9 at 784-256-10, where the matrix
product takes most of the time on either side. Writes results/shadows.json and .md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))

import numpy as np

from experiments.benchmarks.machine import installed, processor

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[2]
NETS = {"30-32-10": (30, 32, 10), "446-256-10": (446, 256, 10), "784-256-10": (784, 256, 25)}  # features, hidden, T
TARGETS = {"30-32-10": (50, 25), "446-256-10": (15, 9), "784-256-10": (10, 9)}  # times snnTorch, times Spyx
LEAST = {"30-32-10": (42, 20), "446-256-10": (10.5, 7), "784-256-10": (6.8, 7)}
CLASSES, ROWS, BATCH, EPOCHS, BETA, RATE = 10, 2048, 64, 20, 0.9, 1e-3
COMPARED = 4  # models whose losses are compared


def arrays(net):
    """Ten overlapping classes: x [2 ROWS, D], y."""
    rng = np.random.default_rng(0)
    n, d = 2 * ROWS, NETS[net][0]
    y = np.arange(n) % CLASSES
    x = rng.normal(size=(n, d)) + rng.normal(size=(CLASSES, d))[y] * 3 / d**0.5
    return x.astype(np.float32), y


def settings(net, shadows, path):
    from jaxsnn_mia import config

    return config.from_dict({
        "data": {"name": f"npz:{path}", "standardise": "none", "population": 0.0},
        "splits": {"n_shadows": shadows},
        "model": {"hidden": (NETS[net][1],), "time_steps": NETS[net][2], "beta": BETA},
        "train": {"lr": RATE, "epochs": EPOCHS, "batch_size": BATCH},
        "attacks": {"names": ("loss",)},
    })  # fmt: skip


def ours(net, sizes):
    """{shadows: (seconds, peak MB so far)}, seconds to compile, losses [COMPARED] of the last epoch, and what the peers
    start from: rows and weights of the first models."""
    import resource

    import jax

    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    from jaxsnn_mia import models
    from jaxsnn_mia.config.specs import training_inputs
    from jaxsnn_mia.pipeline.run import run_pipeline
    from jaxsnn_mia.training.ensemble import INIT, model_key

    def train(folder, size):
        c = settings(net, size, data)
        run_pipeline(c, folder / str(size), until="splits")
        start = time.perf_counter()
        run_pipeline(c, folder / str(size), until="train")
        return time.perf_counter() - start, c

    found, compiling = {}, None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data.npz"
        np.savez(data, **dict(zip(("x", "y"), arrays(net), strict=True)))
        for size in sizes:
            first, _ = train(folder / "first", min(size, 64))  # compiles for groups of this size
            seconds, c = train(folder / "then", size)
            if compiling is None:
                compiling = max(first - seconds * min(size, 64) / size, 0.0)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            found[size] = (seconds, peak)
        history = np.load(next((folder / "then" / str(size)).glob("*/train-*/history.npz")))
        keep = np.load(next((folder / "then" / str(size)).glob("splits-*/keep.npy")))
        loaded = training_inputs(c, *arrays(net), CLASSES, keep)
        model = models.build(loaded.spec.model)
        keys = [model_key(np.uint32(0), s, INIT) for s in range(COMPARED)]
        weights = [jax.tree.map(np.asarray, model.init(key)["params"]["layers"]) for key in keys]
    start = {f"{s}/rows": np.flatnonzero(keep[s]) for s in range(COMPARED)}
    for s, layers in enumerate(weights):
        start |= {f"{s}/{i}/{part}": array for i, layer in layers.items() for part, array in layer.items()}
    return {"found": found, "compiling": compiling, "losses": history["loss"][:COMPARED, -1].tolist()}, start


def snntorch_models(net, given, threads):
    """Trains each model to the end: (seconds of each epoch, losses of the last epoch)."""
    import snntorch
    import torch

    torch.set_num_threads(threads)
    x, y = arrays(net)
    features, hidden, steps = NETS[net]
    times, losses = [], []
    for start in given:
        layers = [torch.nn.Linear(features, hidden), torch.nn.Linear(hidden, CLASSES)]
        for layer, i in zip(layers, (0, 1), strict=True):
            layer.weight.data = torch.tensor(start[f"{i}/kernel"].T.copy())
            layer.bias.data = torch.tensor(start[f"{i}/bias"].copy())
        cells = [snntorch.Leaky(beta=BETA) for _ in layers]
        optimizer = torch.optim.Adam([p for layer in layers for p in layer.parameters()], lr=RATE)
        own_x, own_y = torch.tensor(x[start["rows"]]), torch.tensor(y[start["rows"]])
        for _ in range(EPOCHS):
            begun, total = time.perf_counter(), 0.0
            for batch in torch.randperm(len(own_x)).split(BATCH):
                v1, v2 = (cell.init_leaky() for cell in cells)
                current = layers[0](own_x[batch])  # the input is the same at every step
                for _ in range(steps):
                    spikes, v1 = cells[0](current, v1)
                    _, v2 = cells[1](layers[1](spikes), v2)
                loss = torch.nn.functional.cross_entropy(v2, own_y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(batch)
            times.append(time.perf_counter() - begun)
        losses.append(total / len(own_x))
    return times, losses


def spyx_models(net, given):
    import jax
    import jax.numpy as jnp
    import optax
    import spyx
    from flax import nnx

    x, y = arrays(net)
    features, hidden, steps = NETS[net]
    rngs = nnx.Rngs(0)
    times, losses = [], []
    for start in given:
        model = spyx.nn.Sequential(
            nnx.Linear(features, hidden, rngs=rngs),
            spyx.nn.LIF((hidden,), BETA, activation=spyx.axn.arctan(), rngs=rngs),
            nnx.Linear(hidden, CLASSES, rngs=rngs), spyx.nn.LI((CLASSES,), BETA, rngs=rngs),
        )  # fmt: skip
        optimizer = nnx.Optimizer(model, optax.adam(RATE), wrt=nnx.Param)

        @nnx.jit
        def step(model, optimizer, x, y):
            def loss_fn(model):
                traces, _ = spyx.nn.run(model, jnp.broadcast_to(x, (steps, *x.shape)))
                return optax.softmax_cross_entropy_with_integer_labels(traces[-1], y).mean()

            loss, grads = nnx.value_and_grad(loss_fn)(model)
            optimizer.update(model, grads)
            return loss

        own_x, own_y = jnp.asarray(x[start["rows"]]), jnp.asarray(y[start["rows"]])
        rng = np.random.default_rng(0)
        for _ in range(EPOCHS):
            begun, total = time.perf_counter(), []
            order = rng.permutation(len(own_x))
            for at in range(0, len(own_x), BATCH):
                batch = order[at : at + BATCH]
                total.append(step(model, optimizer, own_x[batch], own_y[batch]))
            losses_now = float(jnp.stack(total).mean())
            times.append(time.perf_counter() - begun)
        losses.append(losses_now)
    jax.clear_caches()
    return times, losses


def peer(row, net, given):
    """(seconds of a model's epoch, losses)."""
    if row == "Spyx":
        times, losses = spyx_models(net, given)
    else:
        times, losses = snntorch_models(net, given, 1 if row.endswith("one thread") else os.cpu_count() or 1)
    return {"epoch_s": statistics.median(times), "losses": losses}


def starts(folder):
    """Rows and weights of each compared model, as `ours` left them."""
    with np.load(Path(folder) / "start.npz") as arrays:
        return [{key.removeprefix(f"{s}/"): arrays[key] for key in arrays if key.startswith(f"{s}/")}
                for s in range(COMPARED)]  # fmt: skip


def child(row, net, folder, *more):
    """Starts a process that runs one row and prints JSON."""
    command = [sys.executable, "-m", "experiments.benchmarks.shadows", f"--row={row}", f"--net={net}"]
    command += [f"--folder={folder}", *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def answer(process):
    out = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f"{process.args} failed with {process.returncode}; run it alone to see why.")
    return json.loads(out.splitlines()[-1])


def one_net(net, sizes, rounds):
    with tempfile.TemporaryDirectory() as folder:
        runs = {"ours": [], "snnTorch": [], "snnTorch, two processes": [], "Spyx": []}
        for _ in range(rounds):
            runs["ours"].append(answer(child("ours", net, folder, "--sizes", *map(str, sizes))))
            runs["snnTorch"].append(answer(child("snnTorch", net, folder)))
            both = [child("snnTorch, one thread", net, folder) for _ in range(2)]
            each = [answer(process)["epoch_s"] for process in both]
            runs["snnTorch, two processes"].append({"epoch_s": 1 / sum(1 / e for e in each)})
            runs["Spyx"].append(answer(child("Spyx", net, folder)))
    size = str(max(sizes))
    rate = statistics.median(int(size) * EPOCHS / run["found"][size][0] for run in runs["ours"])
    peers = {row: 1 / statistics.median(run["epoch_s"] for run in rows) for row, rows in runs.items() if row != "ours"}
    snntorch = max(peers["snnTorch"], peers["snnTorch, two processes"])
    loss, theirs = (float(np.mean([run["losses"] for run in runs[row]])) for row in ("ours", "snnTorch"))
    return {
        "net": net, "T": NETS[net][2], "rate": rate, "peers": peers, "times_snntorch": rate / snntorch,
        "times_spyx": rate / peers["Spyx"], "loss": loss, "loss_snntorch": theirs,
        "loss_spyx": float(np.mean([run["losses"] for run in runs["Spyx"]])),
        "compile_s": statistics.median(run["compiling"] for run in runs["ours"]), "runs": runs,
        "ms_per_shadow_epoch": {
            s: 1e3 * statistics.median(run["found"][str(s)][0] for run in runs["ours"]) / s / EPOCHS for s in sizes
        },
        "peak_mb": {s: statistics.median(run["found"][str(s)][1] for run in runs["ours"]) for s in sizes},
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--net", choices=NETS)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=int, nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row == "ours":
        found, start = ours(args.net, args.sizes)
        np.savez(Path(args.folder) / "start.npz", **start)
        print(json.dumps(found))
        return
    if args.row:
        print(json.dumps(peer(args.row, args.net, starts(args.folder))))
        return
    sizes = {"30-32-10": [16, 64, 256, 1024], "446-256-10": [16, 64, 256], "784-256-10": [16, 64]}
    nets = [one_net(net, sizes[net], args.rounds) for net in ([args.net] if args.net else NETS)]
    about = {
        "device": f"{processor()}, {os.cpu_count()} cores", "date": time.strftime("%Y-%m-%d"), "rounds": args.rounds,
        "versions": {name: installed(name) for name in ("jax", "flax", "optax", "snntorch", "torch", "spyx")},
        "nets": nets,
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "shadows.json").write_text(json.dumps(about, indent=1) + "\n")
    (RESULTS / "shadows.md").write_text(as_table(about))
    print(as_table(about))


def as_table(about):
    lines = [
        f"Model-epochs a second of 2,048 samples, batch 64, Adam; {about['device']}, {about['date']}; "
        + ", ".join(f"{name} {v}" for name, v in about["versions"].items())
        + f"; medians of {about['rounds']} rounds.",
        "",
        "| net | ours | snnTorch | two processes | Spyx | times snnTorch (target, least) | times Spyx (target, least) "
        "| compile s | last loss: ours, snnTorch, Spyx |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for net in about["nets"]:
        name, peers = net["net"], net["peers"]
        (goal, goal_spyx), (least, least_spyx) = TARGETS[name], LEAST[name]
        lines.append(
            f"| {name}, T={net['T']} | {net['rate']:.0f} | {peers['snnTorch']:.1f} | "
            f"{peers['snnTorch, two processes']:.1f} | {peers['Spyx']:.1f} | {net['times_snntorch']:.1f} "
            f"({goal}, {least}) | {net['times_spyx']:.1f} ({goal_spyx}, {least_spyx}) | {net['compile_s']:.1f} "
            f"| {net['loss']:.4f}, {net['loss_snntorch']:.4f}, {net['loss_spyx']:.4f} |"
        )
    lines += ["", "| net | shadows | ms per shadow and epoch | peak MB of the process so far |", "|---|---|---|---|"]
    for net in about["nets"]:
        for size, ms in net["ms_per_shadow_epoch"].items():
            lines.append(f"| {net['net']} | {size} | {ms:.2f} | {net['peak_mb'][size]:.0f} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
