"""Three small audits that many tests of the report read: two of the same examples and splits, one of others."""

import atexit
import dataclasses
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np

from jaxsnn_mia import audit
from jaxsnn_mia.audit.run import check, scores
from jaxsnn_mia.report import reading
from jaxsnn_mia.settings import Metrics
from tests.attacks import planted

S, N, C = 12, 240, 3


KEEP = planted.pairs(S, N)


QUICK = Metrics(fprs=(0.05,), replicates_auc=200, replicates_tpr=100)


def logits(effect, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(1).integers(C, size=N)
    out = rng.normal(size=(S, N, C)) + 0.8 * np.random.default_rng(2).normal(size=(1, N, C))
    out[:, np.arange(N), labels] += 1 + effect * KEEP
    return audit.Models(out.astype(np.float32), labels)


@functools.cache
def folder() -> Path:
    """A folder of "leaks" and "private", of the same examples and splits, and of "other". It goes with the process."""
    runs = Path(tempfile.mkdtemp(prefix="jaxsnn_mia-audits-"))
    atexit.register(shutil.rmtree, runs, ignore_errors=True)
    for name, effect in (("leaks", 2.0), ("private", 0.0)):
        audit.run(logits(effect), KEEP, runs / name, names=("loss", "lira"), settings=QUICK)
    other = dataclasses.replace(QUICK, seed=1)
    audit.run(logits(2.0, 5), KEEP, runs / "other", names=("loss", "lira"), settings=other)
    return runs


def read(*names: str) -> dict[str, reading.Variant]:
    return reading.read({name: {"metrics": folder() / name / "metrics"} for name in names})


def lira(effect: float) -> np.ndarray:
    """The scores of online LiRA on `logits(effect)`."""
    asked, _ = check(logits(effect), KEEP, None, None, None)
    return scores("lira", asked)
