"""Hostile settings, files and arrays, and the one line that each comes to.

    python -m tests.hostile        # writes tests/transcripts/hostile.txt

Every setting is set beyond each end of its range, to NaN, to infinity, to another type and to no choice of its list;
files are damaged in the ways of tests/store/test_untrusted.py and tests/data/test_fuzz.py; arrays of audits contradict
what they should be. A case that is not refused by a ValueError of one line is a failure.
"""

import dataclasses
import io
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from jaxsnn_mia import audit, config, data
from jaxsnn_mia.data import idx
from jaxsnn_mia.settings import Config
from jaxsnn_mia.store import arrays
from tests.runs import ROOT

TRANSCRIPT = ROOT / "tests/transcripts/hostile.txt"
Case = tuple[str, Callable[[], object]]


def settings() -> Iterator[Case]:
    """One field beyond what it may be, the rest at their defaults."""
    for section in dataclasses.fields(Config):
        for field in dataclasses.fields(getattr(Config(), section.name)):
            default = getattr(getattr(Config(), section.name), field.name)
            for value in hostile_values(field, default):
                given = (value,) if isinstance(default, tuple) else value
                name = f"{section.name}.{field.name}={value!r}"
                yield name, lambda s=section.name, f=field.name, v=given: config.from_dict({s: {f: v}})


def hostile_values(field: dataclasses.Field, default: object) -> list[object]:
    limits, choices = field.metadata.get("range"), field.metadata.get("choices")
    if choices:
        return ["nonsense", ""]
    if not limits:
        return []
    values: list[object] = [float("nan"), float("inf"), "many"]
    for bound, step in ((limits.least, -1), (limits.above, 0), (limits.most, 1), (limits.below, 0)):
        if bound is not None and bound + step != limits.also:
            values.append(bound + step)
    return values


def npz(path: Path, **members: bytes | np.ndarray) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if isinstance(content, np.ndarray):
                whole = io.BytesIO()
                np.save(whole, content, allow_pickle=True)
                content = whole.getvalue()
            archive.writestr(f"{name}.npy", content)
    return f"npz:{path}"


def files(folder: Path) -> Iterator[Case]:
    """Data files that are none, or lie."""
    x, y = np.zeros((6, 3), np.float32), np.arange(6) % 2
    pickled = np.array([{"a": 1}], dtype=object)
    bad = {
        "empty": {}, "no y": {"x": x}, "junk for x": {"x": b"junk", "y": y}, "an empty member": {"x": b"", "y": y},
        "pickled objects": {"x": pickled, "y": y}, "fewer labels": {"x": x, "y": y[:3]},
        "text": {"x": x.astype(str), "y": y},
        "complex numbers": {"x": x.astype(complex), "y": y}, "not a number": {"x": x * np.nan, "y": y},
        "infinity": {"x": x + np.inf, "y": y}, "a gap in labels": {"x": x, "y": y * 5},
        "negative labels": {"x": x, "y": y - 1},
        "real labels": {"x": x, "y": y + 0.5}, "no rows": {"x": x[:0], "y": y[:0]}, "one axis": {"x": x[:, 0], "y": y},
        "one class": {"x": x, "y": y * 0}, "labels of two axes": {"x": x, "y": y[:, None]},
    }  # fmt: skip
    for what, members in bad.items():
        source = npz(folder / f"{what.replace(' ', '_')}.npz", **members)
        yield f"npz with {what}", lambda source=source: data.load(source, "")
    for what, content in {"nothing": b"", "text": b"x,y\n1,2\n", "half a zip": b"PK\x03\x04" + bytes(30)}.items():
        path = folder / f"{what.replace(' ', '_')}.npz"
        path.write_bytes(content)
        yield f"a file of {what} called .npz", lambda path=path: data.load(f"npz:{path}", "")
        yield f"outputs of {what} called .npz", lambda path=path: arrays.read(str(path))
    idx_head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (2, 3, 3))
    for what, content in {
        "nothing": b"", "another type": b"\0\0\x0d" + idx_head[3:], "no axes": b"\0\0\x08\0",
        "two bytes fewer": idx_head + bytes(16),
        "two bytes more": idx_head + bytes(20), "four billion images": b"\0\0\x08\x03" + b"\xff" * 12,
    }.items():  # fmt: skip
        path = folder / f"{what.replace(' ', '_')}-idx3-ubyte"
        path.write_bytes(content)
        yield f"IDX of {what}", lambda path=path: idx.read(path)
    for what, content in {
        "an empty csv": "", "cells of two counts": "1,2\n1\n", "a word": "1,2\n1,two\n",
    }.items():  # fmt: skip
        path = folder / f"{what.replace(' ', '_')}.csv"
        path.write_text(content)
        yield f"outputs: {what}", lambda path=path: arrays.read(str(path))
    for source in (
        "digitz", "npz:", "npz:/none.npz", "folder:/none", "mnist_idx:/none", "location30:/none", "fsdd:0", "fsdd:x",
        "shd:-1", "nmnist:0", "tfds:", "glyphs:0",
    ):  # fmt: skip
        yield f"data.name={source}", lambda source=source: data.load(source, str(folder))


def outputs() -> Iterator[Case]:
    """Arrays of an audit that contradict themselves, or what they are said to be."""
    rng = np.random.default_rng(0)
    keep = np.arange(8)[:, None] % 2 == np.arange(20)[None] % 2
    logits, labels = rng.normal(size=(8, 20, 3)), rng.integers(0, 3, 20)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    bad: dict[str, tuple] = {
        "labels out of range": (logits, labels + 3, keep, None),
        "negative labels": (logits, labels - 1, keep, None),
        "fractions as labels": (logits, labels + 0.5, keep, None),
        "too few labels": (logits, labels[:5], keep, None),
        "no labels": (logits, None, keep, None),
        "NaN": (logits * np.nan, labels, keep, None),
        "+inf": (logits + np.inf, labels, keep, None),
        "text": (logits.astype(str), labels, keep, None),
        "complex numbers": (logits.astype(complex), labels, keep, None),
        "a keep of integers": (logits, labels, keep.astype(int), None),
        "a keep of another shape": (logits, labels, keep[:, :5], None),
        "no models": (logits[:0], labels, keep[:0], None),
        "probabilities said to be logits": (probabilities, labels, keep, "logits"),
        "logits said to be probabilities": (logits, labels, keep, "probabilities"),
        "logits said to be losses": (logits, labels, keep, "losses"),
        "logits said to be labels": (logits, labels, keep, "labels"),
        "an unknown kind": (logits, labels, keep, "scores"),
    }
    for what, (of, labels_n, keep_sn, kind) in bad.items():
        with_kind = {"kind": kind} if kind else {}

        def run(of=of, labels_n=labels_n, keep_sn=keep_sn, with_kind=with_kind):
            with tempfile.TemporaryDirectory() as folder:
                audit.run(audit.Models(of, labels_n, **with_kind), keep_sn, Path(folder) / "a")

        yield f"audit: {what}", run


def cases(folder: Path) -> list[Case]:
    return [*settings(), *files(folder), *outputs()]


def outcome(run: Callable[[], object], folder: Path) -> str:
    """The refusal, or what else came of it."""
    try:
        run()
    except ValueError as error:
        line = re.sub(r"this machine has [\d.e+]+ GB", "this machine has M GB", str(error))
        return "NOT ONE LINE: " + repr(line) if "\n" in line.strip() else line.replace(str(folder), "FOLDER").strip()
    except Exception as error:
        return f"NOT A REFUSAL: {type(error).__name__}: {error}"
    return "NOT REFUSED"


def transcript() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        return [f"{what} | {outcome(run, Path(folder))}" for what, run in cases(Path(folder))]


if __name__ == "__main__":
    lines = transcript()
    TRANSCRIPT.write_text("\n".join(lines) + "\n")
    failed = [line for line in lines if "| NOT " in line]
    print(f"{len(lines)} hostile inputs, {len(failed)} not refused in one line", *failed, sep="\n")
    sys.exit(bool(failed))
