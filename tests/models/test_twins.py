"""The networks and their spiking twins: same parameters, same arithmetic as slow loops, no example sees another.

Over 300 lines: the tests of all architectures share parameters and slow loops.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from jaxsnn_mia import models
from jaxsnn_mia.kernels import encoding, neuron, quantize, surrogate
from jaxsnn_mia.models import Hyper, ModelSpec, QuantSpec, resnet, vgg
from jaxsnn_mia.models.coding import ENCODE, stream
from jaxsnn_mia.models.conv import Fire, Norm
from jaxsnn_mia.models.heads import SpikingHead

LONG = pytest.mark.long

RNG = np.random.default_rng(0)
HYPER = Hyper(beta=0.9, threshold=0.5, slope=2.0)
KEY = jax.random.key(1)
PAIRS = [(name, family) for name, families in models.MODELS.items() for family in families if family != "ann"]
SIZES = {"resnet18": 8, "vgg16": 8, "vgg11": 8}


def spec_of(architecture, family, **changes):
    size = SIZES.get(architecture, 12)
    shape = (size, size, 2) if architecture in models.ON_IMAGES else (6,)
    given = {"hidden": (7,), "time_steps": 3, "architecture": architecture, **changes}
    return ModelSpec(family, given.pop("in_shape", shape), 4, **given)


def made(spec):
    model = models.build(spec)
    return model, jax.jit(model.init)(jax.random.key(0))


def inputs(spec, n=3, low=0.0, high=1.0):
    return jnp.asarray(RNG.uniform(low, high, (n, *spec.in_shape)), jnp.float32)


def logits(spec, params, x, key=KEY, train=False):
    return applied(spec, train)(params, x, key)


@functools.cache
def applied(spec, train):
    model = models.build(spec)
    return jax.jit(lambda params, x, key: model.apply(params, x, HYPER, key, train=train))


@pytest.mark.parametrize(
    ("architecture", "family"),
    [pytest.param(*pair, marks=LONG if pair[0] in ("resnet18", "vgg16", "vgg11") else ()) for pair in PAIRS],
)
def test_the_members_of_a_pair_have_the_same_parameters(architecture, family):
    shapes = [
        jax.eval_shape(models.build(spec_of(architecture, one)).init, jax.random.key(0))["params"]
        for one in ("ann", family)
    ]
    sizes = [sorted(leaf.shape for leaf in jax.tree.leaves(tree)) for tree in shapes]
    assert sizes[0] == sizes[1]
    assert sum(map(math.prod, sizes[0])) > 50


@pytest.mark.parametrize(("name", "published"), [("vgg11", 9_220_480), ("vgg16", 14_714_688)])
def test_vgg_has_the_convolutions_of_the_paper(name, published):
    """Weights and biases of the convolutions on RGB images, as the literature counts them."""
    shapes = jax.eval_shape(models.build(ModelSpec("snn", (32, 32, 3), 10, (512,), architecture=name)).init, KEY)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]["convs"])) == published
    assert shapes["params"]["head"]["layers"][0]["kernel"].shape == (512, 512)
    assert shapes["params"]["head"]["layers"][1]["kernel"].shape == (512, 10)


LEARNED = [
    pytest.param("convnet", "ann", marks=LONG),
    pytest.param("resnet8", "ann", marks=LONG),
    pytest.param("resnet18", "ann", marks=LONG),
    pytest.param("convnet", "snn", marks=LONG),
    pytest.param("convnet", "hybrid", marks=LONG),
    pytest.param("resnet8", "snn", marks=LONG),
    pytest.param("recurrent", "ann", marks=LONG),
    ("recurrent", "snn"),
    pytest.param("vgg11", "snn", marks=LONG),
    pytest.param("vgg11", "ann", marks=LONG),
    pytest.param("vgg16", "hybrid", marks=LONG),
    pytest.param("resnet18", "snn", marks=LONG),
]


@pytest.mark.parametrize(("architecture", "family"), LEARNED)
def test_every_parameter_learns_and_no_example_sees_another(architecture, family):
    spec = spec_of(architecture, family, time_steps=4, quant=QuantSpec(parts=("weight", "activation")))
    model, params = made(spec)
    hyper = HYPER._replace(qmax_weight=127.0, qmax_activation=127.0, threshold=0.3)
    x = inputs(spec, 4, -1.0, 2.0)

    def loss(trained):
        out = model.apply(params | {"params": trained}, x, hyper, KEY, train=True)
        return (jax.nn.log_softmax(out.logits_bc) ** 2).sum(), out

    gradients, out = jax.jit(jax.grad(loss, has_aux=True))(params["params"])
    assert out.logits_bc.shape == (4, 4)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert float(jnp.abs(leaf).max()) > 0, jax.tree_util.keystr(path)
    ready = params | {"statistics": out.aux["statistics"]}
    query = jax.jit(lambda x: model.apply(ready, x, hyper, KEY, train=False))
    others = x.at[1:].set(inputs(spec, 3))
    np.testing.assert_allclose(query(x).logits_bc[0], query(others).logits_bc[0], rtol=1e-4, atol=1e-5)
    rates = query(x).aux["rates"]
    assert rates.shape[0] == 4
    assert float(rates.min()) >= 0
    if family != "ann":
        assert query(x).logits_tbc.shape == (4, 4, 4)


def library_conv(x, layer, stride=1):
    """A library convolution of one image a step [B, H, W, I]."""
    out = lax.conv_general_dilated(
        x, layer["kernel"], (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest"
    )
    return out + layer["bias"].reshape(1, 1, 1, -1)


def pool_loop(x):
    b, h, w, c = x.shape
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID").reshape(b, h // 2, w // 2, c)


def step_by_step(params, x_tb, spiking):
    """The small convolutional net as a loop over time of single steps: (logits [T, B, C] are membranes)."""
    settings = {"beta": 0.9, "threshold": 0.5, "spike": surrogate.arctan(alpha=2.0)}
    states, out = {}, []

    def fire(name, current):
        state = states.get(name, jnp.zeros_like(current))
        states[name], spikes = neuron.lif_step(state, current, **settings)
        return spikes

    for x in x_tb:
        for i, layer in sorted(params["convs"].items()):
            current = library_conv(x, layer)
            x = pool_loop(fire(f"conv{i}", current) if spiking else jax.nn.relu(current))
        x = x.reshape(len(x), -1)
        for i, layer in sorted(params["head"]["layers"].items()):
            current = x @ layer["kernel"] + layer["bias"].reshape(1, -1)
            x = fire(f"dense{i}", current)
        out.append(states["dense1"])
    return jnp.stack(out)


@pytest.mark.parametrize(
    ("family", "encoding"),
    [("snn", "latency"), *[pytest.param(f, "direct", marks=LONG) for f in ("snn", "hybrid")]],
)
def test_the_spiking_convolutional_net_is_a_loop_over_single_steps(family, encoding):
    spec = spec_of("convnet", family, encoding=encoding, time_steps=4, in_shape=(9, 9, 2))
    _, params = made(spec)
    x = inputs(spec)
    x_tb = stream(spec, x, KEY)
    x_tb = x_tb if spec.over_time else jnp.broadcast_to(x, (4, *x.shape))
    found = logits(spec, params, x)
    expected = jax.jit(step_by_step, static_argnums=2)(params["params"], x_tb, family == "snn")
    np.testing.assert_allclose(found.logits_tbc, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits(spec, params, x, train=True).logits_bc, expected[-1], rtol=1e-4, atol=1e-5)


def grouped(x, scale_bias):
    """GroupNorm of images [B, H, W, C] in 8 groups."""
    b, h, w, c = x.shape
    parts = x.reshape(b, h * w, 8, c // 8)
    parts = (parts - parts.mean((1, 3), keepdims=True)) / jnp.sqrt(parts.var((1, 3), keepdims=True) + 1e-5)
    scale, bias = (scale_bias[name].reshape(1, 1, 1, -1) for name in ("scale", "bias"))
    return parts.reshape(x.shape) * scale + bias


def small_vgg(p, x, fire):
    for i, pool in enumerate((True, False, True)):
        x = fire(i, grouped(library_conv(x, p["convs"][i]), p["norms"][i]))
        x = pool_loop(x) if pool else x
    return x.reshape(len(x), -1)


def small_resnet(p, x, fire):
    x = fire(0, grouped(library_conv(x, p["stem"]), p["norm"]))
    for k, stride in ((0, 1), (1, 2)):
        block = p["blocks"][k]
        inner = fire(1 + 2 * k, grouped(library_conv(x, block["convs"][0], stride), block["norms"][0]))
        out = grouped(library_conv(inner, block["convs"][1]), block["norms"][1])
        x = fire(2 + 2 * k, out + (library_conv(x, block["shortcut"][0], stride) if k else x))
    return x.mean((1, 2))


@pytest.mark.parametrize("family", [pytest.param("ann", marks=LONG), "snn"])
@pytest.mark.parametrize(
    ("architecture", "formula"),
    [pytest.param("vgg11", small_vgg, marks=LONG), ("resnet8", small_resnet)],
)
def test_deep_networks_are_loops_over_single_steps(architecture, formula, family, monkeypatch):
    monkeypatch.setitem(vgg.STAGES, "vgg11", ((8,), (8, 16)))
    monkeypatch.setitem(resnet.RESNETS, "resnet8", ((8, 16), 1))
    spec = spec_of(architecture, family, hidden=(5,), time_steps=3, in_shape=(8, 8, 2))
    _, params = made(spec)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.asarray(RNG.normal(size=leaf.shape), leaf.dtype), params)
    x, p = inputs(spec), params["params"]
    settings = {"beta": 0.9, "threshold": 0.5, "spike": surrogate.arctan(alpha=2.0)}

    @jax.jit
    def expected(p, x):
        states = {}

        def fire(name, current):
            if family == "ann":
                return jax.nn.relu(current)
            states[name], spikes = neuron.lif_step(states.get(name, jnp.zeros_like(current)), current, **settings)
            return spikes

        for _ in range(3):
            h = formula(p, x, fire)
            for i in (0, 1):
                layer = p["head"]["layers"][i]
                current = h @ layer["kernel"] + layer["bias"].reshape(1, -1)
                h = current if family == "ann" and i else fire(f"dense{i}", current)
        return h if family == "ann" else states["dense1"]

    np.testing.assert_allclose(logits(spec, params, x).logits_bc, expected(p, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "hidden"),
    [("dense", ()), *[pytest.param(*case, marks=LONG) for case in (("convnet", ()), ("recurrent", (5, 4)))]],
)
def test_dropout_acts_on_the_same_places_of_both_twins(architecture, hidden):
    """On what units give, never on the input: a network without units has nothing to drop."""
    for family in ("ann", "snn"):
        spec = spec_of(architecture, family, hidden=hidden, dropout=True, time_steps=4)
        model, params = made(spec)
        x = inputs(spec)

        @jax.jit
        def trained(rate, key, model=model, params=params, x=x):
            return model.apply(params, x, HYPER._replace(dropout=rate), key, train=True).logits_bc

        whole, half, other = (trained(rate, jax.random.key(k)) for rate, k in ((0.0, 1), (0.5, 1), (0.5, 2)))
        acts = architecture != "dense"
        assert (float(jnp.abs(whole - half).max()) > 0) == acts
        assert (float(jnp.abs(other - half).max()) > 0) == acts


def test_feedback_has_the_bits_of_weights_and_layers_drop_apart():
    spec = spec_of("recurrent", "snn", timed=True, in_shape=(5, 6), time_steps=5, hidden=(6,), quant=QuantSpec())
    model, params = made(spec)
    x = jnp.asarray(RNG.poisson(1.0, (3, 5, 6)), jnp.float32)
    p = params["params"]

    def quantized(kernel):
        return quantize.weight(kernel, 2, axis=-1)

    settings = {"beta": 0.9, "threshold": 0.5, "spike": surrogate.arctan(alpha=2.0)}

    @jax.jit
    def expected(p):
        drive = x.swapaxes(0, 1) @ quantized(p["layers"][0]["kernel"]) + p["layers"][0]["bias"].reshape(1, 1, -1)
        spikes, _ = neuron.lif(drive, recurrent=quantized(p["feedback"][0]), **settings)
        final = p["head"]["layers"][0]
        out = spikes @ quantized(final["kernel"]) + final["bias"].reshape(1, 1, -1)
        return neuron.lif(out, **settings)[1][-1]

    narrow = HYPER._replace(qmax_weight=1.0)
    found = jax.jit(lambda params: model.apply(params, x, narrow, KEY, train=False).logits_bc)(params)
    np.testing.assert_allclose(found, expected(p), rtol=1e-4, atol=1e-5)
    assert float(jnp.abs(quantized(p["feedback"][0]) - p["feedback"][0]).max()) > 0.05


def test_the_relus_of_a_hybrid_have_the_whole_grid_of_their_width():
    spec = spec_of("convnet", "hybrid", quant=QuantSpec(parts=("activation",)))
    relu, current = Fire(spec, 0), SpikingHead(spec, 4, (3,), rngs=nnx.Rngs(0)).currents[0]
    x = jnp.linspace(0, 1, 1001)[None]
    hyper = HYPER._replace(qmax_activation=jnp.float32(1.0))  # 2 bits with a sign
    relu.quant.range[...], current.range[...] = jnp.float32(1.0), jnp.float32(1.0)
    np.testing.assert_allclose(np.unique(relu(x, hyper, {}, False)), [0, 1 / 3, 2 / 3, 1], rtol=1e-6)
    np.testing.assert_allclose(np.unique(current(x, hyper, False)), [0, 1])
    assert float(quantize.without_sign(jnp.float32(127.0))) == quantize.qmax_unsigned(8)
    assert float(quantize.without_sign(jnp.float32(0.0))) == 0


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["dense", pytest.param("convnet", marks=LONG)])
def test_the_ann_over_time_is_the_mean_of_its_steps(architecture):
    spec = spec_of(architecture, "ann", encoding="rate", time_steps=5)
    direct = spec_of(architecture, "ann", time_steps=5)
    _, params = made(spec)
    x = inputs(spec)
    spikes_tb = encoding.rate(jax.random.fold_in(KEY, ENCODE), x, 5)
    each_tbc = jnp.stack([logits(direct, params, spikes).logits_bc for spikes in spikes_tb])
    found = logits(spec, params, x)
    np.testing.assert_allclose(found.logits_bc, each_tbc.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.logits_tbc[2], each_tbc[:3].mean(0), rtol=1e-4, atol=1e-5)


def test_the_twins_see_the_same_spikes_and_a_new_key_brings_new_ones():
    ann, snn = (spec_of("dense", family, encoding="rate") for family in ("ann", "snn"))
    x = inputs(ann, 50)
    np.testing.assert_array_equal(stream(ann, x, KEY), stream(snn, x, KEY))
    assert float(jnp.abs(stream(ann, x, KEY) - stream(ann, x, jax.random.key(2))).max()) == 1
    rate = stream(ModelSpec("snn", (6,), 2, time_steps=2000, encoding="rate"), x, KEY).mean(0)
    np.testing.assert_allclose(rate, x, atol=5 * 0.5 / 2000**0.5)


def test_latency_is_one_spike_the_earlier_the_larger():
    spec = spec_of("dense", "snn", encoding="latency", time_steps=11)
    x = jnp.asarray([[0.0, 0.005, 0.1, 0.5, 0.9, 1.0]], jnp.float32)
    spikes = np.asarray(stream(spec, x, KEY))[:, 0]
    np.testing.assert_array_equal(spikes.sum(0), [0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(spikes.argmax(0)[2:], [9, 5, 1, 0])


@pytest.mark.parametrize("family", [pytest.param("ann", marks=LONG), "snn"])
def test_events_are_their_own_code_and_recurrence_is_a_loop(family):
    spec = spec_of("recurrent", family, timed=True, in_shape=(5, 3, 2), time_steps=5, hidden=(6, 4))
    _, params = made(spec)
    x = jnp.asarray(RNG.poisson(0.5, (3, 5, 3, 2)), jnp.float32)
    p, settings = params["params"], {"beta": 0.9, "threshold": 0.5, "spike": surrogate.arctan(alpha=2.0)}
    states, last, out = {}, {}, []
    for t in range(5):
        h = x[:, t].reshape(3, -1)
        for i in (0, 1):
            back = last.get(i, jnp.zeros((3, (6, 4)[i])))
            current = h @ p["layers"][i]["kernel"] + p["layers"][i]["bias"].reshape(1, -1) + back @ p["feedback"][i]
            if family == "ann":
                h = jax.nn.relu(current)
            else:
                states[i], h = neuron.lif_step(states.get(i, jnp.zeros_like(current)), current, **settings)
            last[i] = h
        final = p["head"]["layers"][0]
        current = h @ final["kernel"] + final["bias"].reshape(1, -1)
        if family == "snn":
            current, _ = neuron.lif_step(out[-1] if out else jnp.zeros_like(current), current, **settings)
        out.append(current)
    expected = jnp.stack(out).mean(0) if family == "ann" else out[-1]
    np.testing.assert_allclose(logits(spec, params, x).logits_bc, expected, rtol=1e-4, atol=1e-5)
    back = params["params"]["feedback"][0]
    assert float(jnp.linalg.norm(back, ord=2)) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("family", [pytest.param("ann", marks=LONG), "snn"])
def test_threshold_dependent_batch_norm(family):
    """Over time, batch and space, times the threshold where neurons fire; frozen at query time."""
    norm = Norm(8, spec_of("resnet8", family, norm="tdbn"))
    norm.scale[...], norm.bias[...] = jnp.arange(1.0, 9.0), jnp.arange(8.0)
    x_tb = jnp.asarray(RNG.normal(3, 2, (2, 3, 4, 4, 8)), jnp.float32)
    hyper = Hyper(threshold=0.25)
    wide = np.asarray(x_tb, np.float64)
    mean, variance = wide.mean((0, 1, 2, 3)), wide.var((0, 1, 2, 3))
    gain = 0.25 if family == "snn" else 1.0
    expected = gain * np.arange(1, 9) * (wide - mean) / np.sqrt(variance + 1e-5) + np.arange(8)
    np.testing.assert_allclose(norm(x_tb, hyper, True), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(norm.mean[...], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(norm.variance[...], 0.9 + 0.1 * variance, rtol=1e-5)
    kept = np.array(norm.mean[...])
    alone, beside = norm(x_tb[:, :1], hyper, False), norm(x_tb, hyper, False)
    np.testing.assert_array_equal(alone, beside[:, :1])
    np.testing.assert_array_equal(norm.mean[...], kept)


def test_every_layer_of_neurons_has_a_number_of_its_own():
    """It is folded into the key of a stochastic surrogate."""
    for architecture in models.ON_IMAGES:
        module = nnx.eval_shape(
            lambda a=architecture: models.MODELS[a]["snn"](spec_of(a, "snn", hidden=(5, 5)), rngs=nnx.Rngs(0))
        )
        fires = [node.index for _, node in nnx.iter_graph(module) if isinstance(node, Fire)]
        assert sorted(fires) == list(range(module.head.first)) != []
