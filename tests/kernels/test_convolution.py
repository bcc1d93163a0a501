from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.kernels import convolution
from tests.kernels.platforms import as_for

RNG = np.random.default_rng(0)


def loop(x, w, stride):
    """Float64, one output at a time."""
    h, width, _, n_out = w.shape
    size = [-(-n // stride) for n in x.shape[1:3]]
    whole = [max((o - 1) * stride + k - n, 0) for o, k, n in zip(size, (h, width), x.shape[1:3], strict=True)]
    padded = np.pad(x.astype(np.float64), ((0, 0), *[(p // 2, p - p // 2) for p in whole], (0, 0)))
    out = np.zeros((len(x), *size, n_out))
    for i, j in np.ndindex(*size):
        patch = padded[:, i * stride : i * stride + h, j * stride : j * stride + width]
        out[:, i, j] = np.tensordot(patch, w.astype(np.float64), 3)
    return out


@pytest.mark.parametrize("method", convolution.METHODS)
@pytest.mark.parametrize(("window", "stride"), [((3, 3), 1), ((3, 3), 2), ((1, 1), 2), ((5, 2), 1)])
@pytest.mark.parametrize("size", [(7, 8), (6, 5)])
def test_convolutions_equal_the_float64_loop(method, window, stride, size):
    x = RNG.normal(size=(2, *size, 3)).astype(np.float32)
    w = RNG.normal(size=(*window, 3, 4)).astype(np.float32)
    got = jax.jit(lambda x, w: convolution.conv(x, w, stride=stride, method=method))(x, w)
    np.testing.assert_allclose(got, loop(x, w, stride), rtol=1e-4, atol=1e-5)


def test_methods_have_the_same_gradients_under_vmap_over_models():
    x = jnp.asarray(RNG.normal(size=(3, 2, 6, 6, 4)), jnp.float32)
    w = jnp.asarray(RNG.normal(size=(3, 3, 3, 4, 5)), jnp.float32)

    def gradient(method):
        def loss(x, w):
            return jnp.sin(convolution.conv(x, w, stride=2, method=method)).sum()

        return jax.jit(jax.vmap(jax.grad(loss, (0, 1))))(x, w)

    want = gradient("library")
    for method in ("slices", "groups"):
        for a, b in zip(gradient(method), want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_models_are_groups_whatever_they_share():
    """One convolution of as many groups as models, forward and backward; shared images or weights are repeated."""
    x = jnp.asarray(RNG.normal(size=(3, 2, 5, 6, 4)), jnp.float32)
    w = jnp.asarray(RNG.normal(size=(3, 3, 3, 4, 2)), jnp.float32)

    def loss(x, w, method):
        return jnp.sin(convolution.conv(x, w, method=method)).sum()

    for axes, of_x, of_w in (((None, 0), x[0], w), ((0, None), x, w[0])):
        both = [
            jax.jit(jax.vmap(jax.grad(loss, (0, 1)), (*axes, None)), static_argnums=2)(of_x, of_w, method)
            for method in ("groups", "library")
        ]
        for a, b in zip(*both, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    text = str(jax.make_jaxpr(jax.vmap(jax.grad(partial(loss, method="groups"), (0, 1))))(x, w))
    assert text.count("conv_general_dilated") == 3
    assert text.count("feature_group_count=3") == 2  # forward, and the derivative by the images
    assert text.count("batch_group_count=3") == 1  # the derivative by the weights
    steps = jnp.asarray(RNG.normal(size=(2, 2, 5, 6, 4)), jnp.float32)
    np.testing.assert_allclose(
        convolution.conv(steps, w[0], method="groups"), convolution.conv(steps, w[0], method="library"), rtol=1e-5
    )


def test_a_pool_takes_the_largest_and_normalisation_sees_one_example():
    x = jnp.asarray(RNG.normal(size=(2, 4, 6, 8)), jnp.float32)
    pooled = convolution.max_pool(x)
    assert pooled.shape == (2, 2, 3, 8)
    assert pooled[1, 1, 2, 3] == x[1, 2:4, 4:6, 3].max()
    normed = convolution.group_norm(x, jnp.full(8, 2.0), jnp.full(8, 0.5), groups=2)
    part = (np.asarray(normed[0, :, :, :4]) - 0.5) / 2
    np.testing.assert_allclose([part.mean(), part.std()], [0, 1], atol=1e-4)
    np.testing.assert_array_equal(
        normed[:1], convolution.group_norm(x[:1], jnp.full(8, 2.0), jnp.full(8, 0.5), groups=2)
    )


def test_pools_of_accelerators_and_of_cpus_have_one_gradient_also_of_equal_maxima():
    x = jnp.asarray(RNG.integers(0, 3, (2, 6, 4, 5)), jnp.float32)  # as spikes: many are equal
    ct = jnp.asarray(RNG.normal(size=(2, 3, 2, 5)), jnp.float32)

    def pulled():
        out, pull = jax.vjp(convolution.max_pool, x)
        return out, pull(ct)[0], jax.jvp(convolution.max_pool, (x,), (x**2,))[1]

    here = pulled()
    with as_for("tpu"):
        there = pulled()
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_what_does_not_fit_is_refused():
    x = jnp.zeros((1, 5, 4, 3))
    with pytest.raises(ValueError, match="must share I"):
        convolution.conv(x, jnp.zeros((3, 3, 4, 2)))
    with pytest.raises(ValueError, match="`method` must be one of"):
        convolution.conv(x, jnp.zeros((3, 3, 3, 2)), method="fft")
    with pytest.raises(ValueError, match="divisible by 2"):
        convolution.max_pool(x)
    with pytest.raises(ValueError, match="`groups` must divide the 3 channels, got 2"):
        convolution.group_norm(x, jnp.ones(3), jnp.ones(3), groups=2)
