"""The neurons of a network, as the settings name them: their kind, their constants, and which of these are learned."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsnn_mia.kernels import neuron, surrogate
from jaxsnn_mia.models import by_name
from jaxsnn_mia.models.quantized import state_fn
from jaxsnn_mia.models.spec import Hyper, ModelSpec

# kind -> what runs a sequence: (current [T, B, ...], or [B, ...] with `steps`) -> (spikes, membrane) [T, B, ...]
KINDS: dict[str, Callable[..., tuple[jax.Array, jax.Array]]] = {
    "lif": neuron.lif,
    "if": neuron.lif,
    "synaptic": neuron.synaptic,
    "adaptive": neuron.adaptive_lif,
}


class Constants(nnx.Module):
    """What a layer of neurons learns beside its weights, of `spec.learned`: one beta and one threshold for the layer.

    Parameters are distances from the settings, which may be traced, and start at 0: beta = clip(hyper.beta + b),
    threshold = hyper.threshold exp(h), which stays positive. Weight decay does not reach them.
    """

    def __init__(self, spec: ModelSpec):
        self.learned = () if spec.family == "ann" else spec.learned
        for name in self.learned:
            setattr(self, name, nnx.Param(jnp.zeros(())))

    def of(self, hyper: Hyper) -> Hyper:
        """The settings as this layer has them."""
        if "beta" in self.learned:
            hyper = hyper._replace(beta=neuron.unit_clip(hyper.beta + self.beta[...]))
        if "threshold" in self.learned:
            hyper = hyper._replace(threshold=hyper.threshold * jnp.exp(self.threshold[...]))
        return hyper


def arguments(spec: ModelSpec, hyper: Hyper, key: jax.Array, layer: int | None = None) -> dict[str, Any]:
    """What the function of `KINDS` takes beside the current. Layers whose surrogate draws have keys of their own."""
    spike = surrogate.with_slope(by_name.surrogate(spec.surrogate), hyper.slope)
    of_kind = {
        "lif": {},
        "if": {"beta": 1.0},
        "synaptic": {"alpha": hyper.alpha},
        "adaptive": {"rho": hyper.rho, "strength": hyper.strength},
    }
    if spike.stochastic and layer is not None:
        key = jax.random.fold_in(key, layer)
    return {
        "beta": hyper.beta,
        "threshold": hyper.threshold,
        "spike": spike,
        "reset": spec.reset,
        "state_fn": state_fn(spec.quant, hyper),
        "key": key if spike.stochastic else None,
        **of_kind[spec.neuron],
    }


def fire(
    spec: ModelSpec, hyper: Hyper, key: jax.Array, layer: int, current: jax.Array, *, steps: int | None, **more: Any
) -> jax.Array:
    """The spikes [T, B, ...] of layer number `layer` for its input current."""
    return KINDS[spec.neuron](current, steps=steps, **arguments(spec, hyper, key, layer), **more)[0]
