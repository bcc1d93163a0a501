"""The optimizer of one model, with its traced learning rate and weight decay."""

from typing import Any

import jax
import optax

from jaxsnn_mia.models import Hyper
from jaxsnn_mia.training.spec import TrainSpec


def optimizer(spec: TrainSpec, hyper: Hyper) -> optax.GradientTransformation:
    """Adam or SGD with momentum, with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101)."""
    directions = {"adam": optax.scale_by_adam, "sgd": lambda: optax.trace(decay=spec.momentum)}
    steps = max(spec.epochs * spec.steps_per_epoch, 1)
    schedules = {
        "constant": lambda: optax.constant_schedule(1.0),
        "cosine": lambda: optax.cosine_decay_schedule(1.0, steps),
    }
    schedule = schedules[spec.schedule]()
    return optax.chain(
        directions[spec.optimizer](),
        optax.add_decayed_weights(hyper.weight_decay, mask=decays),
        optax.scale_by_schedule(lambda count: -hyper.lr * schedule(count)),
    )


def decays(params: Any) -> Any:
    """Which parameters weight decay draws to zero: all but learned step sizes and constants of neurons."""

    def drawn(path: Any, _: Any) -> bool:
        name = jax.tree_util.keystr(path)
        return "log_step" not in name and "constants" not in name

    return jax.tree_util.tree_map_with_path(drawn, params)
