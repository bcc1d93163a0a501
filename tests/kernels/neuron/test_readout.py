"""The last membrane as one function equals the general layers, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.kernels import neuron, surrogate
from jaxsnn_mia.kernels.neuron import readout

T, B, N_IN, C = 12, 5, 40, 4


def operands(seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    spikes = (jax.random.uniform(keys[0], (T, B, N_IN)) < 0.4).astype(jnp.float32)
    return {
        "spikes": spikes,
        "w": 0.5 * jax.random.normal(keys[1], (N_IN, C)),
        "bias": 0.3 * jax.random.normal(keys[2], (C,)),
        "beta": jnp.float32(0.85),
        "threshold": jnp.float32(0.8),
    }


def in_general(o, how):
    current = o["spikes"] @ o["w"] + o["bias"][None, None]
    if how == "leaky":
        return neuron.leaky_integrator(current, beta=o["beta"])[-1]
    options = {"beta": o["beta"], "threshold": o["threshold"], "spike": surrogate.arctan(alpha=2.0), "reset": how}
    return neuron.lif(current, method="plain", **options)[1][-1]


def as_one(o, how):
    options = {} if how == "leaky" else {"spike": surrogate.arctan(alpha=2.0), "reset": how}
    return readout.last_membrane(o["spikes"], o["w"], o["bias"], beta=o["beta"], threshold=o["threshold"], **options)


@pytest.mark.parametrize("how", ["subtract", "none", "leaky"])
def test_value_and_gradients_of_every_operand(how):
    weight = jax.random.normal(jax.random.key(9), (B, C))
    got, want = (
        jax.jit(jax.value_and_grad(lambda o, fn=fn: (weight * fn(o, how)).sum()))(operands())
        for fn in (as_one, in_general)
    )
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
    for name, limit in {"spikes": 1e-6, "w": 1e-6, "bias": 1e-6, "beta": 1e-5, "threshold": 1e-5}.items():
        largest = max(float(np.abs(want[1][name]).max()), 1e-6)
        assert np.abs(got[1][name] - want[1][name]).max() <= limit * largest, name
    if how == "subtract":
        assert abs(float(want[1]["threshold"])) > 1e-3  # the membranes do fire


@pytest.mark.long
def test_over_models_and_examples_alike():
    stacked = jax.tree.map(lambda *a: jnp.stack(a), operands(0), operands(1))
    each = jax.vmap(jax.grad(lambda o: as_one(o, "subtract").sum()))(stacked)
    alone = jax.grad(lambda o: as_one(o, "subtract").sum())(operands(1))
    for name in alone:
        np.testing.assert_allclose(each[name][1], alone[name], rtol=1e-5, atol=1e-6)


def test_a_reset_to_zero_is_refused():
    o = operands()
    with pytest.raises(ValueError, match=r"must be one of .* got 'zero'\. Use `neuron\.lif`"):
        readout.last_membrane(o["spikes"], o["w"], o["bias"], beta=0.9, reset="zero")
