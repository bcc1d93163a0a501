"""VGG for small images."""

import jax
from flax import nnx

from jaxsnn_mia.models.coding import stream
from jaxsnn_mia.models.conv import Conv, Fire, Norm, activity, pooled, pooled_size
from jaxsnn_mia.models.heads import head
from jaxsnn_mia.models.spec import Hyper, ModelSpec, Output

# channels of the convolutions between pools: configurations A and D of Simonyan and Zisserman 2015 (arXiv 1409.1556)
STAGES = {
    "vgg11": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    "vgg16": ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
}


class VGG(nnx.Module):
    """conv - norm - fire, a pool after each stage, then dense hidden layers and the classes; "hybrid": the dense layers
    alone spike."""

    def __init__(self, spec: ModelSpec, *, rngs: nnx.Rngs):
        stages, (height, width, n_in) = STAGES[spec.architecture], spec.frame
        self.spec = spec
        self.pool_after = tuple(k == len(stage) - 1 for stage in stages for k in range(len(stage)))
        sizes = (n_in, *(n for stage in stages for n in stage))
        count = len(self.pool_after)
        self.convs = nnx.List([Conv(sizes[i], sizes[i + 1], spec.quant, edge=i == 0, rngs=rngs) for i in range(count)])
        self.norms = nnx.List([Norm(n, spec) for n in sizes[1:]])
        self.fires = nnx.List([Fire(spec, i) for i in range(count)])
        for _ in stages:
            height, width = pooled_size(height, width)
        self.head = head(spec, height * width * sizes[-1], spec.hidden, neurons_before=count, rngs=rngs)

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> Output:
        x, seen = stream(self.spec, x, key), []
        for conv, norm, fire, pool in zip(self.convs, self.norms, self.fires, self.pool_after, strict=True):
            x = fire(norm(conv(x, hyper), hyper, train), hyper, key, train)
            seen.append(activity(x))
            x = pooled(x) if pool else x
        return self.head(x.reshape(*x.shape[:-3], -1), hyper, key, train, tuple(seen))
