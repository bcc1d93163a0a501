"""The small convolutional net of the literature."""

import jax
from flax import nnx

from jaxsnn_mia.models.coding import stream
from jaxsnn_mia.models.conv import Conv, Fire, activity, pooled, pooled_size
from jaxsnn_mia.models.heads import head
from jaxsnn_mia.models.spec import Hyper, ModelSpec, Output

CHANNELS = (32, 64)


class ConvNet(nnx.Module):
    """conv 32 - fire - pool - conv 64 - fire - pool - dense hidden - fire - dense C, the net of arXiv 2411.06613. Its
    spiking form fires everywhere; in the "hybrid" one, which that work calls its SNN, the dense layers alone do."""

    def __init__(self, spec: ModelSpec, *, rngs: nnx.Rngs):
        height, width, channels = spec.frame
        self.spec = spec
        sizes = (channels, *CHANNELS)
        self.convs = nnx.List(
            [Conv(sizes[i], sizes[i + 1], spec.quant, edge=i == 0, rngs=rngs) for i in range(len(CHANNELS))]
        )
        self.fires = nnx.List([Fire(spec, i) for i in range(len(CHANNELS))])
        for _ in CHANNELS:
            height, width = pooled_size(height, width)
        self.head = head(spec, height * width * CHANNELS[-1], spec.hidden, neurons_before=len(CHANNELS), rngs=rngs)

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> Output:
        x, seen = stream(self.spec, x, key), []
        for conv, fire in zip(self.convs, self.fires, strict=True):
            x = fire(conv(x, hyper), hyper, key, train)
            seen.append(activity(x))
            x = pooled(x)
        return self.head(x.reshape(*x.shape[:-3], -1), hyper, key, train, tuple(seen))
