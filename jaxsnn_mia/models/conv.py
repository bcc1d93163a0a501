"""The parts of convolutional networks on images [B, H, W, C], or on one image a step [T, B, H, W, C].

A network and its spiking twin are one piece of code: where one has a ReLU, the other has LIF neurons.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsnn_mia.kernels import convolution, quantize
from jaxsnn_mia.kernels.numerics import align
from jaxsnn_mia.models.neurons import Constants, fire
from jaxsnn_mia.models.quantized import Activation, as_computed, weights
from jaxsnn_mia.models.spec import NORMS, Hyper, ModelSpec, QuantSpec, Statistic

GROUPS = 8
DECAY = 0.9  # of the running moments of a batch norm, per step


class Conv(nnx.Module):
    """size x size convolution with quantized weights and a bias."""

    def __init__(self, n_in: int, n_out: int, quant: QuantSpec, *, rngs: nnx.Rngs, size=3, stride=1, edge=False):
        self.kernel = nnx.Param(nnx.initializers.he_normal()(rngs.params(), (size, size, n_in, n_out)))
        self.bias = nnx.Param(jnp.zeros(n_out))
        self.quant, self.stride, self.edge = quant, stride, edge

    def __call__(self, x: jax.Array, hyper: Hyper) -> jax.Array:
        kernel = weights(self.kernel[...], hyper, self.quant, self.edge)
        out = convolution.conv(*as_computed(self.quant, x, kernel), stride=self.stride)
        return out + align(self.bias[...], out)


class Norm(nnx.Module):
    """Normalisation: "group", over space and groups of channels of one example at one step, so that no example sees
    another; or "tdbn", over time, batch and space, times the threshold in a spiking network, with running moments at
    query time (Zheng et al. 2021, arXiv 2011.05280, section 3), which ties training examples together."""

    def __init__(self, channels: int, spec: ModelSpec):
        if spec.norm not in NORMS:
            raise ValueError(f"`model.norm` must be one of {NORMS}, got {spec.norm!r}.")
        self.scale, self.bias = nnx.Param(jnp.ones(channels)), nnx.Param(jnp.zeros(channels))
        self.grouped, self.spiking = spec.norm == "group", spec.family == "snn"
        if not self.grouped:
            self.mean, self.variance = Statistic(jnp.zeros(channels)), Statistic(jnp.ones(channels))

    def __call__(self, x: jax.Array, hyper: Hyper, train: bool) -> jax.Array:
        scale, bias = self.scale[...], self.bias[...]
        if self.grouped:
            return convolution.group_norm(x, scale, bias, groups=GROUPS)
        wide = x.astype(scale.dtype)
        if train:
            axes = tuple(range(x.ndim - 1))
            mean, variance = wide.mean(axes), wide.var(axes)
            for running, new in ((self.mean, mean), (self.variance, variance)):
                running[...] = DECAY * running[...] + (1 - DECAY) * jax.lax.stop_gradient(new)
        else:
            mean, variance = self.mean[...], self.variance[...]
        gain = scale * jax.lax.rsqrt(variance + 1e-5) * (hyper.threshold if self.spiking else 1.0)
        return ((wide - align(mean, wide)) * align(gain, wide) + align(bias, wide)).astype(x.dtype)


class Fire(nnx.Module):
    """ReLU, whose output is quantized without a sign, or spiking neurons, whose input is quantized with one. `index`
    counts the layers of neurons of a network."""

    def __init__(self, spec: ModelSpec, index: int):
        self.spiking, self.hybrid = spec.family == "snn", spec.family == "hybrid"
        self.spec, self.index = spec, index
        if self.spiking:
            self.constants = Constants(spec)
        self.quant = Activation(spec.quant, signed=self.spiking)

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> jax.Array:
        if not self.spiking:
            if self.hybrid:  # one width for both kinds: what it is with a sign, without one
                hyper = hyper._replace(qmax_activation=quantize.without_sign(hyper.qmax_activation))
            return self.quant(jax.nn.relu(x), hyper, train)
        drive = self.quant(x, hyper, train)
        steps = None if drive.ndim == 5 else self.spec.time_steps
        own = self.constants.of(hyper)
        return fire(self.spec, own, key, self.index, drive, steps=steps, state_dtype=jnp.float32)


def pooled(x: jax.Array) -> jax.Array:
    """The largest of each 2 x 2 block [..., H, W, C]; an odd last row or column is left out, a side of 1 stays."""
    *lead, h, w, c = x.shape
    if min(h, w) < 2:
        return x
    images = x[..., : h - h % 2, : w - w % 2, :].reshape(-1, h - h % 2, w - w % 2, c)
    return convolution.max_pool(images).reshape(*lead, h // 2, w // 2, c)


def pooled_size(height: int, width: int) -> tuple[int, int]:
    """(H, W) of an image after `pooled`."""
    return (height, width) if min(height, width) < 2 else (height // 2, width // 2)


def activity(x: jax.Array) -> jax.Array:
    """What each channel [B, C] does: the mean over space and time."""
    return x.mean((1, 2)) if x.ndim == 4 else x.mean((0, 2, 3))
