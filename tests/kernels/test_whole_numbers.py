"""Integers and booleans into any kernel count as float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.kernels import encoding, integer, quantize, surrogate
from jaxsnn_mia.kernels.neuron import leaky_integrator

X = np.random.default_rng(0).integers(0, 2, (3, 4))
KEY = jax.random.key(0)
KERNELS = {
    "direct": lambda x: encoding.direct(x, 3), "rate": lambda x: encoding.rate(KEY, x, 3, gain=0.5),
    "poisson": lambda x: encoding.poisson(KEY, x, 3, gain=0.5), "latency": lambda x: encoding.latency(x, 5),
    "delta": encoding.delta, "population": lambda x: encoding.population(x, 5, 4),
    "phase": lambda x: encoding.phase(x, 8), "burst": lambda x: encoding.burst(x, 6),
    "weight": lambda x: quantize.weight(x, 4), "activation": lambda x: quantize.activation(x, 1.5, 4, signed=False),
    "largest": quantize.largest, "fake_quant": lambda x: quantize.fake_quant(x, 0.3, -7.0, 7.0),
    "state_uniform": lambda x: quantize.state_uniform(x, 4, threshold=1.0),
    "state_exponential": lambda x: quantize.state_exponential(x, 4, threshold=1.0),
    "surrogate": surrogate.arctan(), "leaky_integrator": lambda x: leaky_integrator(x, beta=0.9),
}  # fmt: skip


# one of each room; the others are of the same cast
SOME = ("rate", "population", "weight", "state_uniform", "surrogate", "leaky_integrator")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in SOME else pytest.mark.long) for n in KERNELS])
@pytest.mark.parametrize("dtype", [np.uint8, *(pytest.param(of, marks=pytest.mark.long) for of in (np.int32, bool))])
def test_whole_numbers_give_what_floats_give(name, dtype):
    run = jax.jit(KERNELS[name])
    want = run(X.astype(np.float32))
    found = run(jnp.asarray(X.astype(dtype)))
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, want)


def test_complex_numbers_are_refused():
    with pytest.raises(ValueError, match="real numbers are needed, got complex64"):
        encoding.direct(X * 1j, 3)


def test_any_whole_number_is_a_width():
    for bits in (np.int64(4), np.int8(4), 4):
        assert quantize.check_bits(bits) == 4
    for bits in (True, 4.0, "4", np.int64(1)):
        with pytest.raises(ValueError, match="must be an int in"):
            quantize.check_bits(bits)


@pytest.mark.parametrize(("dtype", "most"), [(np.uint8, 65_793), (np.int8, 131_071)])
def test_sums_that_int32_cannot_hold_are_refused(dtype, most):
    largest = np.iinfo(dtype).max
    a, w = np.full((1, most), largest, dtype), np.full((most, 1), -127, np.int8)
    assert int(integer.dot(jnp.asarray(a), jnp.asarray(w))[0, 0]) == -127 * int(largest) * most
    with pytest.raises(ValueError, match=f"at most {most} are summed"):
        integer.dot(jnp.zeros((1, most + 1), dtype), jnp.zeros((most + 1, 1), jnp.int8))
    with pytest.raises(ValueError, match="at most"):
        integer.conv(jnp.zeros((1, 4, 4, most // 9 + 1), dtype), jnp.zeros((3, 3, most // 9 + 1, 1), jnp.int8))
