"""Gated recurrent networks: what an engineer would train in place of a recurrent spiking network."""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxsnn_mia.kernels.numerics import align
from jaxsnn_mia.models.coding import stream
from jaxsnn_mia.models.dense import flat
from jaxsnn_mia.models.heads import DROPOUT, activity, head
from jaxsnn_mia.models.quantized import Activation, Dense, dropped, weights
from jaxsnn_mia.models.spec import Hyper, ModelSpec, Output

GATES = {"gru": 3, "lstm": 4}


class Gated(nnx.Module):
    """D - hidden, each layer a GRU or an LSTM - C; logits are the mean over time. Feedback has the bits of weights;
    what is quantized as an activation is what a layer gives to the next one.

    Sources: Cho et al. 2014 (arXiv 1406.1078) with the reset gate on the product, as cuDNN and flax have it; Hochreiter
    and Schmidhuber 1997 with a forget gate, whose bias starts at 1 (Jozefowicz et al. 2015).
    """

    def __init__(self, spec: ModelSpec, *, rngs: nnx.Rngs):
        self.spec, self.gates, sizes = spec, GATES[spec.architecture], (spec.n_features, *spec.hidden)
        self.layers, self.feedback, self.activations = nnx.List(), nnx.List(), nnx.List()
        for k, (n_in, n) in enumerate(itertools.pairwise(sizes)):
            layer = Dense(n_in, self.gates * n, spec.quant, edge=k == 0, rngs=rngs)
            if spec.architecture == "lstm":
                layer.bias[...] = layer.bias[...].at[n : 2 * n].set(1.0)
            orthogonal = [nnx.initializers.orthogonal()(rngs.params(), (n, n)) for _ in range(self.gates)]
            self.layers.append(layer)
            self.feedback.append(nnx.Param(jnp.concatenate(orthogonal, axis=1)))
            self.activations.append(Activation(spec.quant, signed=True))
        if spec.architecture == "gru":  # the candidate's second bias, inside of what the reset gate scales
            self.biases = nnx.List([nnx.Param(jnp.zeros(n)) for n in spec.hidden])
        self.head = head(spec, sizes[-1], (), neurons_before=len(spec.hidden), rngs=rngs)

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> Output:
        spec, seen = self.spec, []
        x = flat(spec, stream(spec, x, key))
        for i, (layer, back, activation) in enumerate(zip(self.layers, self.feedback, self.activations, strict=True)):
            again = weights(back[...], hyper, spec.quant, False)
            drive = layer(x, hyper)
            drive_tbg = drive if drive.ndim == 3 else jnp.broadcast_to(drive, (spec.time_steps, *drive.shape))
            if spec.architecture == "gru":
                x = gru(drive_tbg, again, self.biases[i][...])
            else:
                x = lstm(drive_tbg, again)
            x = activation(x, hyper, train)
            if spec.dropout and train and i + 1 < len(self.layers):  # the head drops the last layer's units
                x = dropped(x, hyper.dropout, jax.random.fold_in(key, DROPOUT + 1 + i))
            seen.append(activity(jnp.abs(x)))
        return self.head(x, hyper, key, train, tuple(seen))


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
