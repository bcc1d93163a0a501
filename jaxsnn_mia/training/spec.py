"""What a training is: its static part, the state of one model, and the settings of one of its epochs."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsnn_mia import settings
from jaxsnn_mia.models import Hyper, ModelSpec

# what jax calls the precision of float32 products; its own default on an accelerator may be less than float32
PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "highest"}


@dataclasses.dataclass(frozen=True)
class TrainSpec:
    """The static part of a training: everything that changes the compiled program."""

    model: ModelSpec
    optimizer: str = settings.Train.optimizer
    momentum: float = settings.Train.momentum  # of sgd
    schedule: str = settings.Train.schedule
    epochs: int = settings.Train.epochs
    batch_size: int = settings.Train.batch_size
    rows: int = 0  # rows of the longest training set, padding included
    per_shadow_standardise: bool = False
    ragged: bool = False  # some model's rows leave a whole batch empty
    float_epochs: int = 0  # first epochs without quantization
    post_training: bool = False  # calibrate after the last epoch
    pixels: tuple[tuple[float, ...], ...] | None = None  # of uint8 data: mean and deviation of each channel, or of all
    augment: str = settings.Data.augment
    precision: str = (
        settings.Train.precision
    )  # "tf32": products of float32 on an accelerator; "bfloat16": see `QuantSpec.compute`
    private: bool = False  # gradients of single examples are clipped at hyper.dp_clip, noise on their sum
    rate: float = 1.0  # where private: the probability of each row in each step, `batch_size` rows on average
    capacity: int = 0  # where private: rows of a batch, padding included
    mixup: bool = False  # rows of a batch are mixed in pairs, by Beta(hyper.mixup, hyper.mixup)
    # "train_accuracy", "gap": a model rests once that accuracy, or its lead over validation, reaches hyper.stop_at
    stop: str = "never"

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.rows / self.batch_size)

    @property
    def padded_size(self) -> int:
        """Rows of a batch, padding included."""
        return self.capacity if self.private else self.batch_size


class Norm(NamedTuple):
    """Standardisation by a model's own training rows: (x - mean) / std, over features [D...]."""

    mean: jax.Array
    std: jax.Array


class State(NamedTuple):
    """One model in training. `params` are the variables of `models.Model`: {"params", "statistics"}. `norm` is None
    unless the model standardises with its own rows."""

    params: dict
    opt_state: Any
    norm: Norm | None


def in_float(hyper: Hyper, when: Any = True) -> Hyper:
    """The settings without quantization where `when` holds."""
    largest_codes = ("qmax_weight", "qmax_activation", "qmax_state")
    return hyper._replace(**{name: jnp.where(when, 0.0, getattr(hyper, name)) for name in largest_codes})


def at_epoch(spec: TrainSpec, hyper: Hyper, epoch: jax.Array) -> Hyper:
    """The settings of an epoch: without quantization in the first `float_epochs`."""
    return in_float(hyper, epoch < spec.float_epochs) if spec.float_epochs else hyper
