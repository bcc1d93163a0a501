"""A JAX developer who takes the kernels alone: in a flax.linen module, and in a plain pytree of parameters as equinox
has them, with derivatives in forward mode.

    python -m experiments.examples.kernels_elsewhere
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen

from jaxsnn_mia.kernels import encoding, neuron, quantize

T = 20


class Spiking(linen.Module):
    """A dense layer of 16 neurons that learn their decay."""

    @linen.compact
    def __call__(self, x):
        beta = self.param("beta", linen.initializers.constant(0.9), (16,))
        current = linen.Dense(16)(x)
        spikes, _ = neuron.lif(current, beta=beta, spike="arctan", steps=T, method="plain")
        return spikes.mean(0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Layer:
    """A module as equinox has them: a pytree of arrays that is called."""

    weight: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        narrow = quantize.weight(self.weight, 4, axis=-1)
        spikes, _ = neuron.lif(x @ narrow, beta=0.9, spike="sigmoid", method="plain")
        return spikes.mean()


def main() -> tuple[float, float]:
    """How the firing rate moves with all decays (linen), and with all weights (the pytree), in forward mode."""
    x = jax.random.normal(jax.random.key(0), (4, 8))
    model = Spiking()
    params = model.init(jax.random.key(1), x)
    step = jax.tree.map(jnp.zeros_like, params)
    step["params"]["beta"] = jnp.ones(16)
    rate, by_decay = jax.jvp(lambda p: model.apply(p, x).mean(), (params,), (step,))
    layer = Layer(jax.random.normal(jax.random.key(2), (8, 16)))
    spikes = encoding.rate(jax.random.key(3), jax.nn.sigmoid(x), T)
    _, by_weight = jax.jvp(lambda m: m(spikes), (layer,), (layer,))
    print(f"firing rate {rate:.3f}; by the decays {by_decay:+.3f}; by the scale of the weights {by_weight:+.3f}")
    return float(by_decay), float(by_weight)


if __name__ == "__main__":
    main()
