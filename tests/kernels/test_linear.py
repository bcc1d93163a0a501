import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.kernels.linear import product


@pytest.mark.parametrize("shape", [(4, 16, 50, 10), (4, 6, 8, 40), (1, 3, 10, 10)])
def test_the_narrow_product_and_its_gradients_equal_the_plain_ones(shape):
    t, b, i, o = shape
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(t, b, i)), jnp.float32)
    w = jnp.asarray(rng.normal(size=(i, o)), jnp.float32)
    cotangent = jnp.asarray(rng.normal(size=(t, b, o)), jnp.float32)
    got, pull = jax.vjp(product, x, w)
    want, plain_pull = jax.vjp(jnp.matmul, x, w)
    for a, b in zip((got, *pull(cotangent)), (want, *plain_pull(cotangent)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_dtypes_are_strict_here():
    with pytest.raises(ValueError, match="promotion"):
        jnp.ones(3, jnp.float32) + jnp.ones(3, jnp.bfloat16)
