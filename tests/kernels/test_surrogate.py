import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxsnn_mia.kernels import surrogate


def test_arctan_is_a_heaviside_with_the_published_derivative():
    x = jnp.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    spike = surrogate.arctan(alpha=2.0)
    np.testing.assert_array_equal(spike(x), [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(surrogate.arctan(at_zero=1.0)(x), [0, 0, 1, 1, 1])
    gradient = jax.vmap(jax.grad(spike))(x)
    np.testing.assert_allclose(gradient, 1 / (1 + (np.pi * np.asarray(x)) ** 2), rtol=1e-6)


# a smooth one, one with a kink, a sparse one, one that draws
TRACED = ("arctan", "fast_sigmoid", "sparse_fast_sigmoid_snntorch", "stochastic_spike")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in TRACED else pytest.mark.long) for n in surrogate.SURROGATES]
)
def test_a_traced_slope_works_under_vmap_scan_and_grad(name):
    def loss(x, slope):
        spike = surrogate.with_slope(surrogate.SURROGATES[name], slope)
        keys = jax.random.split(jax.random.key(0), 4)

        def step(v, part):
            current, key = part
            v = v * 0.9 + current
            s = spike(v - 1.0, key)
            return v - s, s

        return lax.scan(step, jnp.zeros(3), (x, keys))[1].sum()

    x = jnp.linspace(0.1, 3.2, 12).reshape(4, 3)
    slopes = jnp.array([1.0, 3.0])
    gradient = jax.jit(jax.grad(loss, (0, 1)))
    together, by_slope = jax.jit(jax.vmap(jax.grad(loss, (0, 1)), (None, 0)))(x, slopes)
    alone = np.stack([gradient(x, slope)[0] for slope in slopes])
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    assert np.abs(together).sum() > 0
    np.testing.assert_array_equal(by_slope, 0.0)
