import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.kernels import quantize

W = jnp.asarray(np.random.default_rng(0).normal(size=(20, 10)), jnp.float32)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize("axis", [None, -1])
def test_weights_lie_on_a_narrow_symmetric_grid(bits, axis):
    q = np.asarray(quantize.weight(W, quantize.qmax_symmetric(bits), axis=axis))
    qmax = 2 ** (bits - 1) - 1
    scale = np.abs(W).max(0 if axis else None) / qmax
    codes = q / scale
    np.testing.assert_allclose(codes, np.round(codes), atol=5e-3 if bits == 16 else 1e-3)
    assert np.abs(np.round(codes)).max() == qmax
    assert np.abs(q - np.asarray(W)).max() <= scale.max() / 2 * (1 + (1e-4 if bits <= 8 else 1e-2))


def test_float_is_selected_bitwise_under_a_traced_width():
    widths = jnp.array([0.0, 7.0])
    q = jax.vmap(lambda qmax: quantize.weight(W, qmax, axis=-1))(widths)
    np.testing.assert_array_equal(q[0], W)
    assert np.abs(q[1] - W).max() > 0
    np.testing.assert_array_equal(q[1], quantize.weight(W, 7.0, axis=-1))


def test_the_gradient_is_one_inside_and_at_the_largest_weight():
    gradient = jax.grad(lambda w: quantize.weight(w, 7.0, axis=-1).sum())(W)
    np.testing.assert_array_equal(gradient, 1.0)
    x = jnp.array([-1.2, -1.0, 0.3, 1.0, 1.04, 1.3])
    clipped = jax.grad(lambda x: quantize.fake_quant(x, 0.1, -10.0, 10.0).sum())(x)
    np.testing.assert_array_equal(clipped, [0, 1, 1, 1, 1, 0])


@pytest.mark.parametrize("bits", [1, 17, 4.0, "4", True, 0])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValueError, match=r"`bits` must be an int in \[2, 16\] or None"):
        quantize.check_bits(bits)


def test_an_axis_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"`axis` must be in \[-2, 1\]"):
        quantize.weight(W, 7.0, axis=2)
