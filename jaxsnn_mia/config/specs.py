"""From settings to the static specs and the traced numbers that training takes."""

import math
from typing import Any

import numpy as np

from jaxsnn_mia import models
from jaxsnn_mia.data import splits, units
from jaxsnn_mia.kernels import quantize, surrogate
from jaxsnn_mia.models import by_name
from jaxsnn_mia.privacy import accounting
from jaxsnn_mia.settings import Config, Quantization
from jaxsnn_mia.training.inputs import Inputs
from jaxsnn_mia.training.spec import TrainSpec


def bits(c: Config) -> dict[str, int | None]:
    """The width of each part of a model; None for what is not quantized."""
    q = c.quantization
    own = {"weight": q.bits, "activation": q.bits_activation, "state": q.bits_state}
    chosen = {part: q.bits if width == 0 else width for part, width in own.items()}
    there = [part for part in models.QUANTIZED[q.what] if part != "state" or c.model.family not in models.STATELESS]
    return {part: quantize.check_bits(width) if part in there else None for part, width in chosen.items()}


def training_inputs(
    c: Config, x: np.ndarray, y: np.ndarray, n_classes: int, keep_sn: np.ndarray, *,
    validation: tuple[np.ndarray, np.ndarray] | None = None, pixels: Any = None,
    timed: bool = False,
) -> Inputs:  # fmt: skip
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
        slope=c.model.slope or surrogate.default_slope(by_name.surrogate(c.model.surrogate)),
        **widths(c),
    )
    data = (x, y, *validation) if spec.stop == "gap" and validation else (x, y)
    return Inputs(spec, hyper, data, rows, c.train.seed)


def privacy(c: Config, keep_sn: np.ndarray) -> accounting.Privacy | None:
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


def quant_spec(q: Quantization, precision: str) -> models.QuantSpec:
    """The static part of a quantization, and of the precision of products."""
    options = {name: getattr(q, name) for name in (*models.QUANT_OPTIONS, "percentile", "decay", "lower", "upper")}
    return models.QuantSpec(
        parts=models.QUANTIZED[q.what], compute="bfloat16" if precision == "bfloat16" else "float32", **options
    )


def widths(c: Config) -> dict[str, float]:
    """The largest codes of a checked config, as `models.Hyper` names them; 0 is float. ReLU outputs have no sign."""
    width = bits(c)
    activation = quantize.qmax_unsigned if c.model.family in models.STATELESS else quantize.qmax_symmetric
    return {
        "qmax_weight": quantize.qmax_symmetric(width["weight"]),
        "qmax_activation": activation(width["activation"]),
        "qmax_state": quantize.qmax_unsigned(width["state"]),
    }
