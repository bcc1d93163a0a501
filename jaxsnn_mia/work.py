"""What the training of one variant needs, cut into groups: rows, settings and ids as arrays with a leading axis."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxsnn_mia import accounting, config, models, splits
from jaxsnn_mia.data import units
from jaxsnn_mia.ensemble import Shadows
from jaxsnn_mia.kernels import quantize, surrogate
from jaxsnn_mia.train import TrainSpec


class Work(NamedTuple):
    """Everything the training and querying of one variant needs."""

    spec: TrainSpec
    hyper: models.Hyper
    data: tuple[np.ndarray, ...]  # x, y of the candidates; then of the validation rows, where they decide on stopping
    rows: tuple[np.ndarray, np.ndarray]  # idx [S, R], mask [S, R]
    seed: int


def prepare(
    c: config.Config, x: np.ndarray, y: np.ndarray, n_classes: int, keep_sn: np.ndarray, *,
    validation: tuple[np.ndarray, np.ndarray] | None = None, pixels: Any = None,
    timed: bool = False,
) -> Work:  # fmt: skip
    """The work of one checked variant on its candidates x, y [N]; `validation` (x, y) is for stopping at a gap,
    `pixels` (mean, deviation) of each channel for uint8 images; `timed`: x is [N, T, ...]."""
    rows = splits.training_rows(keep_sn)
    private = privacy(c, keep_sn)
    if private and c.data.duplicates == "share" and len(np.unique(units(x))) < len(x):
        raise ValueError(
            "`data.duplicates` must be 'drop' with train.dp_clip for data with exact duplicates, got 'share'. They "
            "share one column of keep, and epsilon is that of one row."
        )
    batch_size = private.batch_size if private else min(c.train.batch_size, rows[0].shape[1])
    last_batch = (rows[0].shape[1] - 1) // batch_size * batch_size
    spec = TrainSpec(
        models.ModelSpec(
            family=c.model.family,
            in_shape=x.shape[1:],
            n_classes=n_classes,
            hidden=c.model.hidden,
            time_steps=c.model.time_steps,
            readout=c.model.readout,
            surrogate=c.model.surrogate,
            reset=c.model.reset,
            architecture=c.model.architecture,
            quant=quant_spec(c.quantization, c.train.precision),
            dropout=c.train.dropout > 0,
            encoding=c.model.encoding,
            timed=timed,
            norm=c.model.norm,
        ),
        optimizer=c.train.optimizer,
        momentum=c.train.momentum,
        schedule=c.train.schedule,
        epochs=c.train.epochs,
        batch_size=batch_size,
        rows=rows[0].shape[1],
        per_shadow_standardise=c.data.standardise == "per_shadow",
        ragged=private is None and bool((rows[1].sum(1) <= last_batch).any()),
        float_epochs=c.train.epochs if c.quantization.mode == "ptq" else c.quantization.warmup_epochs,
        post_training=c.quantization.mode == "ptq",
        pixels=tuple(map(tuple, pixels)) if pixels else None,
        augment=c.data.augment,
        precision=c.train.precision,
        private=private is not None,
        rate=private.rate if private else 1.0,
        capacity=private.capacity if private else 0,
        mixup=c.train.mixup > 0,
        stop="train_accuracy" if c.train.stop_at_train_accuracy else "gap" if c.train.stop_at_gap else "never",
    )
    hyper = models.Hyper(
        lr=c.train.lr,
        weight_decay=c.train.weight_decay,
        smoothing=c.train.smoothing,
        mixup=c.train.mixup,
        dropout=c.train.dropout,
        dp_clip=c.train.dp_clip,
        dp_noise=private.noise if private else 0.0,
        stop_at=c.train.stop_at_train_accuracy or c.train.stop_at_gap,
        beta=c.model.beta,
        threshold=c.model.threshold,
        slope=c.model.slope or surrogate.default_slope(c.model.surrogate),
        **widths(c),
    )
    data = (x, y, *validation) if spec.stop == "gap" and validation else (x, y)
    return Work(spec, hyper, data, rows, c.train.seed)


def privacy(c: config.Config, keep_sn: np.ndarray) -> accounting.Privacy | None:
    """What the private training of a checked variant spends on each model; None where it is not private.

    The rate is of half of the candidates, whatever a model has; the most rows of any are taken for public. Raises
    ValueError as `accounting.plan`.
    """
    if not c.train.dp_clip:
        return None
    half, rows = keep_sn.shape[1] // 2, int(keep_sn.sum(1).max())
    batch_size = min(c.train.batch_size, half)
    return accounting.plan(
        batch_size, half, rows, math.ceil(rows / batch_size), c.train.epochs,
        delta=c.train.dp_delta, noise=c.train.dp_noise, target=c.train.dp_epsilon,
    )  # fmt: skip


def quant_spec(q: config.Quantization, precision: str) -> models.QuantSpec:
    """The static part of a quantization, and of the precision of products."""
    options = {name: getattr(q, name) for name in (*models.QUANT_OPTIONS, "percentile", "decay", "lower", "upper")}
    return models.QuantSpec(
        parts=models.QUANTIZED[q.what], compute="bfloat16" if precision == "bfloat16" else "float32", **options
    )


def widths(c: config.Config) -> dict[str, float]:
    """The largest codes of a checked config, as `models.Hyper` names them; 0 is float. ReLU outputs have no sign."""
    bits = config.bits(c)
    activation = quantize.qmax_unsigned if c.model.family in models.STATELESS else quantize.qmax_symmetric
    return {
        "qmax_weight": quantize.qmax_symmetric(bits["weight"]),
        "qmax_activation": activation(bits["activation"]),
        "qmax_state": quantize.qmax_unsigned(bits["state"]),
    }


def group_length(work: Work, plan: dict[str, Any], group: int) -> int:
    """The shadows of one group; the last may be shorter."""
    return min(plan["group_size"], len(work.rows[0]) - group * plan["group_size"])


def group_of(works: list[Work], plan: dict[str, Any], group: int, n_devices: int) -> tuple[Shadows, int]:
    """(the shadows of a group of every member, one member after the other; how many are real in each): padded to
    whole blocks by repeating the last one."""
    real = group_length(works[0], plan, group)
    ids = np.tile(group * plan["group_size"] + np.arange(real, dtype=np.int32), len(works))
    hyper = models.Hyper(
        *[np.repeat(np.float32(values), real) for values in zip(*(w.hyper for w in works), strict=True)]
    )
    block = plan["width"] * n_devices
    padded = -(-len(ids) // block) * block
    ids, hyper = repeat_last((ids, hyper), padded)
    return Shadows(ids, hyper, (works[0].rows[0][ids], works[0].rows[1][ids])), real


def first_rows(tree: Any, count: int) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], tree)


def repeat_last(tree: Any, length: int) -> Any:
    return jax.tree.map(lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], length - len(leaf), 0)]), tree)
