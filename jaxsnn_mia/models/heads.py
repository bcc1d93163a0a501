"""Stacks of dense layers that end in logits: one with ReLU between the layers, one with LIF neurons.

Their input is [B, D], the same at every step, or [T, B, D]. They are the dense networks, and the last part of the
convolutional ones.
"""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsnn_mia.kernels import neuron
from jaxsnn_mia.kernels.neuron import readout
from jaxsnn_mia.models.neurons import KINDS, Constants, arguments, fire
from jaxsnn_mia.models.quantized import Activation, Dense, dropped, weights
from jaxsnn_mia.models.spec import COUNTED, READOUTS, Hyper, ModelSpec, Output

DROPOUT = 1000  # plus a layer's number, folded into a key: apart from the keys of stochastic surrogates


def layers(spec: ModelSpec, n_in: int, hidden: tuple[int, ...], n_out: int, whole: bool, rngs: nnx.Rngs) -> nnx.List:
    """Dense layers from n_in features to the outputs; where they are the whole network, the first is an edge too."""
    sizes = list(itertools.pairwise((n_in, *hidden, n_out)))
    edges = (0, len(sizes) - 1) if whole else (len(sizes) - 1,)
    return nnx.List([Dense(i, o, spec.quant, edge=k in edges, rngs=rngs) for k, (i, o) in enumerate(sizes)])


class ReluHead(nnx.Module):
    """n_in - hidden - C with ReLU between the layers; what leaves a ReLU is quantized without a sign. Input over time
    runs through it step by step, and the logits are averaged. `first` is how many layers of units come before it."""

    def __init__(
        self, spec: ModelSpec, n_in: int, hidden: tuple[int, ...], *, whole: bool = False, first: int = 0,
        rngs: nnx.Rngs,
    ):  # fmt: skip
        self.first = first
        self.layers = layers(spec, n_in, hidden, spec.n_classes, whole, rngs)
        self.activations = nnx.List([Activation(spec.quant, signed=False) for _ in hidden])
        self.dropout = spec.dropout

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool, before: tuple = ()) -> Output:
        seen = list(before)
        if self.dropout and train and len(self.layers) == 1 and self.first:
            x = dropped(x, hyper.dropout, jax.random.fold_in(key, DROPOUT))
        for i, (layer, activation) in enumerate(zip(self.layers[:-1], self.activations, strict=True)):
            x = activation(jax.nn.relu(layer(x, hyper)), hyper, train)
            if self.dropout and train:
                x = dropped(x, hyper.dropout, jax.random.fold_in(key, DROPOUT + i))
            seen.append(activity(x))
        logits = self.layers[-1](x, hyper)
        output = averaged(logits) if logits.ndim == 3 else Output(logits, None, {})
        return output._replace(aux={} if train else active(seen))


class SpikingHead(nnx.Module):
    """n_in - hidden - C with spiking neurons. Where the input does not depend on time, its product is taken once and
    never spread over time. Spikes are 0 or 1 and lie on any grid; what quantization reaches is the weights, the
    synaptic currents (signed) and the membranes. `first` is how many layers of neurons come before it."""

    def __init__(
        self, spec: ModelSpec, n_in: int, hidden: tuple[int, ...], *, whole: bool = False, first: int = 0,
        rngs: nnx.Rngs,
    ):  # fmt: skip
        self.spec, self.first = spec, first
        n_out = spec.n_classes * (spec.population if spec.readout == "population" else 1)
        self.layers = layers(spec, n_in, hidden, n_out, whole, rngs)
        self.currents = nnx.List([Activation(spec.quant, signed=True) for _ in self.layers])
        self.constants = nnx.List([Constants(spec) for _ in self.layers])

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool, before: tuple = ()) -> Output:
        spec, seen = self.spec, list(before)
        if spec.dropout and train and len(self.layers) == 1 and self.first:
            x = dropped(x, hyper.dropout, jax.random.fold_in(key, DROPOUT))
        for i, (layer, current) in enumerate(zip(self.layers[:-1], self.currents[:-1], strict=True)):
            drive = current(layer(x, hyper), hyper, train)
            steps = None if drive.ndim == 3 else spec.time_steps
            x = fire(spec, self.constants[i].of(hyper), key, self.first + i, drive, steps=steps)
            if spec.dropout and train:
                x = dropped(x, hyper.dropout, jax.random.fold_in(key, DROPOUT + i))
            seen.append(activity(x))
        cell = arguments(spec, self.constants[-1].of(hyper), key)
        if train and x.ndim == 3 and reads_last_membrane(spec, cell):
            return Output(last_membrane(spec, x, self.layers[-1], hyper, cell), None, {})
        drive = self.currents[-1](self.layers[-1](x, hyper), hyper, train)
        drive = drive if drive.ndim == 3 else jnp.broadcast_to(drive, (spec.time_steps, *drive.shape))
        return read_out(spec, drive, cell)._replace(aux={} if train else active(seen))


def head(spec: ModelSpec, n_in: int, hidden: tuple[int, ...], *, neurons_before: int, rngs: nnx.Rngs) -> nnx.Module:
    """The dense layers after others; they spike in a hybrid network too."""
    if spec.family == "ann":
        return ReluHead(spec, n_in, hidden, first=neurons_before, rngs=rngs)
    return SpikingHead(spec, n_in, hidden, first=neurons_before, rngs=rngs)


def activity(x: jax.Array) -> jax.Array:
    """What units do: values [B, n], or their mean over time [T, B, n]."""
    return x if x.ndim == 2 else x.mean(0)


def active(seen: list[jax.Array]) -> dict[str, jax.Array]:
    """What the hidden units [B, n] of each layer do, side by side, for those who look inside."""
    return {"rates": jnp.concatenate(seen, axis=1)} if seen else {}


def averaged(logits_tbc: jax.Array) -> Output:
    """The mean over time, and what it would have been had the time ended at each step."""
    steps_t = jnp.arange(1, len(logits_tbc) + 1, dtype=logits_tbc.dtype)
    return Output(logits_tbc.mean(0), jnp.cumsum(logits_tbc, axis=0) / steps_t[:, None, None], {})


def reads_last_membrane(spec: ModelSpec, cell: dict) -> bool:
    """Whether the logits are a last membrane that is linear in the currents, in float: `kernels.readout`."""
    plain = "activation" not in spec.quant.parts and spec.quant.compute == "float32" and cell["key"] is None
    fires = spec.readout == "membrane_last" and spec.reset in readout.RESETS and spec.neuron in ("lif", "if")
    return plain and (fires or spec.readout == "leaky_integrator")


def last_membrane(spec: ModelSpec, spikes_tbd: jax.Array, layer: Dense, hyper: Hyper, cell: dict) -> jax.Array:
    """Logits [B, C] as `read_out` gives them for the currents of `layer`."""
    kernel = weights(layer.kernel[...], hyper, spec.quant, layer.edge)
    if spec.readout == "leaky_integrator":
        return readout.last_membrane(spikes_tbd, kernel, layer.bias[...], beta=cell["beta"])
    firing = {name: cell[name] for name in ("beta", "threshold", "spike", "reset")}
    return readout.last_membrane(spikes_tbd, kernel, layer.bias[...], **firing)


def read_out(spec: ModelSpec, current_tbc: jax.Array, cell: dict) -> Output:
    """Logits of the output layer from its input currents [T, B, C]; `cell` holds the arguments of its neurons. With
    readout "population" they are [T, B, C P], P neurons side by side for each class, and logits count their mean
    spikes (as the population codes of snnTorch).

    logits_tbc [T, B, C] are what the readout would say had the time ended at each step. A membrane that is itself the
    logits is not quantized: the range of a state quantizer ends just above the threshold, and a classifier whose logits
    cannot leave it does not learn.
    """
    how = spec.readout
    if how == "leaky_integrator":
        membrane_tbc = neuron.leaky_integrator(current_tbc, beta=cell["beta"])
        return Output(membrane_tbc[-1], membrane_tbc, {})
    if how not in COUNTED:
        cell = {**cell, "state_fn": None}
    spikes_tbc, membrane_tbc = KINDS[spec.neuron](current_tbc, **cell)
    if how == "membrane_last":
        return Output(membrane_tbc[-1], membrane_tbc, {})
    if how == "membrane_mean":
        return averaged(membrane_tbc)
    if how == "population":
        spikes_tbc = spikes_tbc.reshape(*spikes_tbc.shape[:2], spec.n_classes, spec.population).mean(-1)
    if how in COUNTED:
        return Output(spikes_tbc.sum(0), jnp.cumsum(spikes_tbc, axis=0), {})
    raise ValueError(f"`model.readout` must be one of {READOUTS}, got {how!r}.")
