"""The text of a compiled HLO module as computations of instructions."""

import math
import re
from typing import NamedTuple

BITS = {
    "pred": 8, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16, "s32": 32, "u32": 32, "s64": 64, "u64": 64,
    "f8e4m3fn": 8, "f8e5m2": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "token": 0, "opaque": 0,
}  # fmt: skip
ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,<=]*)\](?:\{([^}]*)\})?")


class Shape(NamedTuple):
    """One array: its type, its dimensions and its layout, e.g. "1,0:T(8,128)S(1)"."""

    dtype: str
    dims: tuple[int, ...]
    layout: str

    @property
    def nbytes(self) -> float:
        """In device memory, with what tiles add; 0 of an array in a core's own memory (space S(1))."""
        return 0.0 if "S(1)" in self.layout else self.anywhere

    @property
    def anywhere(self) -> float:
        """In whatever memory."""
        return BITS[self.dtype] / 8 * math.prod(self.padded())

    def padded(self) -> list[int]:
        """The dimensions as whole tiles, T(8,128) of the two that lie innermost."""
        dims = list(self.dims)
        tile = re.search(r"T\(([\d,]+)\)", self.layout)
        order = self.layout.partition(":")[0]
        if tile is None or not order:
            return dims
        innermost_first = [int(axis) for axis in order.split(",")]
        for axis, size in zip(innermost_first, reversed(tile[1].split(",")), strict=False):
            dims[axis] = -(-dims[axis] // int(size)) * int(size)
        return dims


class Instruction(NamedTuple):
    """`name = shapes op(operands), attributes`; `argument` is the text between the parentheses."""

    name: str
    op: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    argument: str
    attributes: str
    is_root: bool

    def called(self, key: str) -> str:
        """The computation that an attribute names, e.g. of "body"."""
        found = re.search(rf"\b{key}=%?([\w.\-$]+)", self.attributes)
        if found is None:
            raise ValueError(f"{self.op} {self.name} names no {key}: another version of XLA writes it differently.")
        return found[1]


Computation = dict[str, Instruction]


class Module(NamedTuple):
    """Computations by name, and the name of the one that is run."""

    computations: dict[str, Computation]
    entry: str


def parse(text: str) -> Module:
    """The module that `Compiled.as_text()` prints. ValueError where nothing is run in it."""
    computations: dict[str, Computation] = {}
    inside, entry = None, ""
    for line in text.splitlines():
        if inside is None:
            head = re.match(r"(ENTRY )?%?([\w.\-$]+) ?\(?.*\{$", line)
            if head and not line.startswith("HloModule"):
                inside = computations.setdefault(head[2], {})
                entry = head[2] if head[1] else entry
        elif line.startswith("}"):
            inside = None
        elif (made := instruction(line)) is not None:
            inside[made.name] = made
    if not entry:
        raise ValueError("the text holds no HLO module with an entry computation.")
    return Module(computations, entry)


def instruction(line: str) -> Instruction | None:
    """The instruction of a line of a computation; None where it holds none."""
    head = re.match(r"\s+(ROOT )?%([\w.\-$]+) = ", line)
    if head is None:
        return None
    rest = re.sub(r"/\*index=\d+\*/", "", line[head.end() :])
    end = closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    kind, rest = rest[:end], rest[end:].lstrip()
    opened = rest.index("(")
    closed = closing(rest, opened)
    argument = rest[opened + 1 : closed]
    return Instruction(
        name=head[2],
        op=rest[:opened],
        shapes=shapes(kind),
        operands=tuple(re.findall(r"%([\w.\-$]+)", argument)),
        argument=argument,
        attributes=rest[closed + 1 :],
        is_root=bool(head[1]),
    )


def shapes(text: str) -> tuple[Shape, ...]:
    """The arrays of a type, a tuple's one after the other."""
    found = []
    for dtype, dims, layout in ARRAY.findall(text):
        if dtype in BITS:
            found.append(Shape(dtype, tuple(int(d.lstrip("<=")) for d in dims.split(",") if d), layout))
    return tuple(found)


def closing(text: str, opened: int) -> int:
    """Where the parenthesis closes that opens at `opened`."""
    depth = 0
    for at in range(opened, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return at
    raise ValueError(f"a parenthesis does not close in {text[:80]!r}.")


def trips(module: Module, loop: Instruction) -> int | None:
    """How often a while loop runs: as XLA says, or as its condition compares with a constant; None where neither."""
    told = re.search(r'known_trip_count"?:\s*\{"n":"(\d+)"', loop.attributes)
    if told:
        return int(told[1])
    condition = module.computations[loop.called("condition")]
    inner = [module.computations[i.called("calls")] for i in condition.values() if i.op == "fusion"]
    constants = [
        int(i.argument)
        for computation in (condition, *inner)
        for i in computation.values()
        if i.op == "constant" and i.shapes[0].dims == () and i.argument.isdecimal()
    ]
    positive = [value for value in constants if value > 0]
    return positive[0] if len(positive) == 1 else None


def loops(module: Module) -> list[Instruction]:
    """All while loops that are run, outer ones before those inside."""
    found: list[Instruction] = []

    def walk(name: str) -> None:
        for made in module.computations[name].values():
            if made.op == "while":
                found.append(made)
                walk(made.called("body"))
            elif made.op in ("call", "conditional"):
                for inner in branches(made):
                    walk(inner)

    walk(module.entry)
    return found


def branches(made: Instruction) -> list[str]:
    """The computations that a call or a conditional may run."""
    listed = re.search(r"branch_computations=\{([^}]*)\}", made.attributes)
    if listed:
        return [name.strip().lstrip("%") for name in listed[1].split(",")]
    return re.findall(r"(?:to_apply|true_computation|false_computation|calls)=%?([\w.\-$]+)", made.attributes)
