"""Convolutional networks on images [B, H, W, channels]: the small net of the literature, and residual nets.

They normalise by groups of channels, never over the batch: what an example gives does not depend on its batch-mates.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsnn_mia.kernels import convolution
from jaxsnn_mia.kernels.neuron import align
from jaxsnn_mia.models.quantized import Activation, Dense, as_computed, dropped, weights
from jaxsnn_mia.models.spec import Hyper, ModelSpec, Output, QuantSpec

GROUPS = 8
CHANNELS = (32, 64)  # of the small net
RESNETS = {"resnet8": ((16, 32, 64), 1), "resnet18": ((64, 128, 256, 512), 2)}  # channels of each stage, its blocks


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
    """Normalisation over groups of channels."""

    def __init__(self, channels: int):
        self.scale, self.bias = nnx.Param(jnp.ones(channels)), nnx.Param(jnp.zeros(channels))

    def __call__(self, x: jax.Array) -> jax.Array:
        return convolution.group_norm(x, self.scale[...], self.bias[...], groups=GROUPS)


class Head(nnx.Module):
    """Dense layers from features [B, D] to logits [B, C], ReLU between them; dropout before all but the first, or
    before the only one."""

    def __init__(self, n_in: int, spec: ModelSpec, hidden: tuple[int, ...], *, rngs: nnx.Rngs):
        sizes = (n_in, *hidden, spec.n_classes)
        self.layers = nnx.List(
            [
                Dense(sizes[i], sizes[i + 1], spec.quant, edge=i == len(hidden), rngs=rngs)
                for i in range(len(hidden) + 1)
            ]
        )
        self.activations = nnx.List([Activation(spec.quant, signed=False) for _ in hidden])
        self.dropout = spec.dropout

    def __call__(self, x_bd: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> jax.Array:
        for i, (layer, activation) in enumerate(zip(self.layers[:-1], self.activations, strict=True)):
            x_bd = activation(jax.nn.relu(layer(x_bd, hyper)), hyper, train)
            if self.dropout and train and i + 2 < len(self.layers):
                x_bd = dropped(x_bd, hyper.dropout, jax.random.fold_in(key, i))
        if self.dropout and train:
            x_bd = dropped(x_bd, hyper.dropout, key)
        return self.layers[-1](x_bd, hyper)


class ConvNetANN(nnx.Module):
    """conv 32 - ReLU - pool - conv 64 - ReLU - pool - dense hidden - ReLU - dense C, the net of arXiv 2411.06613."""

    def __init__(self, spec: ModelSpec, *, rngs: nnx.Rngs):
        height, width, channels = spec.in_shape
        sizes = (channels, *CHANNELS)
        self.convs = nnx.List(
            [Conv(sizes[i], sizes[i + 1], spec.quant, edge=i == 0, rngs=rngs) for i in range(len(CHANNELS))]
        )
        self.activations = nnx.List([Activation(spec.quant, signed=False) for _ in CHANNELS])
        self.head = Head((height // 4) * (width // 4) * CHANNELS[-1], spec, spec.hidden, rngs=rngs)

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> Output:
        for conv, activation in zip(self.convs, self.activations, strict=True):
            x = convolution.max_pool(activation(jax.nn.relu(conv(x, hyper)), hyper, train))
        return Output(self.head(x.reshape(x.shape[0], -1), hyper, key, train), None, {})


class Block(nnx.Module):
    """Two 3x3 convolutions around a shortcut, which is a 1x1 convolution where the shape changes.
    He et al. 2016 (arXiv 1512.03385), figure 2."""

    def __init__(self, n_in: int, n_out: int, quant: QuantSpec, *, stride: int, rngs: nnx.Rngs):
        self.convs = nnx.List(
            [Conv(n_in, n_out, quant, stride=stride, rngs=rngs), Conv(n_out, n_out, quant, rngs=rngs)]
        )
        self.norms = nnx.List([Norm(n_out), Norm(n_out)])
        self.activations = nnx.List([Activation(quant, signed=False) for _ in range(2)])
        shortcut = n_in != n_out or stride != 1
        self.shortcut = nnx.List([Conv(n_in, n_out, quant, size=1, stride=stride, rngs=rngs)] if shortcut else [])

    def __call__(self, x: jax.Array, hyper: Hyper, train: bool) -> jax.Array:
        inner = self.activations[0](jax.nn.relu(self.norms[0](self.convs[0](x, hyper))), hyper, train)
        out = self.norms[1](self.convs[1](inner, hyper))
        for shortcut in self.shortcut:
            x = shortcut(x, hyper)
        return self.activations[1](jax.nn.relu(out + x), hyper, train)


class ResNetANN(nnx.Module):
    """A residual net for small images: a 3x3 stem, stages that halve the image, the mean over space, a dense layer."""

    def __init__(self, spec: ModelSpec, *, rngs: nnx.Rngs):
        channels, blocks = RESNETS[spec.architecture]
        self.stem = Conv(spec.in_shape[2], channels[0], spec.quant, edge=True, rngs=rngs)
        self.norm = Norm(channels[0])
        self.activation = Activation(spec.quant, signed=False)
        made, n_in = [], channels[0]
        for stage, n_out in enumerate(channels):
            for block in range(blocks):
                made.append(Block(n_in, n_out, spec.quant, stride=2 if stage and not block else 1, rngs=rngs))
                n_in = n_out
        self.blocks = nnx.List(made)
        self.head = Head(channels[-1], spec, (), rngs=rngs)

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> Output:
        x = self.activation(jax.nn.relu(self.norm(self.stem(x, hyper))), hyper, train)
        for block in self.blocks:
            x = block(x, hyper, train)
        return Output(self.head(x.astype(jnp.float32).mean((1, 2)), hyper, key, train), None, {})
