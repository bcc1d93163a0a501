"""A current that is the same at every step: `steps` gives what the spread current gives, and its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.kernels import neuron, surrogate

SPIKE = surrogate.arctan(alpha=2.0)
NEURONS = {
    "lif": (neuron.lif, {"beta": 0.9}),
    "lif, reset at once": (neuron.lif, {"beta": 0.9, "reset_delay": False, "detach_reset": False}),
    "lif, state_fn": (neuron.lif, {"beta": 0.9, "state_fn": lambda v: jnp.minimum(v, 1.5)}),
    "lif, recurrent": (neuron.lif, {"beta": 0.9, "recurrent": np.eye(5, dtype=np.float32) * 0.3}),
    "lif, beta of each neuron": (neuron.lif, {"beta": np.linspace(0.5, 1, 5, dtype=np.float32)}),
    "synaptic": (neuron.synaptic, {"alpha": 0.8, "beta": 0.9}),
    "adaptive": (neuron.adaptive_lif, {"beta": 0.9, "rho": 0.7}),
}


BY_DEFAULT = ("lif, reset at once", "lif, recurrent", "synaptic", "adaptive")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in BY_DEFAULT else pytest.mark.long) for n in NEURONS])
@pytest.mark.parametrize(
    ("method", "steps", "every"),
    [
        ("auto", 7, None),
        pytest.param("auto", 40, None, marks=pytest.mark.long),
        pytest.param("plain", 7, None, marks=pytest.mark.long),
        pytest.param("auto", 7, 3, marks=pytest.mark.long),
    ],
)
def test_equals_the_current_spread_over_time(name, method, steps, every):
    run, options = NEURONS[name]
    rng = np.random.default_rng(0)
    current_b = jnp.asarray(rng.normal(0.3, 1, (3, 5)), jnp.float32)
    weight_tb = jnp.asarray(rng.normal(size=(2, steps, 3, 5)), jnp.float32)

    def total(current, threshold, **more):
        out = run(current, threshold=threshold, spike=SPIKE, method=method, checkpoint_every=every, **options, **more)
        return sum((weight * array).sum() for weight, array in zip(weight_tb, out, strict=True)), out

    def spread(current_b, threshold):
        return total(jnp.broadcast_to(current_b, (steps, *current_b.shape)), threshold)

    threshold = jnp.float32(1.0)
    gradient = jax.value_and_grad(lambda c, h: total(c, h, steps=steps), argnums=(0, 1), has_aux=True)
    (_, out), grads = jax.jit(gradient)(current_b, threshold)
    whole = jax.jit(jax.value_and_grad(spread, argnums=(0, 1), has_aux=True))
    (_, expected), expected_grads = whole(current_b, threshold)
    np.testing.assert_array_equal(out[0], expected[0])
    assert 0 < out[0].mean() < 1
    np.testing.assert_allclose(out[1], expected[1], atol=2e-6)
    for given, wanted in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(given, wanted, rtol=2e-5, atol=2e-5)


def test_steps_must_be_positive():
    with pytest.raises(ValueError, match=r"`steps` must be at least 1, .* got 0"):
        neuron.lif(jnp.zeros((2, 3)), beta=0.9, spike=SPIKE, steps=0)
