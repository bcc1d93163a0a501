"""What is asked of a model beyond its logits, on small models and on ones whose answers are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia import models
from jaxsnn_mia.models import Hyper, ModelSpec, Output
from jaxsnn_mia.signals import catalogue, queries

N, D, C = 20, 6, 3
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, D)).astype(np.float32), RNG.integers(0, C, N).astype(np.int32)
KEY = jax.random.key(1)
OWN_PROGRAM = ("ann", pytest.param("snn", marks=pytest.mark.long))  # slow to compile


def make(family):
    """(apply, params) of a small network that fires."""
    model = models.build(ModelSpec(family=family, in_shape=(D,), n_classes=C, hidden=(8,), time_steps=4))
    return lambda params, x, hyper, key: model.apply(params, x, hyper, key, train=False), jax.jit(model.init)(
        jax.random.key(0)
    )


MODELS = {family: make(family) for family in ("ann", "snn")}
HYPER = Hyper(threshold=0.3)


quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # quick to compile
LONG = pytest.mark.long


def asked(names, family):
    """jitted fn(x, y) -> {name: answer}."""
    apply, params = MODELS[family]
    return quick_jit(lambda x, y: {name: catalogue.SIGNALS[name](apply, params, x, y, HYPER, KEY) for name in names})


NAMES = {
    "ann": (*sorted(set(queries.QUERY_SIGNALS) - set(catalogue.LONGER)), "phi", "correct"),
    "snn": ("phi_steps", "phi_repeats", "gradient_norm", "rates", "phi"),
}


@functools.cache
def everything(family):
    return asked(NAMES[family], family)


@functools.cache
def answers(family):
    return {name: np.asarray(answer) for name, answer in everything(family)(X, Y).items()}


def linear(weights_dc):
    """apply of a model that is one product, and its parameters."""
    return lambda params, x, hyper, key: Output(x.astype(jnp.float32) @ params["params"], None, {}), {
        "params": jnp.asarray(weights_dc, jnp.float32)
    }


def answer(fn, weights_dc, x, y):
    apply, params = linear(weights_dc)
    return np.asarray(quick_jit(lambda x, y: fn(apply, params, x, y, Hyper(), KEY))(x, y))


@pytest.mark.parametrize("family", OWN_PROGRAM)
def test_an_answer_does_not_depend_on_its_batch_mates(family):
    whole, order = answers(family), np.random.default_rng(1).permutation(N)
    for name, got in everything(family)(X[order], Y[order]).items():
        assert got.shape[0] == N
        assert got.ndim == 2
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, whole[name][order], rtol=1e-5, atol=1e-6, err_msg=name)


@LONG
@pytest.mark.parametrize("family", NAMES)
def test_an_answer_does_not_depend_on_the_number_of_its_batch_mates(family):
    names = NAMES["snn"] if family == "snn" else ("gradient_norm", "boundary")
    for name, got in asked(names, family)(X[:3], Y[:3]).items():
        np.testing.assert_allclose(got, answers(family)[name][:3], rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_last_step_is_the_answer():
    phi, steps = answers("snn")["phi"], answers("snn")["phi_steps"]
    assert steps.shape == (N, 4)
    np.testing.assert_allclose(steps[:, -1:], phi, rtol=1e-6, atol=1e-6)
    assert np.abs(steps[:, 1:] - steps[:, :-1]).max() > 0.01
    np.testing.assert_array_equal(answers("ann")["phi_steps"], answers("ann")["phi"])  # which has no time


@LONG
@pytest.mark.parametrize("family", NAMES)
def test_a_mask_that_takes_nothing_changes_nothing(family, monkeypatch):
    monkeypatch.setattr(queries, "DROPPED", 0.0)
    got = asked(("phi_dropout", "phi"), family)(X, Y)
    np.testing.assert_allclose(got["phi_dropout"], np.repeat(got["phi"], queries.MASKS, axis=1), rtol=1e-6, atol=1e-6)


def test_masks_are_the_same_for_all_examples_and_take_their_share():
    """phi of two classes whose logits are (sum of the features that are left, 0)."""
    d = 2000
    weights = np.stack([np.ones(d), np.zeros(d)], axis=1)
    left = answer(queries.phi_dropout, weights, np.ones((3, d), np.float32), np.zeros(3, np.int32))
    assert (left == left[:1]).all()
    assert len(np.unique(left)) > 1
    assert left.mean() == pytest.approx((1 - queries.DROPPED) * d, rel=0.01)
    pixels = answer(queries.phi_dropout, weights, np.full((1, d), 2, np.uint8), np.zeros(1, np.int32))
    np.testing.assert_array_equal(pixels, 2 * left[:1])


def test_repeats_ask_again_with_keys_of_their_own():
    def apply(params, x, hyper, key):
        return Output(x[:, :2] + jax.random.uniform(key, (2,))[None], None, {})

    x, y = jnp.asarray(X), jnp.zeros(N, jnp.int32)
    got = quick_jit(lambda x, y: queries.phi_repeats(apply, None, x, y, Hyper(), KEY))(x, y)
    drawn = quick_jit(jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(KEY, i), (2,))))
    for i, noise in enumerate(np.asarray(drawn(np.arange(queries.REPEATS)))):
        np.testing.assert_allclose(got[:, i], X[:, 0] - X[:, 1] + noise[0] - noise[1], rtol=1e-5, atol=1e-5)
    phi = answers("snn")["phi"]  # of a model that draws nothing
    np.testing.assert_allclose(answers("snn")["phi_repeats"], np.repeat(phi, 8, axis=1), rtol=1e-6, atol=1e-6)


def test_answers_that_are_random_are_asked_for_several_times():
    """Each view with keys of its own; asked once, with the key itself."""

    def apply(params, x, hyper, key):
        return Output(x[:, :2] + jax.random.uniform(key, (2,))[None], None, {})

    def asked(repeats):
        query = catalogue.Query(("phi", "logp_t2"), repeats=repeats)
        return quick_jit(lambda x, y: query(apply, None, x, y, Hyper(), KEY))(X, np.zeros(N, np.int32))

    def phi(key):
        noise = jax.random.uniform(key, (2,))
        return X[:, 0] - X[:, 1] + noise[0] - noise[1]

    np.testing.assert_allclose(asked(1)["phi"][:, 0], phi(KEY), rtol=1e-5, atol=1e-5)
    each = np.stack([phi(jax.random.fold_in(KEY, i)) for i in range(3)], axis=1)
    answers = asked(3)
    np.testing.assert_allclose(answers["phi"], each, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(answers["logp_t2"], -np.log1p(np.exp(-each / 2)), rtol=1e-4, atol=1e-5)


def cross_entropy(params, x):
    """float64 [N] of the dense network, in numpy."""
    for i, layer in enumerate(params):
        x = x @ layer["kernel"] + layer["bias"]
        x = np.maximum(x, 0) if i < len(params) - 1 else x
    return np.log(np.exp(x - x.max(1, keepdims=True)).sum(1)) + x.max(1) - x[np.arange(len(x)), Y]


def test_the_norm_of_the_gradient_equals_finite_differences():
    params = MODELS["ann"][1]["params"]["layers"]
    layers = [{name: np.asarray(leaf, np.float64) for name, leaf in params[i].items()} for i in sorted(params)]
    squares, step = np.zeros(N), 1e-6
    for layer in layers:
        for leaf in layer.values():
            for at in np.ndindex(leaf.shape):
                kept = leaf[at]
                losses = []
                for leaf[at] in (kept + step, kept - step):
                    losses.append(cross_entropy(layers, X.astype(np.float64)))
                leaf[at] = kept
                squares += ((losses[0] - losses[1]) / (2 * step)) ** 2
    np.testing.assert_allclose(answers("ann")["gradient_norm"][:, 0], 0.5 * np.log(squares), rtol=1e-4, atol=1e-4)


@LONG
def test_the_norm_of_the_gradient_equals_one_gradient_after_the_other():
    apply, params = MODELS["snn"]

    @quick_jit
    def gradient(x, y):
        def loss(weights):
            logits = apply(params | {"params": weights}, x[None], HYPER, KEY).logits_bc
            return -jax.nn.log_softmax(logits)[0, y]

        return jax.grad(loss)(params["params"])

    squares = [sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient(x, y))) for x, y in zip(X, Y, strict=True)]
    np.testing.assert_allclose(
        answers("snn")["gradient_norm"][:, 0], 0.5 * np.log(np.array(squares)), rtol=1e-4, atol=1e-4
    )


@LONG
@pytest.mark.parametrize("family", NAMES)
def test_without_noise_the_labels_are_the_models_own(family, monkeypatch):
    monkeypatch.setattr(queries, "NOISE", 0.0)
    got = asked(("label_noise", "correct"), family)(X, Y)
    assert 0 < got["correct"].mean() < 1
    np.testing.assert_array_equal(got["label_noise"], got["correct"])


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_noise_of_the_stated_deviation(dtype, monkeypatch):
    """Of two classes w.x against 0: the chance that a copy stays right is Phi(w.x / (deviation |w|))."""
    monkeypatch.setattr(queries, "DRAWS", 4000)
    rng = np.random.default_rng(5)
    deviation = queries.PIXEL_NOISE if dtype == np.uint8 else queries.NOISE
    weights = np.stack([rng.normal(size=D), np.zeros(D)], axis=1)
    x = rng.integers(0, 256, (5, D)).astype(dtype) if dtype == np.uint8 else X[:5]
    y = np.zeros(5, np.int32)
    margin = x @ weights[:, 0] / (deviation * np.linalg.norm(weights[:, 0]))
    want = 0.5 * (1 + np.array([float(jax.scipy.special.erf(m / np.sqrt(2))) for m in margin]))
    np.testing.assert_allclose(answer(queries.label_noise, weights, x, y)[:, 0], want, atol=0.03)


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.uint8, marks=pytest.mark.long)])
def test_the_boundary_of_a_half_space(dtype, monkeypatch):
    """Of two classes w.x against b the distance is (w.x - b) / |w|; no ray is shorter, and the best comes near."""
    rng = np.random.default_rng(5)
    deviation = queries.PIXEL_NOISE if dtype == np.uint8 else queries.NOISE
    x = rng.integers(0, 256, (30, D)).astype(dtype) if dtype == np.uint8 else rng.normal(size=(30, D)).astype(dtype)
    w = rng.normal(size=D)
    middle = np.median(x @ w)

    def apply(params, x, hyper, key):
        return Output(jnp.stack([x @ jnp.asarray(w, jnp.float32), jnp.full(len(x), middle)], axis=1), None, {})

    def share(rounds):
        monkeypatch.setattr(queries, "ROUNDS", rounds)
        ask = quick_jit(lambda x: queries.boundary(apply, None, x, jnp.zeros(30, jnp.int32), Hyper(), KEY))
        return np.asarray(ask(x))[:, 0]

    found, random = share(4), share(0)
    exact = (x @ w - middle) / np.linalg.norm(w) / (2 * queries.FARTHEST * deviation * D**0.5)
    right = exact > 0
    assert 0 < right.sum() < 30
    np.testing.assert_array_equal(found[~right], 0)
    step = 2.0**-queries.BISECTIONS
    assert (found[right] >= exact[right] - 1e-6).all()
    assert (found <= random).all()
    near = np.median((found[right] - step) / exact[right]), np.median((random[right] - step) / exact[right])
    assert near[0] < 1.1
    assert near[0] < near[1] - 0.05


@pytest.mark.parametrize("family", OWN_PROGRAM)
def test_labels_alone_are_right_where_the_model_is(family):
    names = ("correct", "label_noise", "boundary")
    got = answers(family) if family == "ann" else asked(names, family)(X, Y)
    right, stays, far = (np.asarray(got[name])[:, 0] for name in names)
    assert ((stays >= 0) & (stays <= 1)).all()
    assert ((far >= 0) & (far <= 1)).all()
    np.testing.assert_array_equal(far[right == 0], 0)
    assert (far[right == 1] > 0).any()
    assert stays[right == 1].mean() > stays[right == 0].mean()


def test_rates_of_a_spiking_network_and_activations_of_its_twin():
    spiking, twin = answers("snn")["rates"], answers("ann")["rates"]
    assert spiking.shape == twin.shape == (N, 8)
    np.testing.assert_array_equal(spiking * 4, np.round(spiking * 4))  # counts in 4 steps
    assert spiking.min() == 0
    assert 0 < spiking.max() <= 1
    layers = MODELS["ann"][1]["params"]["layers"]
    first = {name: np.asarray(leaf) for name, leaf in layers[min(layers)].items()}
    np.testing.assert_allclose(twin, np.maximum(X @ first["kernel"] + first["bias"], 0), rtol=1e-5, atol=1e-6)


def test_a_network_that_does_not_tell_its_rates_is_named():
    with pytest.raises(ValueError, match="needs a network with hidden units"):
        answer(queries.rates, np.ones((D, 2)), X, Y)
