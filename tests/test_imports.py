"""Imports go downwards only, and the kernels, attacks and metrics bring nothing but jax and numpy."""

import ast
import subprocess
import sys
from pathlib import Path

import jaxsnn_mia

ROOT = Path(jaxsnn_mia.__file__).parent
LAYER = {
    "kernels": 0, "attacks": 0, "metrics": 0, "intervals": 0, "comparisons": 0, "vulnerability": 0, "epsilon": 0,
    "splits": 0,
    "models": 1, "augmenting": 1, "private": 1, "train": 1, "reconstruction": 1,
    "accounting": 2, "ensemble": 2, "signals": 2, "data": 2, "store": 2, "stopping": 2, "inquiries": 2, "defences": 2,
    "measuring": 2, "tracking": 2, "messages": 2, "progress": 2,
    "checkpoint": 2, "distributed": 2, "spmd": 2, "remote": 2,
    "settings": 3, "checks": 3, "config": 3, "planning": 3, "work": 3, "probing": 3, "shadows": 3,
    "stages": 3, "inventory": 3, "fitting": 3, "preparing": 3, "querying": 3, "attacking": 3, "pipeline": 3,
    "reconstructing": 3, "judging": 3, "inferring": 3,
    "cost": 3, "tables": 3, "results": 3, "audit": 3, "report": 3,
}  # fmt: skip
ONLY = {
    "dp_accounting": {"accounting"},
    "orbax": {"checkpoint"},
    "spyx": {"models"},
    "tensorflow_datasets": {"data"},
    "tonic": {"data"},
    "h5py": {"data"},
    "sklearn": {"data", "attacks", "reconstruction"},
}


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_module_imports_downwards_only():
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room == "__init__":
            assert not imports(path)
            continue
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "jaxsnn_mia" and parts[1] in LAYER:
                assert LAYER[parts[1]] <= LAYER[room], f"{path} imports {name} from above"
            if LAYER[room] == 0:
                assert parts[0] in {"jaxsnn_mia", "jax", "numpy", "scipy", "sklearn"} | sys.stdlib_module_names, (
                    path,
                    name,
                )
            if parts[0] in ONLY:
                assert room in ONLY[parts[0]], f"{path} imports {name}"


def test_kernels_attacks_and_metrics_import_nothing_heavy_and_start_no_backend():
    code = """
import sys
import jaxsnn_mia.kernels, jaxsnn_mia.attacks, jaxsnn_mia.metrics, jaxsnn_mia.intervals, jaxsnn_mia.epsilon
heavy = {"tensorflow", "tensorflow_datasets", "absl.flags", "flax", "orbax", "sklearn", "matplotlib", "spyx"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
