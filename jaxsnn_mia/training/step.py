"""Training of ONE model: pure init and step functions. `ensemble.py` lifts them over the shadow axis."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxsnn_mia import models
from jaxsnn_mia.models import Hyper, Model
from jaxsnn_mia.training import gradients
from jaxsnn_mia.training.augment import augmented
from jaxsnn_mia.training.calibrate import calibrate
from jaxsnn_mia.training.gradients import Batch
from jaxsnn_mia.training.optimizer import optimizer
from jaxsnn_mia.training.spec import PRECISIONS, Norm, State, TrainSpec
from jaxsnn_mia.training.standardise import own_rows_norm, standardised

AUGMENT = 4000  # folded into a step's key, apart from those of `gradients` and of the models
ROWS_AT_ONCE = 1024  # of the validation rows


class Train(NamedTuple):
    """init(key, hyper, (idx_r, mask_r), data) -> State; step(state, (idx_b, mask_b), data, hyper, key) ->
    (State, {"loss", "correct", "count"}); apply(params, norm, x, hyper, key) -> Output at query time;
    accuracy(state, x, y, hyper, key) -> scalar; calibrate(state, batches, data, hyper, key) -> State, see
    `calibrate.calibrate`. data is (x [N, ...], labels [N])."""

    init: Callable[..., State]
    step: Callable[..., tuple[State, dict]]
    apply: Callable[..., models.Output]
    accuracy: Callable[..., jax.Array]
    calibrate: Callable[..., State]


def make_train(spec: TrainSpec) -> Train:
    """Pure functions that train one model. Raises ValueError for mixup in private training."""
    if spec.private and spec.mixup:
        raise ValueError("`mixup` must be off in private training: it puts two rows into one gradient. Set it to 0.")
    model = models.build(spec.model)

    def precisely(fn):
        """`fn` of this model, its float32 products in the precision of the spec."""

        def with_precision(*args):
            with jax.default_matmul_precision(PRECISIONS[spec.precision]):
                return fn(model, spec, *args)

        return with_precision

    return Train(partial(init, model, spec), *map(precisely, (step, apply, accuracy, calibrate)))


def init(model: Model, spec: TrainSpec, key: jax.Array, hyper: Hyper, rows: tuple, data: tuple) -> State:
    """A model before its first step; `rows` (idx_r, mask_r) are its training rows."""
    variables = model.init(key)
    norm = own_rows_norm(data[0], rows) if spec.per_shadow_standardise else None
    return State(variables, optimizer(spec, hyper).init(variables["params"]), norm)


def step(
    model: Model, spec: TrainSpec, state: State, batch: tuple, data: tuple, hyper: Hyper, key: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    """One step of the optimizer on the rows (idx_b, mask_b) of data; sums over the rows that the mask counts."""
    idx_b, mask_b = batch
    fill = spec.pixels[0] if spec.pixels else 0
    x = augmented(spec.augment, jax.random.fold_in(key, AUGMENT), data[0][idx_b], fill)
    rows = Batch(standardised(spec, state.norm, x), data[1][idx_b], mask_b)
    grads, seen = gradient_of(spec)(model, spec, state, rows, hyper, key)
    params = state.params["params"]
    updates, opt_state = optimizer(spec, hyper).update(grads, state.opt_state, params)
    variables = {"params": optax.apply_updates(params, updates), "statistics": seen.statistics}
    stepped = State(variables, opt_state, state.norm)
    if spec.ragged and not spec.private:  # an empty batch is no step; a private one has its noise
        stepped = jax.tree.map(lambda new, old: jnp.where(mask_b.sum() > 0, new, old), stepped, state)
    correct = ((seen.logits_bc.argmax(1) == seen.labels_b) * mask_b).sum()
    return stepped, {"loss": seen.loss, "correct": correct, "count": mask_b.sum()}


def gradient_of(spec: TrainSpec) -> Callable:
    """The gradient function of `gradients` that the spec asks for."""
    if spec.private:
        return gradients.private
    return gradients.mixup if spec.mixup else gradients.plain


def apply(
    model: Model, spec: TrainSpec, params: dict, norm: Norm | None, x: jax.Array, hyper: Hyper, key: jax.Array
) -> models.Output:
    """What a trained model answers."""
    return model.apply(params, standardised(spec, norm, x), hyper, key, train=False)


def accuracy(
    model: Model, spec: TrainSpec, state: State, x: jax.Array, labels_n: jax.Array, hyper: Hyper, key: jax.Array
) -> jax.Array:
    """The share of the rows x [N, ...] whose largest logit is the label's, in blocks of at most `ROWS_AT_ONCE`."""

    def right(x, labels_b):
        return apply(model, spec, state.params, state.norm, x, hyper, key).logits_bc.argmax(1) == labels_b

    n_blocks = -(-len(x) // ROWS_AT_ONCE)
    if n_blocks == 1:
        return right(x, labels_n).mean()
    at = jnp.arange(n_blocks * ROWS_AT_ONCE).reshape(n_blocks, -1)
    rows = at % len(x)  # the last block goes on with the first rows, which do not count again
    counted = lax.map(lambda block: right(x[block[0]], labels_n[block[0]]) & (block[1] < len(x)), (rows, at))
    return counted.sum() / len(x)
