"""Every shadow queried on every example: named signals, arrays on disk, read back as memory maps."""

import functools
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxsnn_mia import defences, inquiries, store
from jaxsnn_mia.attacks import signals as of_logits
from jaxsnn_mia.attacks.signals import log_confidence, logit_confidence
from jaxsnn_mia.defences import UNDEFENDED, Defence

BATCH = 1024  # examples per forward pass
QUERIES = (1, 2, 18)  # as it is; and mirrored; both at nine shifts
SHIFT = 2  # pixels


def views(x, count: int) -> list:
    """`count` aligned views of images x [N, H, W, C], the same for every model: the image itself first."""
    if count == 1:
        return [x]
    shifts = [(0, 0)] if count == 2 else [(i, j) for i in (0, -SHIFT, SHIFT) for j in (0, -SHIFT, SHIFT)]
    padded = jnp.pad(x, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
    h, w = x.shape[1:3]
    moved = [padded[:, SHIFT + i : SHIFT + i + h, SHIFT + j : SHIFT + j + w] for i, j in shifts]
    return [view for image in moved for view in (image, image[:, :, ::-1])]


def with_views(apply: Callable, count: int) -> Callable:
    """`apply` that answers with the logits of every view, [N, A, C]."""

    def viewed(params, x, hyper, key):
        return apply(params, x, hyper, key)._replace(
            logits_bc=jnp.stack([apply(params, view, hyper, key).logits_bc for view in views(x, count)], axis=1)
        )

    return viewed


def queries(apply, params, x, hyper, key):
    """logits [N, A, C]; one plain query per example where `apply` gives [N, C]."""
    logits = apply(params, x, hyper, key).logits_bc
    return logits if logits.ndim == 3 else logits[:, None, :]


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


def entropy(apply, params, x, y, hyper, key):
    """Entropy of the prediction [N, A], nats."""
    return of_logits.entropy(queries(apply, params, x, hyper, key))


def modified_entropy(apply, params, x, y, hyper, key):
    """Modified entropy [N, A], nats."""
    return of_logits.modified_entropy(queries(apply, params, x, hyper, key), y)


# name -> fn(apply, params, x, y, hyper, key) of ONE model, apply(params, x, hyper, key) -> Output; those of one pass
PLAIN: dict[str, Callable] = {
    "phi": phi, "logp": logp, "loss": loss, "correct": correct, "logits": logits, "entropy": entropy,
    "modified_entropy": modified_entropy,
}  # fmt: skip
# and those that query the model in ways of their own; "trajectory" reads the checkpoints of `train.snapshot_epochs`
SIGNALS: dict[str, Callable] = PLAIN | inquiries.INQUIRIES | {"trajectory": loss}
# what labels alone or the inside of the network tell: a defence of probabilities does not reach it (`defences`)
PAST_DEFENCE = ("correct", "label_noise", "boundary", "gradient_norm", "rates")
LONGER = {"phi_longer": 2}  # signals of a spiking network that runs this many times its time steps


def names(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The names, checked; ValueError with the known ones otherwise."""
    unknown = sorted(set(wanted) - set(SIGNALS))
    if unknown:
        raise ValueError(f"`signals.names` must be among {sorted(SIGNALS)}, got {unknown}.")
    return tuple(dict.fromkeys(wanted))


@functools.cache
def compute(wanted: tuple[str, ...], count: int = 1, defence: Defence = UNDEFENDED) -> Callable:
    """fn(...) -> {name: [N, A, ...]} of one model with `count` queries an example, taken once for all names, and
    answered under a defence but for the signals of `PAST_DEFENCE`."""

    def signals_of(apply, params, x, y, hyper, key):
        output = with_views(apply, count)(params, x, hyper, key)
        shown = defences.answered(output, defence)

        def ask(name):
            bare = name in PAST_DEFENCE
            if name in inquiries.INQUIRIES:
                return apply if bare else defences.defended(apply, defence)
            return lambda *_: output if bare else shown

        return {name: SIGNALS[name](ask(name), params, x, y, hyper, key) for name in wanted}

    return signals_of


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
