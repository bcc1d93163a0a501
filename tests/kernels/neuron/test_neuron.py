import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.kernels import neuron, surrogate
from jaxsnn_mia.kernels.numerics import unit_clip

CURRENT = np.random.default_rng(0).normal(0.4, 0.8, (12, 3, 5)).astype(np.float32)


def loop(current, beta, threshold, reset):
    """Float64, one neuron at a time: the definition."""
    spikes, membrane = np.zeros(current.shape), np.zeros(current.shape)
    for at in np.ndindex(current.shape[1:]):
        v, fired = 0.0, False
        for t in range(len(current)):
            x = float(current[(t, *at)])
            if reset == "subtract":
                v = beta * v + x - fired * threshold
            else:
                v = beta * (0.0 if fired and reset == "zero" else v) + x
            fired = v > threshold
            spikes[(t, *at)], membrane[(t, *at)] = fired, v
    return spikes, membrane


@pytest.mark.parametrize("reset", neuron.RESETS)
@pytest.mark.parametrize("method", ["fused", "plain", "pallas"])
def test_a_sequence_equals_the_float64_loop(reset, method):
    spike = surrogate.arctan()
    spikes, membrane = neuron.lif(CURRENT, beta=0.9, threshold=0.7, spike=spike, reset=reset, method=method)
    want_spikes, want_membrane = loop(CURRENT, 0.9, 0.7, reset)
    np.testing.assert_array_equal(spikes, want_spikes)
    np.testing.assert_allclose(membrane, want_membrane, atol=2e-6)


@pytest.mark.parametrize("reset", neuron.RESETS)
@pytest.mark.parametrize("steps", [pytest.param(5, marks=pytest.mark.long), 12])  # written out, and as a loop
@pytest.mark.parametrize("per_neuron", [pytest.param(False, marks=pytest.mark.long), True])
def test_the_fused_backward_equals_autodiff_of_the_plain_scan(reset, steps, per_neuron):
    shape = (5,) if per_neuron else ()
    beta, threshold = jnp.full(shape, 0.9), jnp.full(shape, 0.7)
    weight = jnp.linspace(0.1, 1.0, steps)[:, None, None]

    def loss(current, beta, threshold, state, method):
        spikes, membrane = neuron.lif(
            current, beta=beta, threshold=threshold, spike=surrogate.arctan(), reset=reset, state=state, method=method
        )
        return (weight * spikes).sum() + 0.3 * (membrane**2).mean()

    args = (jnp.asarray(CURRENT[:steps]), beta, threshold, jnp.asarray(CURRENT[-1]))
    gradient = jax.jit(jax.grad(loss, (0, 1, 2, 3)), static_argnums=4)
    fused, plain = (gradient(*args, way) for way in ("fused", "plain"))
    for got, want, tolerance in zip(fused, plain, (1e-6, 1e-5, 1e-5, 1e-6), strict=True):
        assert float(jnp.abs(want).max()) > 0
        np.testing.assert_allclose(got, want, atol=tolerance * float(jnp.abs(want).max()))


def test_beta_is_clipped_with_a_full_gradient_at_the_bounds():
    assert jax.grad(unit_clip)(1.0) == 1.0
    assert jax.grad(unit_clip)(0.0) == 1.0
    assert jax.grad(unit_clip)(1.1) == 0.0


def test_the_leaky_integrator_is_a_geometric_sum():
    membrane = neuron.leaky_integrator(jnp.ones((6, 1)), beta=0.5)
    np.testing.assert_allclose(membrane[:, 0], 2 * (1 - 0.5 ** np.arange(1, 7)), rtol=1e-6)


def test_state_fn_acts_between_integration_and_firing():
    options = {"beta": 0.9, "spike": surrogate.arctan(), "threshold": 0.7}
    spikes, membrane = neuron.lif(CURRENT, state_fn=jnp.round, **options)
    np.testing.assert_array_equal(membrane, np.round(membrane))
    np.testing.assert_array_equal(spikes, membrane > 0.7)


def test_an_unknown_reset_is_refused():
    with pytest.raises(ValueError, match=r"`reset` must be one of .* got 'hard'"):
        neuron.lif(CURRENT, beta=0.9, spike=surrogate.arctan(), reset="hard")
