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


class Recurrent(nnx.Module):
    """D - hidden, each layer fed back to itself - C: LIF neurons that see their last spikes (as the recurrent nets of
    Cramer et al. 2020, arXiv 1910.07407), or ReLU units that see their last values. Feedback has the bits of weights;
    what is quantized as an activation is the input of spiking layers and the output of the others. Its products are of
    float32 whatever `train.precision` says."""

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

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> Output:
        spec, seen = self.spec, []
        x = flat(spec, stream(spec, x, key))
        for i, (layer, back, activation) in enumerate(zip(self.layers, self.feedback, self.activations, strict=True)):
            again = weights(back[...], hyper, spec.quant, False)
            drive = layer(x, hyper)
            steps = None if drive.ndim == 3 else spec.time_steps
            if self.spiking:
                drive = activation(drive, hyper, train)
                x = fire(spec, self.constants[i].of(hyper), key, i, drive, steps=steps, recurrent=again)
            else:
                x = activation(rectified(drive, again, steps), hyper, train)
            if spec.dropout and train and i + 1 < len(self.layers):  # the head drops the last layer's units
                x = dropped(x, hyper.dropout, jax.random.fold_in(key, DROPOUT + 1 + i))
            seen.append(activity(x))
        return self.head(x, hyper, key, train, tuple(seen))


def rectified(drive: jax.Array, again: jax.Array, steps: int | None) -> jax.Array:
    """h_t = ReLU(x_t + h_{t-1} U) [T, B, n] for x [T, B, n], or x [B, n] at each of `steps`."""
    drive_tbn = jnp.broadcast_to(drive, (steps, *drive.shape)) if steps else drive

    def step(last, x):
        new = jax.nn.relu(x + last @ again)
        return new, new

    return lax.scan(step, jnp.zeros_like(drive_tbn[0]), drive_tbn)[1]
