"""The layers beside Spyx's own, and in its containers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spyx
from flax import nnx

from jaxsnn_mia.kernels import neuron, surrogate
from jaxsnn_mia.models import layers

N = 5
X = jnp.asarray(np.random.default_rng(0).normal(0.4, 0.8, (9, 3, N)), jnp.float32)
LONG = pytest.mark.long
FIRING = ("IF", "LIF", "CuBaLIF", "ALIF", "RIF", "RLIF", "RCuBaLIF")
SOME = [pytest.param(name, marks=[] if name in ("ALIF", "RCuBaLIF") else LONG) for name in FIRING]


@pytest.fixture(autouse=True)
def broadcasting():
    """Spyx and flax broadcast parameters [n] against [B, n]."""
    with jax.numpy_rank_promotion("allow"):
        yield


def make(name, **options):
    return getattr(layers, name)((N,), threshold=0.7, rngs=nnx.Rngs(0), **options)


def theirs(name, layer):
    """Spyx's layer of that name with the same parameters and surrogate."""
    peer = getattr(spyx.nn, name)((N,), threshold=0.7, activation=surrogate.arctan(), rngs=nnx.Rngs(1))
    nnx.update(peer, nnx.state(layer, nnx.Param))
    return peer


@pytest.mark.parametrize("name", ["LIF", *(pytest.param(n, marks=LONG) for n in ("IF", "ALIF"))])
def test_with_spyxs_conventions_a_layer_is_spyxs_own(name):
    ours = make(name, **neuron.PRESETS["spyx"])
    peer = theirs(name, ours)

    def weighted(layer, x):
        return (spyx.nn.run(layer, x)[0] * jnp.arange(1.0, 10.0)[:, None, None]).sum()

    assert float(weighted(ours, X)) > 0
    for layer_gradient in (0, 1):
        gradient = nnx.jit(nnx.grad(weighted, argnums=layer_gradient))
        got, want = (gradient(layer, X) for layer in (ours, peer))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), got, want)
    np.testing.assert_array_equal(spyx.nn.run(ours, X)[0], spyx.nn.run(peer, X)[0])


@pytest.mark.parametrize("name", ["RIF", "RLIF"])
def test_a_recurrent_layer_fires_as_spyxs_own_one_step_earlier(name):
    ours = make(name, detach_reset=False)
    got, want = spyx.nn.run(ours, X)[0], spyx.nn.run(theirs(name, ours), X)[0]
    assert 0 < float(got.mean()) < 1
    np.testing.assert_array_equal(got[:-1], want[1:])


@pytest.mark.parametrize("name", [*SOME, "LI"])
def test_a_whole_sequence_equals_the_steps_in_spyxs_containers(name):
    layer = layers.LI((N,), 0.8, rngs=nnx.Rngs(0)) if name == "LI" else make(name, reset="zero", learn_threshold=True)
    for model in (layer, spyx.nn.Sequential(layer)):
        stepped = nnx.jit(lambda model: spyx.nn.run(model, X)[0])(model)
        np.testing.assert_allclose(stepped, nnx.jit(lambda layer: layer.over_time(X))(layer), atol=1e-6)


@pytest.mark.parametrize("name", SOME)
def test_every_parameter_learns(name):
    layer = make(name, learn_threshold=True)
    weighted = nnx.grad(lambda layer: (layer.over_time(X) * jnp.arange(1.0, 10.0)[:, None, None]).sum())
    gradient = nnx.jit(weighted)(layer)
    leaves = jax.tree.leaves(gradient)
    assert len(leaves) == 1 + len(layer.decays) + hasattr(layer, "recurrent_w")
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in leaves)


def test_an_unknown_convention_is_refused_where_the_layer_is_made():
    with pytest.raises(ValueError, match="`reset` must be one of"):
        make("LIF", reset="hard")
