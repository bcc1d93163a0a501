"""The dense twins: the same layers, once with ReLU and once with LIF neurons."""

import jax
from flax import nnx

from jaxsnn_mia.models.coding import stream
from jaxsnn_mia.models.heads import ReluHead, SpikingHead
from jaxsnn_mia.models.spec import Hyper, ModelSpec, Output


class DenseANN(ReluHead):
    """D - hidden - C with ReLU between the layers."""

    def __init__(self, spec: ModelSpec, *, rngs: nnx.Rngs):
        super().__init__(spec, spec.n_features, spec.hidden, whole=True, rngs=rngs)
        self.spec = spec

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> Output:  # type: ignore[override]
        return super().__call__(flat(self.spec, stream(self.spec, x, key)), hyper, key, train)


class DenseSNN(SpikingHead):
    """D - hidden - C with LIF neurons."""

    def __init__(self, spec: ModelSpec, *, rngs: nnx.Rngs):
        super().__init__(spec, spec.n_features, spec.hidden, whole=True, rngs=rngs)

    def __call__(self, x: jax.Array, hyper: Hyper, key: jax.Array, train: bool) -> Output:  # type: ignore[override]
        return super().__call__(flat(self.spec, stream(self.spec, x, key)), hyper, key, train)


def flat(spec: ModelSpec, x: jax.Array) -> jax.Array:
    """[B, D] or [T, B, D] of inputs of any shape."""
    return x.reshape(*x.shape[: 2 if spec.over_time else 1], -1)
