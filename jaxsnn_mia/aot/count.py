"""What a compiled program does on its device: kernels, bytes through memory, products; and the time of it by a model.

The model knows no cache, no overlap of kernels and no host: a GPU's kernel takes the longest of its launch, its bytes
at `SHARE_OF_BANDWIDTH` and its products at `SHARE_OF_PEAK`; a TPU's takes the cycles that XLA estimates, which count
nothing for gathers and sorts, and an own kernel takes its bytes. So what it says is an estimate for GPUs and a lower
bound for TPUs.
"""

import math
import re
from collections import Counter
from typing import NamedTuple

from jaxsnn_mia.aot import hlo
from jaxsnn_mia.aot.hlo import Computation, Instruction, Module, Shape
from jaxsnn_mia.aot.targets import Chip

SHARE_OF_BANDWIDTH, SHARE_OF_PEAK = 0.85, 0.5
# instructions that move nothing and start nothing
FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id",
    "opt-barrier", "add-dependency", "domain",
}  # fmt: skip
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter", "collective-broadcast")
OPERANDS = {"f32": "float32", "bf16": "bfloat16", "f16": "bfloat16"}


class Count(NamedTuple):
    """Of one execution: kernels, bytes through device memory, products by the type of their operands, seconds by the
    model, seconds at the device's limits (bytes at the whole bandwidth, products at the whole peak, no launches)."""

    kernels: int
    nbytes: float
    flops: Counter
    seconds: float
    limit: float

    def plus(self, other: "Count", times: int = 1) -> "Count":
        flops = self.flops + Counter({name: times * n for name, n in other.flops.items()})
        return Count(
            self.kernels + times * other.kernels,
            self.nbytes + times * other.nbytes,
            flops,
            self.seconds + times * other.seconds,
            self.limit + times * other.limit,
        )


NOTHING = Count(0, 0.0, Counter(), 0.0, 0.0)


def collectives(module: Module) -> list[str]:
    """The names of all instructions by which devices wait for each other."""
    return [i.name for c in module.computations.values() for i in c.values() if i.op.startswith(COLLECTIVES)]


def step(module: Module, steps: int, chip: Chip) -> Count:
    """One training step: the body of the outermost loop that runs `steps` times; where an epoch has one step, of the
    outermost loop of all."""
    every = hlo.loops(module)
    if not every:
        raise ValueError("the program has no loop over epochs; it is not a training program of this version.")
    chosen = [loop for loop in every if hlo.trips(module, loop) == steps] if steps > 1 else every
    if not chosen:
        raise ValueError(f"the program has no loop of {steps} training steps; it is not one of these settings.")
    return total(module, chosen[0].called("body"), chip)


def total(module: Module, name: str, chip: Chip) -> Count:
    """One execution of a computation; of a conditional the branch that takes longest."""
    counted = NOTHING
    computation = module.computations[name]
    for made in computation.values():
        if made.op == "while":
            counted = counted.plus(total(module, made.called("body"), chip), hlo.trips(module, made) or 1)
        elif made.op in ("call", "async-start"):
            counted = counted.plus(total(module, hlo.branches(made)[0], chip))
        elif made.op == "conditional":
            counted = counted.plus(max((total(module, b, chip) for b in hlo.branches(made)), key=lambda c: c.seconds))
        elif made.op not in FREE and not made.op.endswith("-done"):
            counted = counted.plus(kernel(module, computation, made, chip))
    return counted


def kernel(module: Module, computation: Computation, made: Instruction, chip: Chip) -> Count:
    """One instruction that is launched."""
    moved, flops = bytes_of(module, computation, made), products(module, computation, made)
    peak = {kind: chip.peak.get(kind, chip.peak["bfloat16"]) for kind in flops}
    limit = max(moved / chip.bandwidth, sum(n / peak[kind] for kind, n in flops.items()))
    if chip.platform == "tpu":
        cycles = re.search(r'"estimated_cycles":"(\d+)"', made.attributes)
        seconds = int(cycles[1]) / chip.clock if cycles else 0.0
        if made.op == "custom-call":  # of which the compiler says nothing
            seconds = max(seconds, moved / (SHARE_OF_BANDWIDTH * chip.bandwidth))
    else:
        computing = sum(n / (SHARE_OF_PEAK * peak[kind]) for kind, n in flops.items())
        seconds = max(chip.launch, moved / (SHARE_OF_BANDWIDTH * chip.bandwidth), computing)
    return Count(1, moved, flops, seconds, limit)


def bytes_of(module: Module, computation: Computation, made: Instruction) -> float:
    """Read and written by one instruction; of what is sliced, the slice."""
    if made.op in ("dynamic-slice", "gather", "slice"):
        return 2 * size(made.shapes)
    if made.op == "dynamic-update-slice":
        return 2 * size(computation[made.operands[1]].shapes)
    if made.op == "copy-start":
        return size(made.shapes[:2])
    operands = [computation[name] for name in made.operands if name in computation]
    if made.op != "fusion":
        return sum(size(o.shapes) for o in operands) + size(made.shapes)
    inner = module.computations[made.called("calls")]
    parameter = {int(i.argument): i.name for i in inner.values() if i.op == "parameter"}
    read = sum(
        min(size(operand.shapes), touched(inner, parameter[at], size(operand.shapes)))
        for at, operand in enumerate(operands)
        if at in parameter
    )
    return read + written(inner, made.shapes)


def touched(inner: Computation, name: str, whole: float) -> float:
    """Bytes of a fusion's parameter that it reads."""
    total = 0.0
    for user in inner.values():
        for place in (at for at, operand in enumerate(user.operands) if operand == name):
            if user.op in ("bitcast", "convert", "reshape"):
                total += touched(inner, user.name, whole)
            elif user.op in ("dynamic-slice", "slice", "gather") and place == 0:
                total += sum(shape.anywhere for shape in user.shapes)
            elif not (user.op == "dynamic-update-slice" and place == 0):
                return whole
    return total


def written(inner: Computation, shapes: tuple[Shape, ...]) -> float:
    """Bytes that a fusion writes: of an array that is updated in place, the update."""
    root = next(i for i in inner.values() if i.is_root)
    results = [inner[name] for name in root.operands] if root.op == "tuple" else [root]
    total = 0.0
    for result, shape in zip(results, shapes, strict=False):
        while result.op in ("bitcast", "copy") and result.operands:
            result = inner[result.operands[0]]
        if result.op == "dynamic-update-slice":
            total += min(shape.nbytes, sum(s.anywhere for s in inner[result.operands[1]].shapes))
        else:
            total += shape.nbytes
    return total


def size(shapes: tuple[Shape, ...]) -> float:
    return sum(shape.nbytes for shape in shapes)


def products(module: Module, computation: Computation, made: Instruction) -> Counter:
    """Operations of the products in one instruction by the type of their operands, 2 a multiply-add."""
    found: Counter = Counter()
    if made.op == "fusion":
        inner = module.computations[made.called("calls")]
        for part in inner.values():
            found += products(module, inner, part)
    elif (n := operations(computation, made)) > 0:
        dtype = computation[made.operands[0]].shapes[0].dtype
        kind = "tf32" if "operand_precision={high,high}" in made.attributes else OPERANDS.get(dtype, "bfloat16")
        found[kind] += n
    return found


def operations(computation: Computation, made: Instruction) -> int:
    """Of one product or convolution; 0 of any other instruction."""
    is_convolution = made.op == "convolution" or "cudnn$conv" in made.attributes
    if not (made.op == "dot" or "cublas" in made.attributes or is_convolution):
        return 0
    left, right = (computation[name].shapes[0].dims for name in made.operands[:2])
    out = made.shapes[0].dims
    if is_convolution:
        return of_convolution(made, left, right, out)
    axes = re.search(r'lhs_contracting_dim(?:ension)?s"?[=:][\[{]([^\]}]*)', made.attributes)
    contracted = [int(axis.strip('"')) for axis in axes[1].split(",") if axis] if axes else []
    return 2 * math.prod(out) * math.prod(left[axis] for axis in contracted)


def of_convolution(made: Instruction, left: tuple, right: tuple, out: tuple) -> int:
    """A window's products for each result. XLA on TPUs writes a batch of products as a window of its size, of which one
    place is not zero."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", made.attributes)
    if labels is None:
        return 0
    if "convBackwardFilter" in made.attributes:  # (input, gradient) -> weights
        return 2 * math.prod(right) * math.prod(out) // out[labels[2].index("o")]
    of_one = math.prod(right) // right[labels[2].index("o")]
    if "convBackwardInput" in made.attributes:  # (gradient, weights) -> input
        return 2 * math.prod(left) * of_one
    n = 2 * math.prod(out) * of_one
    window = re.search(r"window=\{([^}]*)\}", made.attributes)
    if window:
        fields = dict(part.split("=") for part in window[1].split())
        sizes = fields.get("size", "1").split("x")
        ones = "x".join("1" * len(sizes))
        strides, dilations = (fields.get(key, ones).split("x") for key in ("stride", "lhs_dilate"))
        for a, stride, dilation in zip(map(int, sizes), map(int, strides), map(int, dilations), strict=True):
            if a > 1 and dilation == a and stride == a - 1:
                n //= a
    return n
