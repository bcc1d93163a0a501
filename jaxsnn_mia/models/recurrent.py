"""Recurrent networks, for events above all."""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxsnn_mia.models.coding import stream
from jaxsnn_mia.models.dense import flat
from jaxsnn_mia.models.heads import DROPOUT, activity, head
from jaxsnn_mia.models.neurons import Constants, fire
from jaxsnn_mia.models.quantized import Activation, Dense, dropped, weights
from jaxsnn_mia.models.spec import Hyper, ModelSpec, Output

SPREAD = 0.5  # largest gain of a new feedback: what a ReLU network holds does not grow by itself


class FedBack(nnx.Module):
    """D - hidden, each layer fed back to itself - C: what every such network shares. Feedback has the bits of weights.
    `over_time` says what a layer makes of its input and its feedback."""

    spec: ModelSpec
    layers: nnx.List
    feedback: nnx.List
    head: nnx.Module

    def over_time(
        self, i: int, drive: jax.Array, again: jax.Array, hyper: Hyper, key: jax.Array, train: bool
    ) -> jax.Array:
        """[T, B, n] of layer i for its input [T, B, ...], or [B, ...] where that is the same at every step, and its
        feedback weights."""
        raise NotImplementedError

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> Output:
        spec, seen = self.spec, []
        x = flat(spec, stream(spec, x, key))
        for i, (layer, back) in enumerate(zip(self.layers, self.feedback, strict=True)):
            again = weights(back[...], hyper, spec.quant, False)
            x = self.over_time(i, layer(x, hyper), again, hyper, key, train)
            if spec.dropout and train and i + 1 < len(self.layers):  # the head drops the last layer's units
                x = dropped(x, hyper.dropout, jax.random.fold_in(key, DROPOUT + 1 + i))
            seen.append(activity(jnp.abs(x)))
        return self.head(x, hyper, key, train, tuple(seen))


class Recurrent(FedBack):
    """Spiking neurons that see their last spikes (as the recurrent nets of Cramer et al. 2020, arXiv 1910.07407), or
    ReLU units that see their last values. What is quantized as an activation is the input of spiking layers and the
    output of the others. Products of feedback are of float32 whatever `train.precision` says."""

    def __init__(self, spec: ModelSpec, *, rngs: nnx.Rngs):
        self.spec, sizes = spec, (spec.n_features, *spec.hidden)
        self.spiking = spec.family == "snn"
        pairs = itertools.pairwise(sizes)
        self.layers = nnx.List([Dense(i, o, spec.quant, edge=k == 0, rngs=rngs) for k, (i, o) in enumerate(pairs)])
        orthogonal = nnx.initializers.orthogonal(SPREAD)
        self.feedback = nnx.List([nnx.Param(orthogonal(rngs.params(), (n, n))) for n in spec.hidden])
        self.constants = nnx.List([Constants(spec) for _ in spec.hidden])
        self.activations = nnx.List([Activation(spec.quant, signed=self.spiking) for _ in spec.hidden])
        self.head = head(spec, sizes[-1], (), neurons_before=len(spec.hidden), rngs=rngs)

    def over_time(
        self, i: int, drive: jax.Array, again: jax.Array, hyper: Hyper, key: jax.Array, train: bool
    ) -> jax.Array:
        activation = self.activations[i]
        if not self.spiking:
            return activation(rectified(spread(drive, self.spec), again), hyper, train)
        steps = None if drive.ndim == 3 else self.spec.time_steps
        own = self.constants[i].of(hyper)
        return fire(self.spec, own, key, i, activation(drive, hyper, train), steps=steps, recurrent=again)


def spread(drive: jax.Array, spec: ModelSpec) -> jax.Array:
    """[T, B, n] of [T, B, n], or of [B, n] at every step."""
    return drive if drive.ndim == 3 else jnp.broadcast_to(drive, (spec.time_steps, *drive.shape))


def rectified(drive_tbn: jax.Array, again: jax.Array) -> jax.Array:
    """h_t = ReLU(x_t + h_{t-1} U) [T, B, n] for x [T, B, n]."""

    def step(last, x):
        new = jax.nn.relu(x + last @ again)
        return new, new

    return lax.scan(step, jnp.zeros_like(drive_tbn[0]), drive_tbn)[1]
