"""Networks as layers, and layers as NIR graphs: the same spikes by NIR's own equations, and back."""

import dataclasses

import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest
import spyx
from flax import nnx

from jaxsnn_mia.models import Hyper, ModelSpec, exchange, layers
from tests.fixtures import nir_peers
from tests.models.small import built
from tests.runs import ROOT

T, N = 12, 5
SPEC = ModelSpec("snn", (6,), 3, hidden=(8,), time_steps=T, readout="spike_count", reset="zero")
HYPER = Hyper(beta=0.8, threshold=0.4)
X = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
DRIVE = np.random.default_rng(1).normal(0.5, 0.8, (T, 7, N)).astype(np.float32)
IN_NIR = ("IF", "LIF", "CuBaLIF", "RIF", "RLIF", "RCuBaLIF")
HELD = {"reset": "zero", "reset_delay": False}


@pytest.fixture(autouse=True)
def broadcasting():
    """Spyx and flax broadcast parameters [n] against [B, n]."""
    with jax.numpy_rank_promotion("allow"):
        yield


def euler(graph: nir.NIRGraph, x_tb: np.ndarray, dt: float) -> np.ndarray:
    """What the graph says, by NIR's differential equations and Euler's rule, a node and a step at a time, float64."""
    order, state, spikes_of = exchange.chain(graph), {}, {}
    outputs = []
    for x in x_tb.astype(np.float64):
        for name in order:
            node = graph.nodes[name]
            if isinstance(node, (nir.Affine, nir.Linear)):
                x = x @ node.weight.T + getattr(node, "bias", 0.0)
                continue
            for weight in exchange.feedback_of(graph, name):
                x = x + spikes_of.get(name, np.zeros_like(x)) @ weight.T
            v, current = state.get(name, (np.zeros_like(x), np.zeros_like(x)))
            if isinstance(node, nir.CubaLIF):
                current = current + dt / node.tau_syn * (-current + node.w_in * x)
                v = v + dt / node.tau_mem * (node.v_leak - v + node.r * current)
            elif isinstance(node, nir.IF):
                v = v + dt * node.r * x
            else:
                v = v + dt / node.tau * (node.v_leak - v + node.r * x)
            if isinstance(node, nir.LI):
                x = v
            else:
                x = (v > node.v_threshold).astype(np.float64)
                v = np.where(x > 0, node.v_reset, v)
            state[name], spikes_of[name] = (v, current), x
        outputs.append(x)
    return np.stack(outputs)


def trained(**changes):
    spec = dataclasses.replace(SPEC, **changes)
    model = built(spec)
    params = model.init(jax.random.key(0))
    for layer in params["params"]["layers"].values():
        layer["kernel"] = 2 * layer["kernel"]  # fires
    logits = model.apply(params, X, HYPER, jax.random.key(0), train=False).logits_bc
    return np.asarray(logits), exchange.to_layers(spec, params, HYPER)


@pytest.mark.parametrize(
    ("architecture", "readout", "dt"),
    [
        ("dense", "leaky_integrator", 1e-3),
        *(pytest.param(*case, marks=pytest.mark.long) for case in (
            ("recurrent", "spike_count", 1e-3), ("dense", "spike_count", 1.0), ("recurrent", "leaky_integrator", 1.0),
        )),
    ],
)  # fmt: skip
def test_a_network_says_the_same_as_layers_and_as_a_graph(architecture, readout, dt):
    logits, sequential = trained(architecture=architecture, readout=readout)
    shown = np.broadcast_to(X, (T, *X.shape))
    ours = nnx.jit(lambda model, x: spyx.nn.run(model, x)[0])(sequential, jnp.asarray(shown))
    by_graph = euler(exchange.to_nir(sequential, (6,), dt=dt), shown, dt)
    for output in (ours, by_graph):
        found = output.sum(0) if readout == "spike_count" else output[-1]
        np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-5)
    assert np.abs(logits).max() > 0


def layer_of(name, **options):
    layer = getattr(layers, name)((N,), threshold=0.7, learn_threshold=True, rngs=nnx.Rngs(0), **{**HELD, **options})
    layer.threshold[...] = jnp.linspace(0.5, 0.9, N)
    return layer


@pytest.mark.parametrize("name", [*(pytest.param(n, marks=pytest.mark.long) for n in IN_NIR[:4]), *IN_NIR[4:]])
@pytest.mark.parametrize("dt", [1e-4, pytest.param(1.0, marks=pytest.mark.long)])
def test_every_neuron_fires_as_nirs_equations_say_and_comes_back(name, dt):
    linear = nnx.Linear(N, N, rngs=nnx.Rngs(2))
    model = spyx.nn.Sequential(linear, layer_of(name))
    graph = exchange.to_nir(model, (N,), dt=dt)
    spikes = np.asarray(spyx.nn.run(model, jnp.asarray(DRIVE))[0])
    assert 0.02 < spikes.mean() < 0.98
    np.testing.assert_array_equal(euler(graph, DRIVE, dt), spikes)
    back = exchange.from_nir(graph, dt=dt)
    assert type(back.layers[1]).__name__ == name
    np.testing.assert_array_equal(spyx.nn.run(back, jnp.asarray(DRIVE))[0], spikes)


PEERS = [
    pytest.param(name, library, marks=[] if name == "RLIF folded" else pytest.mark.long)
    for name, libraries in nir_peers.READ.items()
    for library in libraries
]


@pytest.mark.parametrize(("name", "library"), PEERS)
def test_other_libraries_run_our_graphs_with_the_same_spikes(name, library):
    """snnTorch 1.0 and Norse 1.1, as tests/fixtures/nir_peers.py let them read and run the graphs."""
    held = np.load(ROOT / "tests/fixtures/nir_peers.npz")
    model = nir_peers.network(name, held["weight"], held["bias"], held["feedback"])
    spikes = np.asarray(nnx.jit(lambda model, x: spyx.nn.run(model, x)[0])(model, jnp.asarray(held["drive"])))
    assert 0.1 < spikes.mean() < 0.9
    np.testing.assert_array_equal(held[f"{library}/{name}"], spikes)


@pytest.mark.parametrize("name", ["LIF", pytest.param("RLIF", marks=pytest.mark.long)])
def test_a_folded_resistance_is_the_same_network(name):
    linear = nnx.Linear(N, N, rngs=nnx.Rngs(2))
    linear.bias[...] = jnp.linspace(-0.3, 0.3, N)
    model = spyx.nn.Sequential(linear, layer_of(name))
    graph = exchange.to_nir(model, (N,), dt=0.1, fold=True)
    (node,) = [node for node in graph.nodes.values() if isinstance(node, nir.LIF)]
    np.testing.assert_array_equal(node.r, 1)
    spikes = np.asarray(spyx.nn.run(model, jnp.asarray(DRIVE))[0])
    np.testing.assert_array_equal(euler(graph, DRIVE, 0.1), spikes)
    np.testing.assert_array_equal(spyx.nn.run(exchange.from_nir(graph, dt=0.1), jnp.asarray(DRIVE))[0], spikes)
    with pytest.raises(ValueError, match="needs a linear layer before each LIF"):
        exchange.to_nir(spyx.nn.Sequential(layer_of(name)), (N,), fold=True)


def test_a_graph_is_written_and_read_as_a_file(tmp_path):
    graph = exchange.to_nir(spyx.nn.Sequential(layer_of("RLIF")), (N,))
    nir.write(tmp_path / "own.nir", graph)
    back = exchange.from_nir(nir.read(tmp_path / "own.nir"))
    want = np.asarray(spyx.nn.run(spyx.nn.Sequential(layer_of("RLIF")), jnp.asarray(DRIVE))[0])
    np.testing.assert_array_equal(spyx.nn.run(back, jnp.asarray(DRIVE))[0], want)


def test_a_resistance_becomes_part_of_the_threshold():
    """r = 2 tau / dt: twice the input, or half the threshold."""
    tau, threshold = np.full(N, 5.0), np.full(N, 0.8)
    node = nir.LIF(tau=tau, r=2 * tau, v_leak=np.zeros(N), v_threshold=threshold)
    one = {"input": nir.Input({"input": np.array([N])}), "a": node, "output": nir.Output({"output": np.array([N])})}
    graph = nir.NIRGraph(nodes=one, edges=[("input", "a"), ("a", "output")])
    np.testing.assert_array_equal(
        spyx.nn.run(exchange.from_nir(graph), jnp.asarray(DRIVE))[0], euler(graph, DRIVE, 1.0)
    )
    node.v_leak = np.ones(N)
    with pytest.raises(ValueError, match="v_leak must be 0"):
        exchange.from_nir(graph)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (lambda: layer_of("LIF", reset="subtract"), "got reset='subtract'"),
        (lambda: layer_of("LIF", reset="none"), "got reset='none'"),
        (lambda: layer_of("LIF", emit="pre"), "emit='pre'"),
        (lambda: layer_of("CuBaLIF", reset_delay=True), "delayed reset"),
        (lambda: layers.ALIF((N,), rngs=nnx.Rngs(0)), "threshold adapts"),
        (lambda: spyx.nn.LIF((N,), rngs=nnx.Rngs(0)), "NIR cannot hold a spyx"),
        (lambda: nnx.Conv(1, 1, (3, 3), rngs=nnx.Rngs(0)), "NIR cannot hold a flax.*Conv"),
        (lambda: layers.LI((N,), beta=1.0, rngs=nnx.Rngs(0)), "finite time constant, got beta=1"),
    ],
)
def test_what_nir_cannot_hold_is_refused(layer, says):
    with pytest.raises(ValueError, match=says):
        exchange.to_nir(spyx.nn.Sequential(layer()), (N,))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"family": "ann"}, "got family 'ann'"),
        ({"architecture": "convnet"}, "architecture 'convnet'"),
        ({"readout": "membrane_last"}, "must be one of .*got 'membrane_last'"),
    ],
)
def test_networks_that_are_no_layers_are_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        exchange.to_layers(dataclasses.replace(SPEC, **changes), {}, HYPER)


def test_other_graphs_are_refused():
    graph = exchange.to_nir(spyx.nn.Sequential(layer_of("LIF")), (N,))
    graph.edges = [("input", "layer_0")]
    with pytest.raises(ValueError, match="must be one chain, got 0 nodes after 'layer_0'"):
        exchange.from_nir(graph)
    graph = exchange.to_nir(spyx.nn.Sequential(layer_of("LIF")), (N,), dt=0.1)
    graph.nodes["layer_0"].tau = np.full(N, 0.5)
    with pytest.raises(ValueError, match=r"at least dt=1.0, got 0.5"):
        exchange.from_nir(graph, dt=1.0)
