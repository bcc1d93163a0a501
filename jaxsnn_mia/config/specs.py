"""From settings to the static specs and the traced numbers that training takes.

A field of a spec has the name of the setting that it is; what is computed is written out here.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from jaxsnn_mia import models
from jaxsnn_mia.data import splits, units
from jaxsnn_mia.kernels import quantize, surrogate
from jaxsnn_mia.models import by_name
from jaxsnn_mia.privacy import accounting
from jaxsnn_mia.privacy.accounting import Privacy
from jaxsnn_mia.settings import Config
from jaxsnn_mia.training.inputs import Inputs
from jaxsnn_mia.training.spec import TrainSpec


def from_settings(kind: type, *sections: Any, **computed: Any) -> Any:
    """A spec or `models.Hyper` with the settings of the same names, but for the fields that are computed. TypeError
    for a field that is neither."""
    names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else kind._fields  # type: ignore[attr-defined]
    given = {name: getattr(section, name) for section in sections for name in names if hasattr(section, name)}
    given |= computed
    missing = sorted(set(names) - set(given))
    if missing:
        raise TypeError(f"{kind.__name__}: no setting and no computed value for {missing}.")
    return kind(**given)


def training_inputs(
    c: Config, x: np.ndarray, y: np.ndarray, n_classes: int, keep_sn: np.ndarray, *,
    validation: tuple[np.ndarray, np.ndarray] | None = None, pixels: Any = None,
    timed: bool = False,
) -> Inputs:  # fmt: skip
    """What the training of a checked variant needs.

    Args:
      x, y: its rows [N, ...] and their labels int [N]: candidates, then those that train in every model.
      keep_sn: which shadow trains on which row, bool [S, N].
      validation: (x, y) of the validation rows, which stopping at a gap needs.
      pixels: mean and deviation of each channel, for uint8 data.
      timed: x is [N, T, ...].

    Raises ValueError for a private training on duplicates that share a column of keep, and as `accounting.plan`.
    """
    plan = privacy(c, keep_sn)
    coin_n = ~keep_sn.all(0)
    if plan and c.data.duplicates == "share" and len(np.unique(units(x[coin_n]))) < coin_n.sum():
        raise ValueError(
            "`data.duplicates` must be 'drop' with train.dp_clip for data with exact duplicates, got 'share'. They "
            "share one column of keep, and epsilon is that of one row."
        )
    rows = splits.training_rows(keep_sn)
    model = model_spec(c, x.shape[1:], n_classes, timed)
    spec = train_spec(c, model, rows[1], plan, pixels)
    data = (x, y, *validation) if spec.stop == "gap" and validation else (x, y)
    return Inputs(spec, hyper(c, plan), data, rows, c.train.seed)


def model_spec(c: Config, in_shape: tuple[int, ...], n_classes: int, timed: bool) -> models.ModelSpec:
    """The static part of the network."""
    quant = from_settings(
        models.QuantSpec,
        c.quantization,
        parts=models.QUANTIZED[c.quantization.what],
        compute="bfloat16" if c.train.precision == "bfloat16" else "float32",
    )
    return from_settings(
        models.ModelSpec,
        c.model,
        in_shape=in_shape,
        n_classes=n_classes,
        quant=quant,
        dropout=c.train.dropout > 0,
        timed=timed,
    )


def train_spec(c: Config, model: models.ModelSpec, mask_sr: np.ndarray, plan: Privacy | None, pixels: Any) -> TrainSpec:
    """The static part of the training on rows [S, R], of which the mask counts those that are no padding."""
    n_rows = mask_sr.shape[1]
    batch_size = plan.batch_size if plan else min(c.train.batch_size, n_rows)
    before_last_batch = (n_rows - 1) // batch_size * batch_size
    post_training = c.quantization.mode == "ptq"
    if c.train.stop_at_train_accuracy:
        stop = "train_accuracy"
    else:
        stop = "gap" if c.train.stop_at_gap else "never"
    return from_settings(
        TrainSpec,
        c.train,
        model=model,
        batch_size=batch_size,
        rows=n_rows,
        per_shadow_standardise=c.data.standardise == "per_shadow",
        ragged=plan is None and bool((mask_sr.sum(1) <= before_last_batch).any()),
        float_epochs=c.train.epochs if post_training else c.quantization.warmup_epochs,
        post_training=post_training,
        pixels=tuple(map(tuple, pixels)) if pixels else None,
        augment=c.data.augment,
        private=plan is not None,
        rate=plan.rate if plan else 1.0,
        capacity=plan.capacity if plan else 0,
        mixup=c.train.mixup > 0,
        stop=stop,
    )


def hyper(c: Config, plan: Privacy | None) -> models.Hyper:
    """The traced settings."""
    return from_settings(
        models.Hyper,
        c.model,
        c.train,
        slope=c.model.slope or surrogate.default_slope(by_name.surrogate(c.model.surrogate)),
        dp_noise=plan.noise if plan else 0.0,
        stop_at=c.train.stop_at_train_accuracy or c.train.stop_at_gap,
        **largest_codes(c),
    )


def privacy(c: Config, keep_sn: np.ndarray) -> Privacy | None:
    """What the private training of a checked variant spends on each model; None where it is not private.

    keep_sn: bool [S, N], of all rows that train. The rate is of half of the candidates and all rows that train in
    every model, whatever a model has; the most rows of any are taken for public. Raises ValueError as
    `accounting.plan`.
    """
    if not c.train.dp_clip:
        return None
    always = int(keep_sn.all(0).sum())
    half, rows = always + (keep_sn.shape[1] - always) // 2, int(keep_sn.sum(1).max())
    batch_size = min(c.train.batch_size, half)
    return accounting.plan(
        batch_size, half, rows, math.ceil(rows / batch_size), c.train.epochs,
        delta=c.train.dp_delta, noise=c.train.dp_noise, target=c.train.dp_epsilon,
    )  # fmt: skip


def bits(c: Config) -> dict[str, int | None]:
    """The bits of each part of a model; None for what is not quantized."""
    q = c.quantization
    quantized = [part for part in models.QUANTIZED[q.what] if part != "state" or c.model.family not in models.STATELESS]
    chosen = {"weight": q.bits, "activation": q.bits_activation, "state": q.bits_state}
    bits_of: dict[str, int | None] = {}
    for part, own in chosen.items():
        of_part = quantize.check_bits(q.bits if own == 0 else own)
        bits_of[part] = of_part if part in quantized else None
    return bits_of


def largest_codes(c: Config) -> dict[str, float]:
    """The largest codes that the bits allow, as `models.Hyper` names them; 0 is float. ReLU outputs have no sign."""
    bits_of = bits(c)
    rectified = c.model.family in models.STATELESS and c.model.architecture not in models.SIGNED
    activation = quantize.qmax_unsigned if rectified else quantize.qmax_symmetric
    return {
        "qmax_weight": quantize.qmax_symmetric(bits_of["weight"]),
        "qmax_activation": activation(bits_of["activation"]),
        "qmax_state": quantize.qmax_unsigned(bits_of["state"]),
    }
