"""Neurons by their name: every kind is a loop of single steps, learned constants start at the settings and move, a
population of outputs is counted by class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spyx

from jaxsnn_mia import config, models
from jaxsnn_mia.config.specs import largest_codes
from jaxsnn_mia.kernels import neuron, surrogate
from jaxsnn_mia.models import Hyper, ModelSpec, QuantSpec, exchange, frozen
from jaxsnn_mia.settings import LATER, Config, Model, recorded
from jaxsnn_mia.training.optimizer import decays
from tests.models.small import FEATURES, built

T, C = 5, 3
HYPER = Hyper(beta=0.9, threshold=0.4, slope=2.0, alpha=0.7, rho=0.8, strength=0.5)
LONG = pytest.mark.long


def spec_of(**changes):
    return ModelSpec(**{"family": "snn", "in_shape": (6,), "n_classes": C, "hidden": (8,), "time_steps": T, **changes})


def stepped(kind, state, current, hyper=HYPER):
    """(state, membrane, spikes) of one step of a kind of neuron, from its library function."""
    common = {"beta": hyper.beta, "threshold": hyper.threshold, "spike": surrogate.arctan(alpha=2.0)}
    zero = jnp.zeros_like(current)
    if kind == "synaptic":
        state, spikes = neuron.synaptic_step(state or neuron.Synaptic(zero, zero), current, alpha=hyper.alpha, **common)
        return state, state.membrane, spikes
    if kind == "adaptive":
        options = {"rho": hyper.rho, "strength": hyper.strength}
        state, spikes = neuron.adaptive_lif_step(state or neuron.Adaptive(zero, zero), current, **options, **common)
        return state, state.membrane, spikes
    common["beta"] = 1.0 if kind == "if" else hyper.beta
    state, spikes = neuron.lif_step(zero if state is None else state, current, **common)
    return state, state, spikes


def loop(kind, params, readout):
    """Logits [B, C] of a dense network, a step at a time."""
    first, last = (params["params"]["layers"][i] for i in (0, 1))
    hidden = output = None
    membrane, counts = None, 0.0
    for _ in range(T):
        hidden, _, spikes = stepped(kind, hidden, FEATURES @ first["kernel"] + first["bias"][None])
        output, membrane, fired = stepped(kind, output, spikes @ last["kernel"] + last["bias"][None])
        counts = counts + fired
    return membrane if readout == "membrane_last" else counts


@pytest.mark.parametrize("kind", ["synaptic", "adaptive", *(pytest.param(k, marks=LONG) for k in ("lif", "if"))])
@pytest.mark.parametrize("readout", ["membrane_last", pytest.param("spike_count", marks=LONG)])
def test_a_network_of_every_kind_is_a_loop_of_its_steps(kind, readout):
    spec = spec_of(neuron=kind, readout=readout)
    params = built(spec).init(jax.random.key(0))
    expected = jax.jit(lambda params: loop(kind, params, readout))(params)
    for train in (False, True):  # two ways to the last membrane
        out = built(spec).apply(params, FEATURES, HYPER, jax.random.key(1), train=train)
        np.testing.assert_allclose(out.logits_bc, expected, rtol=1e-4, atol=1e-5)
    assert float(jnp.abs(expected).max()) > 0


@pytest.mark.parametrize("architecture", ["dense", pytest.param("convnet", marks=LONG), "recurrent"])
def test_learned_constants_start_at_the_settings_and_every_layer_moves_its_own(architecture):
    shape = (12, 12, 2) if architecture == "convnet" else (6,)
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(4, *shape)), jnp.float32)
    spec = spec_of(architecture=architecture, in_shape=shape, learned=models.LEARNED, neuron="adaptive")
    params = built(spec).init(jax.random.key(0))
    fixed = built(spec_of(architecture=architecture, in_shape=shape, neuron="adaptive"))

    def loss(trained, model):
        out = model.apply({**params, "params": trained}, x, HYPER, jax.random.key(1), train=True)
        return (out.logits_bc * jnp.arange(1.0, C + 1)[None]).sum(), out.logits_bc

    slopes, logits = jax.jit(jax.grad(lambda p: loss(p, built(spec)), has_aux=True))(params["params"])
    np.testing.assert_allclose(logits, loss(fixed_part(params["params"]), fixed)[1], rtol=1e-5, atol=1e-6)
    moved = {p: float(v) for p, v in leaves(slopes) if "constants" in p}
    layers = {"dense": 2, "convnet": 4, "recurrent": 2}[architecture]
    assert len(moved) == 2 * layers
    assert all(value != 0 for value in moved.values()), moved
    assert not any(leaf for path, leaf in leaves(decays(params["params"])) if "constants" in path)


def leaves(tree):
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def fixed_part(params):
    """The parameters without learned constants."""
    if not isinstance(params, dict):
        return params
    kept = {name: fixed_part(part) for name, part in params.items() if name != "constants"}
    return {name: part for name, part in kept.items() if jax.tree.leaves(part)}


def test_a_learned_constant_is_the_setting_that_it_has_become():
    spec = spec_of(learned=models.LEARNED, quant=QuantSpec(parts=("state",)), hidden=())
    params = built(spec).init(jax.random.key(0))
    constants = params["params"]["constants"][0]
    constants["beta"], constants["threshold"] = jnp.float32(-0.2), jnp.log(jnp.float32(1.5))
    plain = spec_of(quant=QuantSpec(parts=("state",)), hidden=())
    became = HYPER._replace(beta=0.7, threshold=0.6)
    found = built(spec).apply(params, FEATURES, HYPER, jax.random.key(1), train=False)
    without = {**params, "params": fixed_part(params["params"])}
    expected = built(plain).apply(without, FEATURES, became, jax.random.key(1), train=False)
    np.testing.assert_allclose(found.logits_bc, expected.logits_bc, rtol=1e-5, atol=1e-6)


def test_a_population_counts_the_mean_spikes_of_its_class():
    spec = spec_of(readout="population", population=4)
    params = built(spec).init(jax.random.key(0))
    assert params["params"]["layers"][1]["kernel"].shape == (8, 4 * C)
    out = built(spec).apply(params, FEATURES, HYPER, jax.random.key(1), train=False)
    counts = jax.jit(lambda params: loop("lif", params, "spike_count"))(params)  # [B, 4 C]
    by_class = [np.asarray(counts)[:, 4 * c : 4 * c + 4].mean(1) for c in range(C)]
    np.testing.assert_allclose(out.logits_bc, np.stack(by_class, 1), rtol=1e-6)
    np.testing.assert_array_equal(out.logits_tbc[-1], out.logits_bc)
    assert len(np.unique(out.logits_bc)) > 3


def test_weights_and_membranes_have_widths_of_their_own():
    settings = {"what": "weight_state", "bits": 4, "bits_state": 6}
    assert largest_codes(config.from_dict({"quantization": settings})) == {
        "qmax_weight": 7.0, "qmax_activation": 0.0, "qmax_state": 63.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"neuron": "lief"}, r"`model\.neuron` must be one of .*Did you mean"),
        ({"alpha": 0.5}, r"`model\.alpha` must be 0\.8 for model\.neuron=lif, got 0\.5\. Set model\.neuron=synaptic"),
        ({"neuron": "synaptic", "rho": 0.5}, r"`model\.rho` must be 0\.97 for model\.neuron=synaptic"),
        ({"population": 3}, r"`model\.population` must be 10 for model\.readout=membrane_last"),
        ({"neuron": "if", "beta": 0.9}, r"`model\.beta` must be 0\.95 for model\.neuron=if.*have no leak"),
        ({"neuron": "if", "learned": ("beta",)}, r"`model\.learned` must be without 'beta'"),
        ({"learned": ("beta", "beta")}, r"`model\.learned` must be free of repeated values"),
        ({"learned": ("gain",)}, r"`model\.learned` must be one of"),
    ],
)
def test_settings_that_no_neuron_reads_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        config.from_dict({"model": model})


def test_what_has_no_other_form_is_refused():
    learned = spec_of(learned=("beta",))
    with pytest.raises(ValueError, match=r"`model\.learned` has no integer form"):
        frozen.freeze(learned, built(learned).init(jax.random.key(0)), HYPER)
    adaptive = spec_of(neuron="adaptive", readout="spike_count")
    with pytest.raises(ValueError, match="must be 'lif' or 'if'"):
        exchange.to_layers(adaptive, built(adaptive).init(jax.random.key(0)), HYPER)


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["dense", pytest.param("recurrent", marks=LONG)])
def test_a_network_without_leak_becomes_layers_without_leak(architecture):
    spec = spec_of(neuron="if", readout="spike_count", architecture=architecture)
    params = built(spec).init(jax.random.key(0))
    made = exchange.to_layers(spec, params, HYPER)
    found = spyx.nn.run(made, jnp.broadcast_to(FEATURES, (T, *FEATURES.shape)))[0].sum(0)
    logits = built(spec).apply(params, FEATURES, HYPER, jax.random.key(1), train=False).logits_bc
    np.testing.assert_array_equal(found, logits)
    assert float(logits.max()) > 0


def test_runs_from_before_neurons_could_be_named_have_the_same_record():
    assert not set(LATER["model"]) & set(recorded(Config())["model"])
    given = recorded(config.from_dict({"model": {"neuron": "synaptic", "learned": ("beta",)}}))["model"]
    assert (given["neuron"], given["learned"]) == ("synaptic", ("beta",))
    assert "alpha" not in given
    assert set(LATER["model"]) < set(Model.__dataclass_fields__)
