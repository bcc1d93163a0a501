"""The dense twins: the same layers, once with ReLU and once with LIF neurons."""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsnn_mia.kernels import neuron, readout, surrogate
from jaxsnn_mia.models.quantized import Activation, Dense, dropped, state_fn, weights
from jaxsnn_mia.models.spec import READOUTS, Hyper, ModelSpec, Output

DROPOUT = 1000  # plus a layer's number, folded into a key: apart from the keys of stochastic surrogates


def layers(spec: ModelSpec, rngs: nnx.Rngs) -> nnx.List:
    sizes = list(itertools.pairwise((spec.n_features, *spec.hidden, spec.n_classes)))
    edges = (0, len(sizes) - 1)
    return nnx.List([Dense(i, o, spec.quant, edge=k in edges, rngs=rngs) for k, (i, o) in enumerate(sizes)])


class DenseANN(nnx.Module):
    """D - hidden - C with ReLU between the layers; what leaves a ReLU is quantized without a sign."""

    def __init__(self, spec: ModelSpec, *, rngs: nnx.Rngs):
        self.layers = layers(spec, rngs)
        self.activations = nnx.List([Activation(spec.quant, signed=False) for _ in spec.hidden])
        self.dropout = spec.dropout

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> Output:
        x_bd, hidden = x.reshape(x.shape[0], -1), []
        for i, (layer, activation) in enumerate(zip(self.layers[:-1], self.activations, strict=True)):
            x_bd = activation(jax.nn.relu(layer(x_bd, hyper)), hyper, train)
            if self.dropout and train:
                x_bd = dropped(x_bd, hyper.dropout, jax.random.fold_in(key, DROPOUT + i))
            hidden.append(x_bd)
        return Output(self.layers[-1](x_bd, hyper), None, {} if train else active(hidden))


def active(hidden: list[jax.Array]) -> dict[str, jax.Array]:
    """What the hidden units [B, n] of each layer do, side by side, for those who look inside."""
    return {"rates": jnp.concatenate(hidden, axis=1)} if hidden else {}


class DenseSNN(nnx.Module):
    """D - hidden - C with LIF neurons; the same analogue input at each of T steps.

    The first product does not depend on time, so it is taken once, and its result is never spread over time. Spikes are
    0 or 1 and lie on any grid; what quantization reaches is the weights, the synaptic currents (signed) and the
    membranes.
    """

    def __init__(self, spec: ModelSpec, *, rngs: nnx.Rngs):
        self.spec = spec
        self.layers = layers(spec, rngs)
        self.currents = nnx.List([Activation(spec.quant, signed=True) for _ in self.layers])

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> Output:
        spec = self.spec
        cell = neurons(spec, hyper, key)
        drive, steps = self.currents[0](self.layers[0](x.reshape(x.shape[0], -1), hyper), hyper, train), spec.time_steps
        hidden = []
        for i, (layer, current) in enumerate(zip(self.layers[1:], self.currents[1:], strict=True)):
            spikes_tbd, _ = neuron.lif(drive, steps=None if i else steps, **of_layer(cell, i))
            if spec.dropout and train:
                spikes_tbd = dropped(spikes_tbd, hyper.dropout, jax.random.fold_in(key, DROPOUT + i))
            hidden.append(spikes_tbd.mean(0))
            if train and layer is self.layers[-1] and reads_last_membrane(spec, cell):
                return Output(last_membrane(spec, spikes_tbd, layer, hyper, cell), None, {})
            drive = current(layer(spikes_tbd, hyper), hyper, train)
        if len(self.layers) == 1:
            drive = jnp.broadcast_to(drive, (steps, *drive.shape))
        return read_out(spec.readout, drive, cell)._replace(aux={} if train else active(hidden))


def neurons(spec: ModelSpec, hyper: Hyper, key: jax.Array) -> dict:
    """The arguments of `lif` for the neurons of a model; a key only where the surrogate draws."""
    spike = surrogate.with_slope(spec.surrogate, hyper.slope)
    return {
        "beta": hyper.beta,
        "threshold": hyper.threshold,
        "spike": spike,
        "reset": spec.reset,
        "state_fn": state_fn(spec.quant, hyper),
        "key": key if spike.stochastic else None,
    }


def of_layer(cell: dict, i: int) -> dict:
    """`cell` with a key of its own for layer i."""
    return cell if cell["key"] is None else {**cell, "key": jax.random.fold_in(cell["key"], i)}


def reads_last_membrane(spec: ModelSpec, cell: dict) -> bool:
    """Whether the logits are a last membrane that is linear in the currents, in float: `kernels.readout`."""
    plain = "activation" not in spec.quant.parts and spec.quant.compute == "float32" and cell["key"] is None
    fires = spec.readout == "membrane_last" and spec.reset in readout.RESETS
    return plain and (fires or spec.readout == "leaky_integrator")


def last_membrane(spec: ModelSpec, spikes_tbd: jax.Array, layer: Dense, hyper: Hyper, cell: dict) -> jax.Array:
    """Logits [B, C] as `read_out` gives them for the currents of `layer`."""
    kernel = weights(layer.kernel[...], hyper, spec.quant, layer.edge)
    if spec.readout == "leaky_integrator":
        return readout.last_membrane(spikes_tbd, kernel, layer.bias[...], beta=cell["beta"])
    firing = {name: cell[name] for name in ("beta", "threshold", "spike", "reset")}
    return readout.last_membrane(spikes_tbd, kernel, layer.bias[...], **firing)


def read_out(how: str, current_tbc: jax.Array, cell: dict) -> Output:
    """Logits of the output layer from its input currents [T, B, C]; `cell` holds the arguments of `lif`.

    logits_tbc [T, B, C] are what the readout would say had the time ended at each step. A membrane that is itself the
    logits is not quantized: the range of a state quantizer ends just above the threshold, and a classifier whose logits
    cannot leave it does not learn.
    """
    if how == "leaky_integrator":
        membrane_tbc = neuron.leaky_integrator(current_tbc, beta=cell["beta"])
        return Output(membrane_tbc[-1], membrane_tbc, {})
    if how != "spike_count":
        cell = {**cell, "state_fn": None}
    spikes_tbc, membrane_tbc = neuron.lif(current_tbc, **cell)
    if how == "membrane_last":
        return Output(membrane_tbc[-1], membrane_tbc, {})
    if how == "membrane_mean":
        steps_t = jnp.arange(1, membrane_tbc.shape[0] + 1, dtype=membrane_tbc.dtype)
        return Output(membrane_tbc.mean(0), jnp.cumsum(membrane_tbc, axis=0) / steps_t[:, None, None], {})
    if how == "spike_count":
        return Output(spikes_tbc.sum(0), jnp.cumsum(spikes_tbc, axis=0), {})
    raise ValueError(f"`model.readout` must be one of {READOUTS}, got {how!r}.")
