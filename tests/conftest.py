"""A strict jax: four CPU devices, one thread-pool size, no silent rank or dtype promotion, warnings are errors."""

import contextlib
import fcntl
import gc
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

# two thirds of the default suite's time are compilation: it compiles with few optimisations, --all as users do
FAST_TO_COMPILE = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if version("jaxlib") < "0.11":  # later ones do not know it
    FAST_TO_COMPILE.append("--xla_cpu_use_fusion_emitters=false")
if "--all" not in sys.argv and "xla_backend_optimization_level" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FAST_TO_COMPILE]).strip()
os.environ["PJRT_NPROC"] = "4"  # decides the order of sums; before jax is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of scikit-learn: two workers on two cores
# a program that several tests run, in whatever worker or process of theirs, is compiled once
if "PYTEST_XDIST_WORKER" not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix="jaxsnn_mia-compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
    os.environ["JAX_PERSISTENT_COMPILATION_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

import jax
import pytest

# compiled programs are millions of objects that live to the end: seldom look through them for garbage
gc.set_threshold(200_000, 50, 100)

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")

HERE = Path(__file__).parent
LONGEST = ("end_to_end/test_readme", "experiments/study", "privacy/test_dp_sgd", "pipeline/test_run")  # first, in --all
# optax's Adam raises under strict dtype promotion, so only these rooms are tested with it
STRICT_DTYPES = tuple(HERE / room for room in ("attacks", "kernels", "metrics", "signals/test_from_logits.py"))


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="also run the long tests and those of real data")


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: next((i for i, name in enumerate(LONGEST) if name in str(item.path)), len(LONGEST)))
    data = os.environ.get("JAXSNN_MIA_DATA")
    for item in items:
        if {"aot", "long", "browser"} & set(item.keywords) and not config.getoption("--all"):
            item.add_marker(pytest.mark.skip(reason="run by --all"))
        if "aot" in item.keywords and not os.environ.get("JAXSNN_MIA_AOT"):
            item.add_marker(pytest.mark.skip(reason="needs JAXSNN_MIA_AOT"))
        if "real_data" in item.keywords and not data:
            item.add_marker(pytest.mark.skip(reason="needs JAXSNN_MIA_DATA"))


@pytest.fixture(autouse=True)
def strict_dtypes(request):
    """Strict dtype promotion in the tests of `STRICT_DTYPES`."""
    if not any(request.node.path.is_relative_to(place) for place in STRICT_DTYPES):
        yield
        return
    with jax.numpy_dtype_promotion("strict"):
        yield


@contextlib.contextmanager
def figures_unpainted():
    """Figures are made and not painted, where other parts of a report are looked at."""
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, out, **options: out.write("<svg></svg>"))
        yield


@pytest.fixture(scope="module")
def unpainted():
    with figures_unpainted():
        yield


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """The workdir of a finished run of `runs.small()`, trained once for all tests, by the first process that asks. It
    is only read: who changes it takes a copy."""
    from jaxsnn_mia.pipeline.run import run_pipeline
    from tests.runs import small

    temporary = tmp_path_factory.getbasetemp()
    shared = temporary.parent if "PYTEST_XDIST_WORKER" in os.environ else temporary
    with open(shared / "small_run.lock", "w") as lock, figures_unpainted():
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "small_run/report.html").exists():
            run_pipeline(small(), shared / "small_run")
    return shared / "small_run"
