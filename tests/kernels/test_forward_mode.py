"""Forward mode through every surrogate, quantizer and neuron: the same derivative as in reverse."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.kernels import quantize, surrogate
from jaxsnn_mia.kernels.neuron import Adaptive, Synaptic, adaptive_lif, lif, lif_step, synaptic

RNG = np.random.default_rng(0)
X = jnp.asarray([-1.2, -0.3, 0.1, 0.4, 0.9, 1.6], jnp.float32)  # one of them far above the threshold, for B = 1
V = jnp.asarray(RNG.normal(size=(6,)), jnp.float32)
KEY = jax.random.key(0)

QUANTIZERS = {
    "weight": partial(quantize.weight, bits=4),
    "weight_differentiated": partial(quantize.weight, bits=4, differentiate=True),
    "activation": partial(quantize.activation, absmax=1.0, bits=4, signed=True),
    "activation_learned": partial(quantize.activation, absmax=1.0, bits=3, signed=True, learned=True),
    "state_uniform": partial(quantize.state_uniform, bits=4, threshold=1.0),
    "state_exponential": partial(quantize.state_exponential, bits=4, threshold=1.0),
}


def some(names, *by_default):
    """The names, those that are not `by_default` for --all."""
    return [pytest.param(name, marks=[] if name in by_default else pytest.mark.long) for name in names]


def both_modes_agree(fn, x):
    """jvp, jacfwd, jacrev and linearize of fn at x."""

    @jax.jit
    def every_mode(x, v):
        return jax.jvp(fn, (x,), (v,))[1], jax.linearize(fn, x)[1](v), jax.jacfwd(fn)(x), jax.jacrev(fn)(x)

    v = RNG.normal(size=x.shape).astype(x.dtype)
    tangent, linear, forward, reverse = every_mode(x, v)
    np.testing.assert_allclose(forward, reverse, rtol=1e-5, atol=1e-6)
    by_rows = np.tensordot(reverse, v, v.ndim)
    np.testing.assert_allclose(tangent, by_rows, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(linear, tangent, rtol=1e-5, atol=1e-6)
    return np.asarray(reverse)


@pytest.mark.parametrize("name", some(surrogate.SURROGATES, "arctan", "stochastic_spike"))
def test_every_surrogate(name):
    spike = surrogate.SURROGATES[name]()
    jacobian = both_modes_agree(partial(spike, key=KEY), X)
    assert np.abs(jacobian).max() > 0
    own = surrogate.custom(spike.derivative, stochastic=spike.stochastic, name=name, **spike.params)
    np.testing.assert_array_equal(jacobian, jax.jit(jax.jacrev(partial(own, key=KEY)))(X))


@pytest.mark.parametrize("name", ["arctan", "stochastic_spike"])
def test_the_derivative_of_reverse_mode_alone_is_the_same(name):
    spike = surrogate.SURROGATES[name]()
    alone = dataclasses.replace(spike, reverse=True)
    for of_sum in (lambda s, x: s(x, KEY).sum(), lambda s, x: (s(x, KEY) * x**2).sum()):
        np.testing.assert_array_equal(*(jax.jit(jax.grad(partial(of_sum, s)))(X) for s in (spike, alone)))
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(partial(alone, key=KEY), (X,), (V,))


@pytest.mark.parametrize("name", some(QUANTIZERS, "weight", "activation_learned", "state_uniform"))
def test_every_quantizer(name):
    assert np.abs(both_modes_agree(QUANTIZERS[name], X)).max() > 0


def run_lif(x, **options):
    return lif(x, beta=0.9, spike=surrogate.arctan(), **options)[1]


NEURONS = {
    "lif": run_lif,
    "lif_immediate": partial(run_lif, reset_delay=False, detach_reset=False),
    "synaptic": lambda x, **o: synaptic(x, alpha=0.8, beta=0.9, spike=surrogate.arctan(), **o)[1],
    "adaptive": lambda x, **o: adaptive_lif(x, beta=0.9, rho=0.8, spike=surrogate.arctan(), **o)[1],
    "recurrent": lambda x, **o: lif(x, beta=0.9, spike=surrogate.arctan(), recurrent=0.5 * jnp.eye(2), **o)[0],
}


@pytest.mark.parametrize("name", some(NEURONS, "lif"))
def test_every_neuron_by_the_plain_method(name):
    x = jnp.asarray(2 * RNG.normal(size=(5, 1, 2)), jnp.float32)
    plain = partial(NEURONS[name], method="plain")
    jacobian = both_modes_agree(plain, x)
    np.testing.assert_allclose(jacobian, jax.jit(jax.jacrev(NEURONS[name]))(x), rtol=1e-4, atol=1e-6)  # fused


@pytest.mark.long
@pytest.mark.parametrize("name", list(NEURONS))
def test_the_hessian_by_the_plain_method_alone(name):
    x = jnp.asarray(2 * RNG.normal(size=(5, 1, 2)), jnp.float32)
    plain = partial(NEURONS[name], method="plain")
    curvature = jax.hessian(lambda x: (plain(x) ** 2).sum())(x)
    again = jax.jacrev(jax.jacrev(lambda x: (plain(x) ** 2).sum()))(x)
    np.testing.assert_allclose(curvature, again, rtol=1e-3, atol=1e-3 * np.abs(again).max())
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(NEURONS[name], (x,), (x,))


def test_one_step_too():
    both_modes_agree(lambda x: lif_step(V, x, beta=0.9, spike=surrogate.arctan())[1], X)


def test_surrogates_are_values():
    assert surrogate.arctan() == surrogate.arctan(2.0)
    assert len({surrogate.arctan(), surrogate.arctan(), surrogate.arctan(3.0), surrogate.sigmoid()}) == 3
    compiled = jax.jit(lambda x, spike: spike(x), static_argnums=1)
    np.testing.assert_array_equal(compiled(X, surrogate.arctan()), surrogate.arctan()(X))


def test_a_surrogate_by_its_name():
    x = jnp.ones((3, 1, 2))
    np.testing.assert_array_equal(lif(x, beta=0.9, spike="sigmoid")[0], lif(x, beta=0.9, spike=surrogate.sigmoid())[0])
    with pytest.raises(ValueError, match=r"got 'arctn'. Did you mean .arctan."):
        lif(x, beta=0.9, spike="arctn")


def test_a_state_of_integers_is_one_of_floats():
    """A decay of .9 would be 0 in integers."""
    x = np.array([[[0, 1, 2]]] * 4)
    want = lif(x.astype(np.float32), beta=0.9, spike="arctan")[1]
    for dtype in (np.int32, np.uint8, np.int64):
        np.testing.assert_array_equal(lif(x.astype(dtype), beta=0.9, spike="arctan")[1], want)
        membrane, _ = lif_step(np.ones((1, 3), dtype), x[0].astype(dtype), beta=0.9, spike="arctan")
        np.testing.assert_allclose(membrane, 0.9 + x[0], rtol=1e-6)
    zero = np.zeros((1, 3), np.int32)
    for neuron, state in ((partial(synaptic, alpha=0.8), Synaptic), (partial(adaptive_lif, rho=0.8), Adaptive)):
        whole = neuron(x, beta=0.9, spike="arctan", state=state(zero, zero))[1]
        np.testing.assert_array_equal(whole, neuron(x.astype(np.float32), beta=0.9, spike="arctan")[1])
