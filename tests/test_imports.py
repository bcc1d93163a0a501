"""Imports go downwards only, floor by floor, and what a user imports alone brings nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxsnn_mia

ROOT = Path(jaxsnn_mia.__file__).parent
# room -> floor; a room imports itself and the rooms of lower floors, and rooms of its own floor without a circle
FLOOR = {
    "kernels": 1, "metrics": 1, "privacy": 1, "signals": 1, "runtime": 1,
    "models": 2, "attacks": 2, "store": 2, "settings": 2,
    "training": 3, "data": 3, "reconstruction": 3,
    "config": 4, "report": 4, "aot": 4,
    "pipeline": 5, "audit": 5,
}  # fmt: skip
# room -> rooms of its own floor that it may import
BESIDE = {
    "models": {"settings"},  # their defaults
    "training": {"data"},
}
# third-party packages beside jax, numpy and scipy, and the rooms that may import them
ONLY = {
    "absl": {"runtime", "store", "training", "data", "pipeline", "report"},
    "dp_accounting": {"privacy"},
    "flax": {"models"},
    "h5py": {"data"},
    "nir": {"models"},
    "optax": {"training", "privacy", "attacks", "reconstruction"},
    "orbax": {"store"},
    "sklearn": {"data", "attacks", "reconstruction"},
    "spyx": {"models"},
    "tensorflow_datasets": {"data"},
    "tonic": {"data"},
}
PURE = {"kernels", "metrics", "privacy", "signals", "attacks"}


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


FILES = [path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"]


def test_every_room_has_a_floor_and_every_floor_its_rooms():
    assert {room_of(path) for path in FILES} == set(FLOOR)
    assert not imports(ROOT / "__init__.py")


@pytest.mark.parametrize("room", FLOOR)
def test_a_room_imports_downwards_only(room):
    for path in FILES:
        if room_of(path) != room:
            continue
        for name in imports(path):
            package, _, rest = name.partition(".")
            if package == "jaxsnn_mia":
                other = rest.split(".")[0]
                if other in FLOOR and other != room:
                    below = FLOOR[other] < FLOOR[room] or other in BESIDE.get(room, ())
                    assert below, f"{path} imports {name} from above, or from beside"
            elif package in ONLY:
                assert room in ONLY[package], f"{path} imports {name}"
            elif room in PURE:
                known = {"jax", "numpy", "scipy"} | sys.stdlib_module_names
                assert package in known, f"{path} imports {name}"


def test_what_is_imported_alone_brings_nothing_heavy_and_starts_no_backend():
    code = """
import sys
import jaxsnn_mia.kernels, jaxsnn_mia.attacks, jaxsnn_mia.metrics, jaxsnn_mia.signals, jaxsnn_mia.privacy.lower_bounds
heavy = {"tensorflow", "tensorflow_datasets", "absl.flags", "flax", "optax", "orbax", "sklearn", "matplotlib", "spyx"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
import jaxsnn_mia.audit
heavy = heavy - {"absl.flags"} | {"dp_accounting"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
