"""Integer inference beside float32: products, a convolution, whole frozen models; times and bytes.

    python -m experiments.benchmarks.integer

Prediction, written before the first run: on x86 XLA has a tuned float32 product and none for int8, so the integer
products should be slower here, by two to ten times, and the frozen models with them; what integers buy on this machine
is a quarter (8 bits) or an eighth (4 bits) of the bytes. On a GPU with int8 tensor cores the products should gain.

Medians of synchronised repeats; the sides take turns. Writes results/integer.json and .md (integer_gpu on a GPU).
"""

import argparse
import json
import os
import statistics
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.benchmarks.machine import processor
from jaxsnn_mia import models
from jaxsnn_mia.kernels import integer, quantize
from jaxsnn_mia.models import Hyper, ModelSpec, QuantSpec, frozen

RESULTS = Path(__file__).parent / "results"
RNG = np.random.default_rng(0)
DIMS = ("NHWC", "HWIO", "NHWC")


def products():
    """name -> {side: (function, arguments)} of plain products and a convolution."""
    found = {}
    for rows, k, n, dtype in ((1024, 512, 256, "uint8"), (25600, 256, 256, "int8")):
        a = jnp.asarray(RNG.integers(0, 2 if dtype == "int8" else 256, (rows, k)), dtype)
        w = jnp.asarray(RNG.integers(-127, 128, (k, n)), jnp.int8)
        floats = (a.astype(jnp.float32), w.astype(jnp.float32))
        what = "spikes" if dtype == "int8" else "activations"
        found[f"product [{rows}, {k}] x [{k}, {n}], {what}"] = {
            "float32": (jnp.matmul, floats), "int8": (integer.dot, (a, w))
        }  # fmt: skip
    a = jnp.asarray(RNG.integers(0, 256, (32, 32, 32, 32)), jnp.uint8)
    w = jnp.asarray(RNG.integers(-127, 128, (3, 3, 32, 64)), jnp.int8)
    found["convolution [32, 32, 32, 32], 3x3, 64"] = {
        "float32": (
            lambda a, w: lax.conv_general_dilated(a, w, (1, 1), "SAME", dimension_numbers=DIMS),
            (a.astype(jnp.float32), w.astype(jnp.float32)),
        ),
        "int8": (integer.conv, (a, w)),
    }
    return found


def networks():
    """name -> {side: (function, arguments, bytes)} of 784-256-256-10 twins on 1,024 inputs."""
    x = jnp.asarray(RNG.normal(size=(1024, 784)), jnp.float32)
    found = {}
    for family in ("ann", "snn"):
        sides = {}
        for bits in (32, 8, 4):
            quant = QuantSpec(parts=() if bits == 32 else ("weight", "activation"))
            spec = ModelSpec(family, (784,), 10, hidden=(256, 256), time_steps=25, quant=quant)
            top = quantize.qmax_unsigned if family == "ann" else quantize.qmax_symmetric
            hyper = Hyper(qmax_weight=quantize.qmax_symmetric(bits), qmax_activation=top(bits))
            model = models.build(spec)
            params = model.init(jax.random.key(0))
            seen = model.apply(params, x, hyper, jax.random.key(1), train=True).aux["statistics"]
            params = params | {"statistics": seen}
            fake = lambda p, x, m=model, h=hyper: m.apply(p, x, h, jax.random.key(1), train=False).logits_bc  # noqa: E731
            if bits == 32:
                sides["float32"] = (fake, (params, x), sum(p.nbytes for p in jax.tree.leaves(params["params"])))
                continue
            cut = frozen.freeze(spec, params, hyper)
            sides[f"fake-quantized, {bits} bits"] = (fake, (params, x), sides["float32"][2])
            sides[f"int8, {bits} bits"] = (lambda cut, x: frozen.apply(cut, x).logits_bc, (cut, x), cut.nbytes)
        found[f"{family} 784-256-256-10" + (", T=25" if family == "snn" else "")] = sides
    return found


def measure(cases, repeats):
    """Medians in ms; the sides of a case take turns."""
    rows = []
    for name, sides in cases.items():
        calls = {side: jax.jit(function) for side, (function, *_) in sides.items()}
        times = {side: [] for side in sides}
        for i in range(repeats + 2):
            for side, (_, arguments, *_) in sides.items():
                start = time.perf_counter()
                jax.block_until_ready(calls[side](*arguments))
                if i > 1:
                    times[side].append(1e3 * (time.perf_counter() - start))
        for side, (_, _, *size) in sides.items():
            rows.append({"case": name, "side": side, "median_ms": statistics.median(times[side]),
                         "min_ms": min(times[side]), "bytes": size[0] if size else None})  # fmt: skip
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=30)
    args = parser.parse_args()
    device = jax.devices()[0]
    about = {
        "device": f"{device.device_kind} ({processor()}), {os.cpu_count()} cores" if device.platform == "cpu"
        else device.device_kind,
        "date": time.strftime("%Y-%m-%d"), "jax": version("jax"), "repeats": args.repeats,
        "rows": measure(products() | networks(), args.repeats),
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    where = RESULTS / ("integer" + "_gpu" * (device.platform == "gpu"))
    where.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
    where.with_suffix(".md").write_text(as_table(about))
    print(as_table(about))


def as_table(about):
    lines = [
        f"Integer inference, {about['device']}, jax {about['jax']}, {about['date']}, medians of {about['repeats']}.",
        "",
        "| case | | ms | times float32 | bytes of the model |",
        "|---|---|---|---|---|",
    ]
    floats = {row["case"]: row["median_ms"] for row in about["rows"] if row["side"] == "float32"}
    for row in about["rows"]:
        size = "" if row["bytes"] is None else f"{row['bytes']:,}"
        lines.append(
            f"| {row['case']} | {row['side']} | {row['median_ms']:.2f} | {row['median_ms'] / floats[row['case']]:.2f} "
            f"| {size} |"
        )
    if "cpu" in about["device"]:
        lines.append("| the same on a GPU | unmeasured here | | | |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
