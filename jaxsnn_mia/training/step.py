"""Training of ONE model: pure init and step functions. `ensemble.py` lifts them over the shadow axis."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxsnn_mia import models
from jaxsnn_mia.kernels.numerics import align
from jaxsnn_mia.models import Hyper, ModelSpec
from jaxsnn_mia.privacy import dp_sgd
from jaxsnn_mia.training.augment import augmented, mixed

AUGMENT, NOISE, EXAMPLES = 4000, 4001, 4002  # folded into a step's key, apart from those of the models
MIXUP = 3000  # apart from what models fold into the same key
ROWS_AT_ONCE = 1024  # of the validation rows
OPTIMIZERS = ("adam", "sgd")
SCHEDULES = ("constant", "cosine")
STANDARDISE = ("dataset", "range", "per_shadow", "none")
# what jax calls the precision of float32 products; its own default on an accelerator may be less than float32
PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "highest"}
STOPS = ("never", "train_accuracy", "gap")


@dataclasses.dataclass(frozen=True)
class TrainSpec:
    """The static part of a training: everything that changes the compiled program."""

    model: ModelSpec
    optimizer: str = "adam"
    momentum: float = 0.9  # of sgd
    schedule: str = "constant"
    epochs: int = 40
    batch_size: int = 64
    rows: int = 0  # rows of the longest training set, padding included
    per_shadow_standardise: bool = False
    ragged: bool = False  # some model's rows leave a whole batch empty
    float_epochs: int = 0  # first epochs without quantization
    post_training: bool = False  # calibrate after the last epoch
    pixels: tuple[tuple[float, ...], ...] | None = None  # of uint8 data: mean and deviation of each channel, or of all
    augment: str = "none"
    precision: str = "float32"  # "tf32": products of float32 on an accelerator; "bfloat16": see `QuantSpec.compute`
    private: bool = False  # gradients of single examples are clipped at hyper.dp_clip, noise on their sum
    rate: float = 1.0  # where private: the probability of each row in each step, `batch_size` rows on average
    capacity: int = 0  # where private: rows of a batch, padding included
    mixup: bool = False  # rows of a batch are mixed in pairs, by Beta(hyper.mixup, hyper.mixup)
    stop: str = "never"  # a model rests once its training accuracy, or its gap to validation, reaches hyper.stop_at

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


class Train(NamedTuple):
    """init(key, hyper, (idx_r, mask_r), data) -> State; step(state, (idx_b, mask_b), data, hyper, key) ->
    (State, {"loss", "correct", "count"}); apply(params, norm, x, hyper, key) -> Output at query time;
    accuracy(state, x, y, hyper, key) -> scalar; calibrate(state, batches, data, hyper, key) -> State with the
    statistics of the model as it is, seen without quantization on batches (idx [K, B], mask [K, B])."""

    init: Callable[..., State]
    step: Callable[..., tuple[State, dict]]
    apply: Callable[..., models.Output]
    accuracy: Callable[..., jax.Array]
    calibrate: Callable[..., State]


def optimizer(spec: TrainSpec, hyper: Hyper) -> optax.GradientTransformation:
    """Adam or SGD with momentum; decoupled weight decay and learning rate from `hyper`."""
    direction = {
        "adam": lambda: optax.scale_by_adam(),
        "sgd": lambda: optax.trace(decay=spec.momentum),
    }[spec.optimizer]()
    total = spec.epochs * spec.steps_per_epoch
    shape = {
        "constant": lambda: optax.constant_schedule(1.0),
        "cosine": lambda: optax.cosine_decay_schedule(1.0, max(total, 1)),
    }[spec.schedule]()
    return optax.chain(
        direction,
        optax.add_decayed_weights(hyper.weight_decay, mask=decays),
        optax.scale_by_schedule(lambda count: -hyper.lr * shape(count)),
    )


def decays(params: Any) -> Any:
    """Which parameters weight decay draws to zero: all but learned step sizes."""
    return jax.tree_util.tree_map_with_path(lambda path, _: "log_step" not in jax.tree_util.keystr(path), params)


def cross_entropy(logits_bc: jax.Array, labels_b: jax.Array, smoothing: Any = 0.0) -> jax.Array:
    """Cross-entropy [B] against labels smoothed by `smoothing` towards the uniform distribution."""
    logp_bc = jax.nn.log_softmax(logits_bc)
    own_b = jnp.take_along_axis(logp_bc, labels_b[:, None], axis=1)[:, 0]
    return -(1 - smoothing) * own_b - smoothing * logp_bc.mean(1)


def own_rows_norm(x: jax.Array, rows: tuple[jax.Array, jax.Array]) -> Norm:
    """Mean and standard deviation of the rows (idx_r, mask_r) of x; features that do not vary get 1."""
    idx_r, mask_r = rows
    own = x[idx_r]
    weight = (mask_r / mask_r.sum()).reshape(-1, *[1] * (own.ndim - 1))
    mean = (own * weight).sum(0)
    std = jnp.sqrt((weight * (own - mean[None]) ** 2).sum(0))
    return Norm(mean, jnp.where(std > 1e-6, std, 1.0))


def in_float(hyper: Hyper, when: Any = True) -> Hyper:
    """The settings without quantization where `when` holds."""
    widths = ("qmax_weight", "qmax_activation", "qmax_state")
    return hyper._replace(**{name: jnp.where(when, 0.0, getattr(hyper, name)) for name in widths})


def at_epoch(spec: TrainSpec, hyper: Hyper, epoch: jax.Array) -> Hyper:
    """The settings of an epoch: without quantization in the first `float_epochs`."""
    return in_float(hyper, epoch < spec.float_epochs) if spec.float_epochs else hyper


def make_train(spec: TrainSpec) -> Train:
    """Pure functions that train one model on rows of data = (x [N, ...], labels [N]).

    Under mixup the loss is that of both labels, in their shares; "correct" counts the label of the larger share.
    """
    if spec.private and spec.mixup:
        raise ValueError("`mixup` must be off in private training: it puts two rows into one gradient. Set it to 0.")
    model = models.build(spec.model)

    def normalise(norm, x):
        if spec.pixels:
            mean, deviation = (align(jnp.asarray(a, jnp.float32), x) for a in spec.pixels)
            return (x.astype(jnp.float32) - mean) / deviation
        return x if norm is None else (x - norm.mean[None]) / norm.std[None]

    def init(key, hyper, rows, data):
        variables = model.init(key)
        norm = own_rows_norm(data[0], rows) if spec.per_shadow_standardise else None
        return State(variables, optimizer(spec, hyper).init(variables["params"]), norm)

    def step(state, batch, data, hyper, key):
        idx_b, mask_b = batch
        fill = spec.pixels[0] if spec.pixels else 0
        x = augmented(spec.augment, jax.random.fold_in(key, AUGMENT), data[0][idx_b], fill)
        x, labels_b = normalise(state.norm, x), data[1][idx_b]
        params, likely_b = state.params["params"], labels_b
        if spec.mixup:
            x, others_b, share = mixed(jax.random.fold_in(key, MIXUP), x, labels_b, mask_b, hyper.mixup)
            likely_b = jnp.where(share >= 0.5, labels_b, others_b)

        def mean_loss(params, x, labels_b, mask_b, key):
            out = model.apply(state.params | {"params": params}, x, hyper, key, train=True)
            loss_b = cross_entropy(out.logits_bc, labels_b, hyper.smoothing)
            if spec.mixup:
                loss_b = share * loss_b + (1 - share) * cross_entropy(out.logits_bc, others_b, hyper.smoothing)
            loss_b = loss_b * mask_b
            return loss_b.sum() / jnp.maximum(mask_b.sum(), 1), (loss_b.sum(), out.logits_bc, out.aux["statistics"])

        gradient = jax.grad(mean_loss, has_aux=True)
        if spec.private:
            keys_b = jax.random.split(jax.random.fold_in(key, EXAMPLES), len(mask_b))
            each = jax.vmap(gradient, (None, 0, 0, 0, 0))
            grads_b, (loss_b, logits_bc, _) = each(
                params, x[:, None], labels_b[:, None], jnp.ones_like(mask_b)[:, None], keys_b
            )
            grads = dp_sgd.private_mean(grads_b, mask_b, hyper, jax.random.fold_in(key, NOISE), spec.batch_size)
            loss, logits_bc, statistics = (loss_b * mask_b).sum(), logits_bc[:, 0], state.params["statistics"]
        else:
            grads, (loss, logits_bc, statistics) = gradient(params, x, labels_b, mask_b, key)
        updates, opt_state = optimizer(spec, hyper).update(grads, state.opt_state, params)
        correct = ((logits_bc.argmax(1) == likely_b) * mask_b).sum()
        metrics = {"loss": loss, "correct": correct, "count": mask_b.sum()}
        variables = {"params": optax.apply_updates(params, updates), "statistics": statistics}
        stepped = State(variables, opt_state, state.norm)
        if spec.ragged and not spec.private:  # an empty batch is no step; a private one has its noise
            stepped = jax.tree.map(lambda new, old: jnp.where(mask_b.sum() > 0, new, old), stepped, state)
        return stepped, metrics

    def apply(params, norm, x, hyper, key):
        return model.apply(params, normalise(norm, x), hyper, key, train=False)

    def accuracy(state, x, labels_n, hyper, key):
        def right(x, labels_b):
            return apply(state.params, state.norm, x, hyper, key).logits_bc.argmax(1) == labels_b

        blocks = -(-len(x) // ROWS_AT_ONCE)
        if blocks == 1:
            return right(x, labels_n).mean()
        at = jnp.arange(blocks * ROWS_AT_ONCE).reshape(blocks, -1)
        rows = at % len(x)
        counted = lax.map(lambda block: right(x[block[0]], labels_n[block[0]]) & (block[1] < len(x)), (rows, at))
        return counted.sum() / len(x)

    def calibrate(state, batches, data, hyper, key):
        steps = optax.tree.get_all_with_path(state.opt_state, "count")[-1][1]
        if not isinstance(steps, jax.core.Tracer) and not np.all(np.asarray(steps) > 0):
            raise ValueError("post-training quantization needs a trained model, got one after 0 steps. Train it first.")
        unseen = state.params | {"statistics": jax.tree.map(jnp.zeros_like, state.params["statistics"])}

        def seen(idx_b):
            x = normalise(state.norm, data[0][idx_b])
            whole = in_float(hyper)._replace(dropout=jnp.zeros_like(hyper.dropout))  # as it answers queries
            return model.apply(unseen, x, whole, key, train=True).aux["statistics"]

        # a running average takes its first value whole, so these are the ranges of each batch
        each = jax.lax.map(seen, batches[0])
        share_k = batches[1].sum(1) / batches[1].sum()
        absmax = spec.model.quant.calibration == "absmax"
        joined = jax.tree.map(lambda a_k: a_k.max() if absmax else (share_k * a_k).sum(), each)
        return state._replace(params=state.params | {"statistics": joined})

    def precisely(fn):
        def with_precision(*args):
            with jax.default_matmul_precision(PRECISIONS[spec.precision]):
                return fn(*args)

        return with_precision

    return Train(init, *map(precisely, (step, apply, accuracy, calibrate)))
