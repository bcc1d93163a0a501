"""Every shadow queried on every example: named signals, arrays on disk, read back as memory maps."""

import functools
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxsnn_mia import store
from jaxsnn_mia.attacks.signals import log_confidence, logit_confidence

BATCH = 1024  # examples per forward pass


def queries(apply, params, x, hyper, key):
    """logits [N, 1, C]: one plain query per example."""
    return apply(params, x, hyper, key).logits_bc[:, None, :]


def phi(apply, params, x, y, hyper, key):
    """Logit confidence [N, A]."""
    return logit_confidence(queries(apply, params, x, hyper, key), y)


def logp(apply, params, x, y, hyper, key):
    """Log confidence [N, A]."""
    return log_confidence(queries(apply, params, x, hyper, key), y)


def loss(apply, params, x, y, hyper, key):
    """Cross-entropy [N, A]."""
    return -logp(apply, params, x, y, hyper, key)


def correct(apply, params, x, y, hyper, key):
    """1 where the largest logit is the label's, uint8 [N, A]."""
    return (queries(apply, params, x, hyper, key).argmax(-1) == y[:, None]).astype(jnp.uint8)


def logits(apply, params, x, y, hyper, key):
    """Full logits [N, A, C]."""
    return queries(apply, params, x, hyper, key)


# name -> fn(apply, params, x, y, hyper, key) of ONE model, apply(params, x, hyper, key) -> Output
SIGNALS: dict[str, Callable] = {"phi": phi, "logp": logp, "loss": loss, "correct": correct, "logits": logits}


def names(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The names, checked; ValueError with the known ones otherwise."""
    unknown = sorted(set(wanted) - set(SIGNALS))
    if unknown:
        raise ValueError(f"`signals.names` must be among {sorted(SIGNALS)}, got {unknown}.")
    return tuple(dict.fromkeys(wanted))


@functools.cache
def compute(wanted: tuple[str, ...]) -> Callable:
    """fn(...) -> {name: [N, A, ...]} of one model; the compiler takes one forward pass for all names."""
    return lambda *query: {name: SIGNALS[name](*query) for name in wanted}


def blocks(n: int) -> list[slice]:
    """Slices of one length that cover n examples, the last one overlapping: one compiled shape."""
    count = -(-n // BATCH)
    size = -(-n // count)
    return [slice(min(i, n - size), min(i, n - size) + size) for i in range(0, n, size)]


def write(folder: Path, part: str, group: int, array: np.ndarray) -> None:
    """Writes one group of one signal [G, N, A, ...] on a part of the data ("candidates", "population", ...)."""
    store.write_array(folder / f"{part}-{group:05d}.npy", array)


def read(folder: Path, part: str) -> np.ndarray:
    """[S, N, A, ...]: all groups of the signal in `folder`; memory-mapped where there is one group."""
    arrays = [store.read_array(path) for path in sorted(folder.glob(f"{part}-*.npy"))]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
