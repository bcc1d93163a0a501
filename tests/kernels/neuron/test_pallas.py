"""The Pallas kernel, interpreted, against the scan; and that it lowers for a GPU that is not there."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

from jaxsnn_mia.kernels import neuron, surrogate
from jaxsnn_mia.kernels.neuron import pallas
from jaxsnn_mia.kernels.neuron.pallas import choice, mosaic
from tests.kernels.platforms import as_for

CURRENT = jnp.asarray(np.random.default_rng(0).normal(0.4, 0.8, (11, 3, 100)), jnp.float32)  # no multiple of a tile
KINDS = {"lif": {}, "synaptic": {"alpha": 0.8, "gain": 0.5}, "adaptive_lif": {"rho": 0.8, "strength": 0.4}}
CONVENTIONS = {**neuron.PRESETS, "zero": {"reset": "zero"}, "none": {"reset": "none"}}
BY_DEFAULT = [("adaptive_lif", "spyx")]  # of `lif` the second derivative
CASES = [pytest.param(k, c, marks=() if (k, c) in BY_DEFAULT else pytest.mark.long) for k in KINDS for c in CONVENTIONS]


def gradient(kind, method, options, membrane=0.3):
    """Gradients with respect to current, beta, threshold (one a neuron) and the first state."""

    def loss(current, beta, threshold):
        spikes, v = getattr(neuron, kind)(current, beta=beta, threshold=threshold, method=method, **options)
        steps = jnp.linspace(0.1, 1.0, len(spikes))[:, None, None]
        return (steps * spikes).sum() + (membrane * (v**2).mean() if membrane else 0.0)

    return jax.jit(jax.grad(loss, (0, 1, 2)))


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_the_kernel_equals_the_scan(kind, name):
    options = {"spike": surrogate.arctan(), **KINDS[kind], **CONVENTIONS[name]}
    args = (CURRENT, jnp.float32(0.9), jnp.linspace(0.5, 0.9, 100))
    compare(kind, options, *args)


@pytest.mark.long
def test_a_membrane_that_nobody_uses_has_no_cotangent_to_read():
    compare("lif", {"spike": surrogate.arctan()}, CURRENT, jnp.float32(0.9), jnp.float32(0.7), membrane=0.0)


def compare(kind, options, *args, membrane=0.3):
    got, want = (gradient(kind, method, options, membrane)(*args) for method in ("pallas", "plain"))
    for a, b, tolerance in zip(got, want, (1e-6, 1e-5, 1e-5), strict=True):
        assert float(jnp.abs(b).max()) > 0
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * float(jnp.abs(b).max()))


@pytest.mark.parametrize(
    ("kind", "steps"), [("lif", 11), *[pytest.param(k, s, marks=pytest.mark.long) for k in KINDS for s in (None, 11)]]
)
def test_tiles_of_a_tpu_equal_the_scan_also_under_vmap_and_for_a_current_that_stays(kind, steps):
    """In blocks of rows; `steps`: a current that is the same at each of them, whose cotangent is a sum."""
    options = {"spike": surrogate.arctan(), "steps": steps, **KINDS[kind]}
    current = CURRENT[0] if steps else CURRENT

    def pulled(method):
        per_model = jax.vmap(gradient(kind, method, options), (None, 0, None))
        return per_model(current, jnp.array([0.5, 0.9]), jnp.linspace(0.5, 0.9, 100))

    want = pulled("plain")
    with as_for("tpu"):
        got = pulled("pallas")
    for a, b in zip(got, want, strict=True):
        assert float(jnp.abs(b).max()) > 0
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(jnp.abs(b).max()))


def test_blocks_of_a_tpu_fit_into_its_vector_memory():
    for steps in (1, 10, 25, mosaic.LONGEST):
        for lanes in (10, 128, 300, 10**5):
            rows, width = mosaic.block_of(steps, 6 * 4, 10**6, lanes)
            assert rows % mosaic.ROWS == 0
            assert width == lanes or width % mosaic.LANES == 0
            taken = rows * -(-width // mosaic.LANES) * mosaic.LANES * steps * 6 * 4
            assert 2 * taken < 13 * 2**20  # the next block is read while one is computed
    assert mosaic.block_of(10, 24, 5, 10) == (5, 10)
    with as_for("tpu"), pytest.raises(ValueError, match="takes no more than 128 steps on a TPU"):
        neuron.lif(jnp.zeros((129, 1, 1)), beta=0.9, spike=surrogate.arctan(), method="pallas")


@pytest.mark.parametrize("membrane", [0.3, pytest.param(0.0, marks=pytest.mark.long)])  # 0: without a cotangent
def test_a_gradient_is_differentiated_again_as_that_of_the_scan(membrane):
    """The derivative of the kernel is that of `fused`, whose own test has loops."""
    options = {"spike": surrogate.arctan()}

    def again(method):
        def outer(current, beta, threshold):
            found = gradient("lif", method, options, membrane)(current, beta, threshold)
            return sum((g**2).sum() for g in found)

        return jax.jit(jax.grad(outer, (0, 1, 2)))(CURRENT[:4, :2, :5], jnp.float32(0.9), jnp.float32(0.7))

    for a, b in zip(again("pallas"), again("fused"), strict=True):
        assert float(jnp.abs(b).max()) > 0
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(jnp.abs(b).max()))


@pytest.mark.long
def test_under_vmap_and_in_sixteen_bits():
    options = {"spike": surrogate.fast_sigmoid(5.0), "state": 0.2 * CURRENT[0]}

    def pulled(method):
        per_model = jax.vmap(gradient("lif", method, options), (None, 0, 0))
        return per_model(CURRENT, jnp.array([0.5, 0.9]), jnp.array([0.7, 1.1]))

    for a, b in zip(pulled("pallas"), pulled("plain"), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(jnp.abs(b).max()))
    for dtype in (jnp.bfloat16, jnp.float16):
        halves = [
            neuron.lif(CURRENT.astype(dtype), beta=0.9, spike=surrogate.arctan(), method=method)
            for method in ("pallas", "plain")
        ]
        np.testing.assert_array_equal(*[spikes.astype(jnp.float32) for spikes, _ in halves])
        assert halves[0][1].dtype == dtype


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[] if k == "lif" else pytest.mark.long) for k in KINDS])
def test_it_lowers_for_a_gpu_with_one_kernel_forward_and_one_backward(kind):
    options = {"spike": surrogate.sigmoid(), **KINDS[kind]}
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in (CURRENT.shape, (), (100,))]
    h100 = AbstractDevice(device_kind="NVIDIA H100 80GB HBM3", num_cores=132, platform="gpu")
    with use_abstract_mesh(AbstractMesh((1,), ("x",), abstract_device=h100)):
        lowered = jax.jit(gradient(kind, "pallas", options)).trace(*shapes).lower(lowering_platforms=("cuda",))
    assert lowered.as_text().count("@__gpu$xla.gpu.triton") == 2
    assert "while" not in lowered.as_text()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"recurrent": jnp.eye(100)}, "recurrent weights"),
        ({"state_fn": jnp.tanh}, "`state_fn`"),
        ({"spike": jax.nn.relu}, "spike function other than a `Surrogate`"),
        ({"spike": surrogate.stochastic_spike(), "key": jax.random.key(0)}, "stochastic surrogate"),
    ],
)
def test_what_a_kernel_cannot_hold_is_refused_and_left_to_the_scan_by_default(options, what):
    options = {"beta": 0.9, "spike": surrogate.arctan(), **options}
    with pytest.raises(ValueError, match="takes no " + re.escape(what)):
        neuron.lif(CURRENT, method="pallas", **options)
    neuron.lif(CURRENT, **options)


def test_the_choice_tries_the_kernel_and_says_what_it_chose(caplog, monkeypatch):
    assert choice.probe() < 1e-5
    assert not pallas.works()  # this test's devices are processors
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for error, word in ((0.0, "as a Pallas kernel"), (0.1, "is off by 0.1")):
        choice.tried.cache_clear()
        monkeypatch.setattr(choice, "probe", lambda error=error: error)
        with caplog.at_level("INFO"):
            assert choice.works() == (error == 0.0)
            assert choice.works() == (error == 0.0)
        assert caplog.text.count(word) == 1
    monkeypatch.setattr(choice, "probe", lambda: 1 / 0)
    choice.tried.cache_clear()
    assert not choice.works()
    assert "does not compile here (ZeroDivisionError" in caplog.text
    choice.tried.cache_clear()


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match=r"`method` must be one of .* got 'triton'"):
        neuron.lif(CURRENT, beta=0.9, spike=surrogate.arctan(), method="triton")
