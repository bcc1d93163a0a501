"""The arrays of snnTorch and SpikingJelly, within the tolerances that a float32 version can meet."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.kernels import encoding, neuron, surrogate

GOLDEN = np.load(Path(__file__).parents[2] / "fixtures/reference_libraries.npz")
SURROGATES = {
    "snntorch.atan(alpha=2)": surrogate.arctan(2.0),
    "snntorch.atan(alpha=5)": surrogate.arctan(5.0),
    "snntorch.fast_sigmoid(slope=25)": surrogate.fast_sigmoid(25.0),
    "snntorch.fast_sigmoid(slope=7)": surrogate.fast_sigmoid(7.0),
    "snntorch.sigmoid(slope=25)": surrogate.sigmoid(25.0),
    "snntorch.sigmoid(slope=5)": surrogate.sigmoid(5.0),
    "snntorch.spike_rate_escape(beta=1,slope=25)": surrogate.spike_rate_escape_snntorch(25.0, 1.0),
    "snntorch.spike_rate_escape(beta=2,slope=3)": surrogate.spike_rate_escape_snntorch(3.0, 2.0),
    "snntorch.straight_through": surrogate.straight_through(),
    "snntorch.triangular": surrogate.triangular_snntorch(),
    "snntorch.SFS(slope=25,B=1)": surrogate.sparse_fast_sigmoid_snntorch(25.0, 1.0),
    "spikingjelly.PiecewiseQuadratic(1)": surrogate.piecewise_quadratic(1.0),
    "spikingjelly.PiecewiseExp(1)": surrogate.piecewise_exp(1.0),
    "spikingjelly.Sigmoid(4)": surrogate.sigmoid(4.0),
    "spikingjelly.SoftSign(2)": surrogate.fast_sigmoid(2.0, scale=1.0),
    "spikingjelly.SuperSpike(1)": surrogate.fast_sigmoid(1.0),
    "spikingjelly.ATan(2)": surrogate.arctan(2.0),
    "spikingjelly.Erf(2)": surrogate.erf(2.0),
    "spikingjelly.Rect(1)": surrogate.boxcar(0.5, 1.0),
}


@pytest.mark.parametrize("name", SURROGATES)
def test_surrogates_have_the_libraries_derivatives(name):
    x, want = jnp.asarray(GOLDEN["surrogate/x"]), GOLDEN[f"surrogate/{name}/backward"]
    got = np.asarray(jax.jit(jax.vmap(jax.grad(SURROGATES[name])))(x))
    finite = np.isfinite(want)  # snnTorch's sigmoid overflows
    np.testing.assert_allclose(got[finite], want[finite], rtol=2e-5, atol=2e-6 if "sigmoid" in name.lower() else 1e-9)
    assert np.isfinite(got).all()


def compare(key, run, args, tolerances):
    """Spikes alike, membranes to 5e-7 (or `membrane`), gradients to their tolerance."""
    weight = jnp.asarray(np.linspace(0.1, 1, 20).astype(np.float32))[:, None, None]

    def loss(*args):
        spikes, membrane = run(*args)
        return (weight * spikes).sum() + 0.3 * (membrane**2).mean(), (spikes, membrane)

    gradients, (spikes, membrane) = jax.jit(jax.grad(loss, tuple(range(len(args))), has_aux=True))(*args)
    np.testing.assert_array_equal(spikes, GOLDEN[f"{key}/spikes"])
    np.testing.assert_allclose(membrane, GOLDEN[f"{key}/membrane"], rtol=0, atol=tolerances.get("membrane", 5e-7))
    for name, got in zip(("grad_x", "grad_beta", "grad_threshold"), gradients, strict=False):
        np.testing.assert_allclose(got, GOLDEN[f"{key}/{name}"], rtol=0, atol=tolerances[name])


@pytest.mark.parametrize(
    "method", ["fused", *(pytest.param(name, marks=pytest.mark.long) for name in ("plain", "pallas"))]
)
@pytest.mark.parametrize("reset", neuron.RESETS)
@pytest.mark.parametrize(("mode", "preset"), [("delay", "snntorch"), ("immediate", "snntorch_immediate")])
def test_snntorch_leaky(reset, mode, preset, method):
    compare(
        f"lif/snntorch_leaky/{reset}/{mode}",
        lambda x, beta, threshold: neuron.lif(
            x, beta=beta, threshold=threshold, spike=surrogate.arctan(), method=method,
            **neuron.PRESETS[preset] | {"reset": reset},
        ),
        (jnp.asarray(GOLDEN["lif/x"]), jnp.full(8, 0.9), jnp.float32(0.7)),
        {"grad_x": 8e-7, "grad_beta": 2e-5, "grad_threshold": 3.1e-5},
    )  # fmt: skip


@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize(("kind", "reset"), [("hard", "zero"), ("soft", "subtract")])
@pytest.mark.parametrize("detached", [True, False])
def test_spikingjelly_lif(decay_input, kind, reset, detached):
    name = f"{'' if decay_input else 'no_'}decay_input/{kind}/{'detached' if detached else 'attached'}"
    options = neuron.PRESETS["spikingjelly"] | {"reset": reset, "detach_reset": detached}
    compare(
        f"lif/spikingjelly_lif/{name}",
        lambda x: neuron.lif(
            x, beta=0.5, gain=0.5 if decay_input else 1.0, spike=surrogate.arctan(at_zero=1.0), **options
        ),
        (2 * jnp.asarray(GOLDEN["lif/x"]),),
        {"grad_x": 8e-7},
    )


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_snntorch_synaptic(reset):
    """Membranes reach 30 and gradients 10 here: the tolerances are those of the LIF relative to that."""
    compare(
        f"lif/snntorch_synaptic/{reset}",
        lambda x: neuron.synaptic(x, alpha=0.8, beta=0.9, threshold=0.7, spike=surrogate.arctan(), reset=reset),
        (jnp.asarray(GOLDEN["lif/x"]),),
        {"membrane": 5e-6, "grad_x": 1e-5},
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("num_steps=10,linear=True", {"linear": True}),
        ("num_steps=10,linear=True,normalize=True", {"linear": True, "normalize": True}),
        ("num_steps=10,tau=5,threshold=0.01,normalize=True", {"tau": 5.0, "normalize": True}),
        ("num_steps=10,linear=True,normalize=True,clip=True", {"linear": True, "normalize": True, "clip": True}),
    ],
)
def test_snntorch_latency(name, options):
    got = encoding.latency(jnp.asarray(GOLDEN["encode/x"]), 10, **options)
    np.testing.assert_array_equal(got, GOLDEN[f"encode/latency/{name}"])


@pytest.mark.parametrize("off_spike", [False, True])
def test_snntorch_delta(off_spike):
    got = encoding.delta(jnp.asarray(GOLDEN["encode/delta_x"]), 0.5, off_spike=off_spike)
    np.testing.assert_array_equal(got, GOLDEN[f"encode/delta/threshold=0.5{',off_spike' if off_spike else ''}"])
