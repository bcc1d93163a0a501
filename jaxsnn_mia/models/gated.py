"""Gated recurrent networks: what an engineer would train in place of a recurrent spiking network."""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxsnn_mia.kernels.numerics import align
from jaxsnn_mia.models.heads import head
from jaxsnn_mia.models.quantized import Activation, Dense
from jaxsnn_mia.models.recurrent import FedBack, spread
from jaxsnn_mia.models.spec import Hyper, ModelSpec

GATES = {"gru": 3, "lstm": 4}


class Gated(FedBack):
    """Each layer is a GRU or an LSTM; logits are the mean over time. What is quantized as an activation is what a layer
    gives to the next one, with a sign.

    Sources: Cho et al. 2014 (arXiv 1406.1078) with the reset gate on the product, as cuDNN and flax have it; Hochreiter
    and Schmidhuber 1997 with a forget gate, whose bias starts at 1 (Jozefowicz et al. 2015).
    """

    def __init__(self, spec: ModelSpec, *, rngs: nnx.Rngs):
        self.spec, gates, sizes = spec, GATES[spec.architecture], (spec.n_features, *spec.hidden)
        self.layers, self.feedback, self.activations = nnx.List(), nnx.List(), nnx.List()
        for k, (n_in, n) in enumerate(itertools.pairwise(sizes)):
            layer = Dense(n_in, gates * n, spec.quant, edge=k == 0, rngs=rngs)
            if spec.architecture == "lstm":
                layer.bias[...] = layer.bias[...].at[n : 2 * n].set(1.0)
            orthogonal = [nnx.initializers.orthogonal()(rngs.params(), (n, n)) for _ in range(gates)]
            self.layers.append(layer)
            self.feedback.append(nnx.Param(jnp.concatenate(orthogonal, axis=1)))
            self.activations.append(Activation(spec.quant, signed=True))
        if spec.architecture == "gru":  # the candidate's second bias, inside of what the reset gate scales
            self.biases = nnx.List([nnx.Param(jnp.zeros(n)) for n in spec.hidden])
        self.head = head(spec, sizes[-1], (), neurons_before=len(spec.hidden), rngs=rngs)

    def over_time(
        self, i: int, drive: jax.Array, again: jax.Array, hyper: Hyper, key: jax.Array, train: bool
    ) -> jax.Array:
        drive_tbg = spread(drive, self.spec)
        is_gru = self.spec.architecture == "gru"
        hidden = gru(drive_tbg, again, self.biases[i][...]) if is_gru else lstm(drive_tbg, again)
        return self.activations[i](hidden, hyper, train)


def gru(drive_tbg: jax.Array, again: jax.Array, bias_n: jax.Array) -> jax.Array:
    """h [T, B, n] of gates (reset, update, candidate) whose inputs are drive [T, B, 3 n]; h' = (1 - z) c + z h."""
    n = len(bias_n)

    def step(h, x):
        fed = h @ again
        reset, update = jnp.split(jax.nn.sigmoid(x[:, : 2 * n] + fed[:, : 2 * n]), 2, axis=1)
        inner = fed[:, 2 * n :]
        candidate = jnp.tanh(x[:, 2 * n :] + reset * (inner + align(bias_n, inner)))
        new = (1 - update) * candidate + update * h
        return new, new

    return lax.scan(step, jnp.zeros((drive_tbg.shape[1], n), drive_tbg.dtype), drive_tbg)[1]


def lstm(drive_tbg: jax.Array, again: jax.Array) -> jax.Array:
    """h [T, B, n] of gates (input, forget, candidate, output) whose inputs are drive [T, B, 4 n]."""
    n = again.shape[0]

    def step(state, x):
        h, c = state
        opened, kept, candidate, shown = jnp.split(x + h @ again, 4, axis=1)
        c = jax.nn.sigmoid(kept) * c + jax.nn.sigmoid(opened) * jnp.tanh(candidate)
        h = jax.nn.sigmoid(shown) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros((drive_tbg.shape[1], n), drive_tbg.dtype)
    return lax.scan(step, (zero, zero), drive_tbg)[1]
