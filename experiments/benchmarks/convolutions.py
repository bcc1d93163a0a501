"""Ensembles of convolutional networks: four ways to take one training step of S models.

    python -m experiments.benchmarks.convolutions

A vmap over models turns XLA's convolution into a grouped one; shifted slices and a matrix product become a batched
product; lax.map takes one model after the other with either. Prediction, written before the first run: on CPUs slices
beat the library by several times inside lax.map, as they did in a prototype (65 against 739 ms), and lax.map beats vmap
once a model's activations fill the cache; on GPUs the grouped convolution is slow in its backward, and the order of the
other three is open.

Forward and backward of the whole network on images [B, 32, 32, 3] (the small net also at [28, 28, 1]), float32, the
ways in turns. Writes results/convolutions.json and .md (convolutions_gpu on a GPU).
"""

import argparse
import json
import os
import statistics
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.benchmarks.machine import processor
from jaxsnn_mia import models
from jaxsnn_mia.kernels import convolution
from jaxsnn_mia.models import Hyper, ModelSpec

RESULTS = Path(__file__).parent / "results"
CASES = {
    "convnet, 28x28": (ModelSpec("ann", (28, 28, 1), 10, hidden=(1000,), architecture="convnet"), 64),
    "convnet, 32x32": (ModelSpec("ann", (32, 32, 3), 10, hidden=(1000,), architecture="convnet"), 64),
    "resnet8, 32x32": (ModelSpec("ann", (32, 32, 3), 10, hidden=(), architecture="resnet8"), 64),
    "resnet18, 32x32": (ModelSpec("ann", (32, 32, 3), 10, hidden=(), architecture="resnet18"), 16),
}
WAYS = {
    "vmap, library (grouped convolution)": ("vmap", "library"),
    "vmap, slices (batched product)": ("vmap", "slices"),
    "lax.map, library": ("map", "library"),
    "lax.map, slices": ("map", "slices"),
}


def call_of(spec, batch, how, method, n_models):
    """A compiled forward and backward of `n_models` models, and its seconds to compile."""
    given = convolution.conv
    convolution.conv = partial(given, method=method)
    try:
        model = models.build(spec)
        params = jax.vmap(model.init)(jax.random.split(jax.random.key(0), n_models))
        x = jnp.asarray(np.random.default_rng(0).normal(size=(batch, *spec.in_shape)), jnp.float32)

        def gradient(params):
            def loss(trained):
                out = model.apply(params | {"params": trained}, x, Hyper(), jax.random.key(0), train=True)
                return jax.nn.logsumexp(out.logits_bc, 1).mean()

            return jax.grad(loss)(params["params"])

        lifted = jax.vmap(gradient) if how == "vmap" else lambda params: lax.map(gradient, params)
        start = time.perf_counter()
        compiled = jax.jit(lifted).lower(params).compile()
        return lambda: jax.block_until_ready(compiled(params)), time.perf_counter() - start
    finally:
        convolution.conv = given


def one_case(name, n_models, repeats):
    spec, batch = CASES[name]
    calls = {way: call_of(spec, batch, *WAYS[way], n_models) for way in WAYS}
    times = {way: [] for way in WAYS}
    for i in range(repeats + 1):
        for way, (call, _) in calls.items():
            start = time.perf_counter()
            call()
            if i:
                times[way].append(1e3 * (time.perf_counter() - start))
    return [
        {"case": name, "batch": batch, "models": n_models, "way": way, "compile_s": calls[way][1],
         "median_ms_per_model": statistics.median(ms) / n_models, "min_ms_per_model": min(ms) / n_models}
        for way, ms in times.items()
    ]  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    device = jax.devices()[0]
    about = {
        "device": f"{device.device_kind} ({processor()}), {os.cpu_count()} cores" if device.platform == "cpu"
        else device.device_kind,
        "date": time.strftime("%Y-%m-%d"), "jax": version("jax"), "repeats": args.repeats,
        "rows": [row for name in CASES for row in one_case(name, args.models, args.repeats)],
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    where = RESULTS / ("convolutions" + "_gpu" * (device.platform == "gpu"))
    where.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
    where.with_suffix(".md").write_text(as_table(about))
    print(as_table(about))


def as_table(about):
    lines = [
        f"One training step, milliseconds per model; {about['device']}, jax {about['jax']}, {about['date']}, medians "
        f"of {about['repeats']}.",
        "",
        "| network | models, batch | way | ms per model | compile s |",
        "|---|---|---|---|---|",
    ]
    for row in about["rows"]:
        lines.append(
            f"| {row['case']} | {row['models']}, {row['batch']} | {row['way']} | {row['median_ms_per_model']:.1f} "
            f"| {row['compile_s']:.1f} |"
        )
    if "cpu" in about["device"]:
        lines.append("| the same on a GPU | | | unmeasured here | |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
