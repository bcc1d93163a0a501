"""Spiking layers for Spyx, and trained networks as Spyx models, which `spyx.nir` exports to other frameworks and chips.

This module alone imports spyx, and nothing here imports it at start: ``from jaxsnn_mia.models import exchange``.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import spyx
from flax import nnx

from jaxsnn_mia.kernels import neuron, quantize, surrogate
from jaxsnn_mia.models.spec import Hyper, ModelSpec


class LIF(spyx.nn.LIF):
    """A leaky integrate-and-fire layer with this project's conventions that follows the Spyx protocol:
    `initial_state(batch)` and `__call__(x [B, ...], v) -> (spikes, v)`; it runs in `spyx.nn.Sequential` and `run`."""

    def __init__(self, hidden_shape, beta=None, threshold=1.0, activation=None, *, rngs: nnx.Rngs, **reset: Any):
        """Arguments of `spyx.nn.LIF`, then those of `neuron.lif_step` (reset=, reset_delay=, emit=, ...)."""
        super().__init__(hidden_shape, beta, threshold, activation or surrogate.arctan(), rngs=rngs)
        self.reset = tuple(reset.items())

    def __call__(self, x: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        v, spikes = neuron.lif_step(
            v, x, beta=self.beta[...], threshold=self.threshold, spike=self.spike, **dict(self.reset)
        )
        return spikes, v


def to_spyx(spec: ModelSpec, params: dict, hyper: Hyper) -> spyx.nn.Sequential:
    """One trained dense SNN as a Spyx model of linear and LIF layers, its weights as the network used them (quantized
    where it was). Its input is [B, D] at each step, its output the spikes of the output layer.

    Raises ValueError for another family. `spyx.nir.to_nir` keeps weights, decays and thresholds; NIR has no word for
    when a reset acts.
    """
    if spec.family != "snn":
        raise ValueError(f"only the dense spiking network goes to Spyx, got family {spec.family!r}.")
    rngs = nnx.Rngs(0)
    layers = []
    for _, layer in sorted(params["layers"].items()):
        kernel = quantize.weight(jnp.asarray(layer["kernel"]), hyper.qmax_weight, axis=-1)
        linear = nnx.Linear(*kernel.shape, rngs=rngs)
        linear.kernel[...], linear.bias[...] = kernel, jnp.asarray(layer["bias"])
        spike = surrogate.with_slope(spec.surrogate, float(np.asarray(hyper.slope)))
        cell = LIF(
            (kernel.shape[1],),
            float(np.asarray(hyper.beta)),
            float(np.asarray(hyper.threshold)),
            spike,
            rngs=rngs,
            reset=spec.reset,
        )
        layers += [linear, cell]
    return spyx.nn.Sequential(*layers)
