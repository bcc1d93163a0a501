"""Residual networks for small images."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsnn_mia.models.coding import stream
from jaxsnn_mia.models.conv import Conv, Fire, Norm, activity
from jaxsnn_mia.models.heads import head
from jaxsnn_mia.models.spec import Hyper, ModelSpec, Output

RESNETS = {"resnet8": ((16, 32, 64), 1), "resnet18": ((64, 128, 256, 512), 2)}  # channels of each stage, its blocks


class Block(nnx.Module):
    """Two 3x3 convolutions around a shortcut, which is a 1x1 convolution where the shape changes; its neurons are those
    number `index` and the next. He et al. 2016 (arXiv 1512.03385), figure 2; what spikes takes the place of the ReLU,
    after the sum, as in Zheng et al. 2021 (arXiv 2011.05280), who also normalise the shortcut and scale both
    branches."""

    def __init__(self, n_in: int, n_out: int, spec: ModelSpec, *, stride: int, index: int, rngs: nnx.Rngs):
        quant = spec.quant
        self.convs = nnx.List(
            [Conv(n_in, n_out, quant, stride=stride, rngs=rngs), Conv(n_out, n_out, quant, rngs=rngs)]
        )
        self.norms = nnx.List([Norm(n_out, spec), Norm(n_out, spec)])
        self.fires = nnx.List([Fire(spec, index), Fire(spec, index + 1)])
        shortcut = n_in != n_out or stride != 1
        self.shortcut = nnx.List([Conv(n_in, n_out, quant, size=1, stride=stride, rngs=rngs)] if shortcut else [])

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> jax.Array:
        inner = self.fires[0](self.norms[0](self.convs[0](x, hyper), hyper, train), hyper, key, train)
        out = self.norms[1](self.convs[1](inner, hyper), hyper, train)
        for shortcut in self.shortcut:
            x = shortcut(x, hyper)
        return self.fires[1](out + x, hyper, key, train)


class ResNet(nnx.Module):
    """A 3x3 stem, stages that halve the image, the mean over space, dense layers (one where hidden is empty)."""

    def __init__(self, spec: ModelSpec, *, rngs: nnx.Rngs):
        channels, blocks = RESNETS[spec.architecture]
        self.spec = spec
        self.stem = Conv(spec.frame[2], channels[0], spec.quant, edge=True, rngs=rngs)
        self.norm, self.fire = Norm(channels[0], spec), Fire(spec, 0)
        made: list[Block] = []
        n_in = channels[0]
        for stage, n_out in enumerate(channels):
            for block in range(blocks):
                stride, index = 2 if stage and not block else 1, 1 + 2 * len(made)
                made.append(Block(n_in, n_out, spec, stride=stride, index=index, rngs=rngs))
                n_in = n_out
        self.blocks = nnx.List(made)
        self.head = head(spec, n_in, spec.hidden, neurons_before=1 + 2 * len(made), rngs=rngs)

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> Output:
        x = stream(self.spec, x, key)
        x = self.fire(self.norm(self.stem(x, hyper), hyper, train), hyper, key, train)
        seen = [activity(x)]
        for block in self.blocks:
            x = block(x, hyper, key, train)
            seen.append(activity(x))
        return self.head(x.astype(jnp.float32).mean((-3, -2)), hyper, key, train, tuple(seen))
