import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxsnn_mia.kernels import integer, quantize

RNG = np.random.default_rng(0)


def ints(low, high, shape, dtype):
    return jnp.asarray(RNG.integers(low, high + 1, shape), dtype)


@pytest.mark.parametrize(("dtype", "low", "high", "k"), [("int8", -127, 127, 1040), ("uint8", 0, 255, 518)])
def test_products_are_exact_up_to_the_bound_of_float32(dtype, low, high, k):
    a, w = ints(low, high, (7, k), dtype), ints(-127, 127, (k, 5), jnp.int8)
    got = integer.dot(a, w)
    assert got.dtype == jnp.int32
    np.testing.assert_array_equal(got, np.asarray(a, np.int64) @ np.asarray(w, np.int64))
    np.testing.assert_array_equal(got, a.astype(jnp.float32) @ w.astype(jnp.float32))
    worst = jnp.full((1, k), high, dtype), jnp.full((k, 1), 127, jnp.int8)
    assert int(integer.dot(*worst)[0, 0]) == k * high * 127 < 2**24


@pytest.mark.parametrize("dtype", ["uint8", pytest.param("int8", marks=pytest.mark.long)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", [(2, 1), (0, 3)]])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
def test_convolutions_equal_those_of_float32_codes(dtype, padding, strides):
    a = ints(0 if dtype == "uint8" else -128, 255 if dtype == "uint8" else 127, (2, 6, 7, 3), dtype)
    w = ints(-127, 127, (3, 3, 3, 4), jnp.int8)
    want = lax.conv_general_dilated(
        a.astype(jnp.float32), w.astype(jnp.float32), strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    got = integer.conv(a, w, strides=strides, padding=padding)
    assert got.dtype == jnp.int32
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("axis", [None, -1])
def test_codes_times_scale_are_the_fake_quantized_weights(bits, axis):
    w = jnp.asarray(RNG.normal(size=(12, 6)), jnp.float32)
    codes, scale = integer.weight_codes(w, bits, axis=axis)
    assert codes.dtype == jnp.int8
    np.testing.assert_array_equal(codes.astype(jnp.float32) * scale, quantize.weight(w, bits, axis=axis))
    packable = codes.reshape(-1)
    if bits <= 4:
        packed = integer.pack(packable)
        assert packed.nbytes * 2 == packable.nbytes
        np.testing.assert_array_equal(integer.unpack(packed), packable)


def test_what_does_not_fit_is_refused():
    w = jnp.ones((3, 3))
    with pytest.raises(ValueError, match="must fit int8 or uint8, got -32767 and 32767"):
        integer.weight_codes(w, 16)
    with pytest.raises(ValueError, match="`scale` must be positive"):
        integer.codes(w, 0.0, -7, 7)
    with pytest.raises(ValueError, match="must be one axis of even length"):
        integer.pack(jnp.zeros(3, jnp.int8))


def test_under_jit_and_vmap():
    a, w = ints(0, 1, (4, 6, 8), jnp.int8), ints(-7, 7, (4, 8, 3), jnp.int8)
    got = jax.jit(jax.vmap(integer.dot))(a, w)
    np.testing.assert_array_equal(got, jnp.einsum("sbi,sio->sbo", a.astype(jnp.int32), w.astype(jnp.int32)))
