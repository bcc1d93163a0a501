"""Calibration after training: the ranges of activations, seen in float on a model's own rows."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxsnn_mia.models import Hyper, Model
from jaxsnn_mia.training.spec import State, TrainSpec, in_float
from jaxsnn_mia.training.standardise import standardised


def calibrate(
    model: Model, spec: TrainSpec, state: State, batches: tuple, data: tuple, hyper: Hyper, key: jax.Array
) -> State:
    """The state with the statistics of the model as it is, seen without quantization and without dropout on batches
    (idx [K, B], mask [K, B]): the largest range of any batch, or the mean over rows where ranges are percentiles.

    Raises ValueError for a model that was not trained, where that is known (not under jit).
    """
    check_trained(state)
    idx_kb, mask_kb = batches
    unseen = state.params | {"statistics": jax.tree.map(jnp.zeros_like, state.params["statistics"])}
    as_queried = in_float(hyper)._replace(dropout=jnp.zeros_like(hyper.dropout))

    def ranges(idx_b):
        x = standardised(spec, state.norm, data[0][idx_b])
        return model.apply(unseen, x, as_queried, key, train=True).aux["statistics"]

    # a running average takes its first value whole, so these are the ranges of each batch
    ranges_k = jax.lax.map(ranges, idx_kb)
    if spec.model.quant.calibration == "absmax":
        statistics = jax.tree.map(lambda range_k: range_k.max(), ranges_k)
    else:
        share_k = mask_kb.sum(1) / mask_kb.sum()
        statistics = jax.tree.map(lambda range_k: (share_k * range_k).sum(), ranges_k)
    return state._replace(params=state.params | {"statistics": statistics})


def check_trained(state: State) -> None:
    """ValueError for a state after 0 steps, where their number is known."""
    steps = optax.tree.get_all_with_path(state.opt_state, "count")[-1][1]
    if not isinstance(steps, jax.core.Tracer) and not np.all(np.asarray(steps) > 0):
        raise ValueError("post-training quantization needs a trained model, got one after 0 steps. Train it first.")
