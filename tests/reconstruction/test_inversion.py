from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from scipy.special import log_softmax, softmax

from jaxsnn_mia import models
from jaxsnn_mia.models import Hyper, ModelSpec
from jaxsnn_mia.reconstruction import inversion
from jaxsnn_mia.reconstruction.inversion import Ascent, invert, invert_spikes
from tests.reconstruction.loops import mean_filter_by_loops, tv_by_loops

KEY = jax.random.key(3)
RNG = np.random.default_rng(0)
W, BIAS = RNG.normal(size=(4, 12)).astype(np.float32), RNG.normal(size=4).astype(np.float32)
LABELS = np.arange(8) % 4
START = RNG.normal(size=(8, 12)).astype(np.float32)
IMAGE = (3, 2, 2)


def linear(x_rd, key, w=W, bias=BIAS):
    return x_rd @ w.T + bias[None]


def logp_of(x_rd):
    """log softmax of the label, in float64."""
    z_rc = np.asarray(x_rd, np.float64) @ W.T.astype(np.float64) + BIAS
    return log_softmax(z_rc, axis=1)[np.arange(len(z_rc)), LABELS]


def adam_by_loops(gradient_of, x, steps, lr):
    """Kingma and Ba 2015, algorithm 1, with a rate that falls by a cosine; ascent in float64."""
    m, v = np.zeros_like(x), np.zeros_like(x)
    for i in range(steps):
        g = gradient_of(x)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        unbiased = m / (1 - 0.9 ** (i + 1)), v / (1 - 0.999 ** (i + 1))
        x = x + lr * 0.5 * (1 + np.cos(np.pi * i / steps)) * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    return x


@pytest.mark.parametrize("l2", [0.3, 2.0])
def test_with_a_linear_model_and_a_prior_it_ends_at_the_fixed_point(l2):
    x_rd, score_r = invert(linear, START, LABELS, Ascent(steps=1500, lr=0.1, l2=l2), KEY)
    w, bias = W.astype(np.float64), BIAS.astype(np.float64)
    for x, score, label in zip(np.asarray(x_rd), score_r, LABELS, strict=True):
        e = np.eye(4)[label]
        root = scipy.optimize.root(lambda x, e=e: x - w.T @ (e - softmax(w @ x + bias)) / l2, x, tol=1e-13)
        assert root.success
        np.testing.assert_allclose(x, root.x, atol=1e-5)
        np.testing.assert_allclose(score, log_softmax(w @ x + bias)[label] - l2 / 2 * x @ x, rtol=1e-5)


def test_the_steps_are_those_of_adam_each_with_draws_of_its_own():
    w, l2 = W.astype(np.float64), 0.4
    e_rc = np.eye(4)[LABELS]
    normal = jax.jit(lambda key: jax.random.normal(key, (8, 12)))
    noise = iter([np.asarray(normal(jax.random.fold_in(KEY, i))) for i in range(12)])

    def gradient(x):
        return (e_rc - softmax((x + next(noise)) @ w.T + BIAS, axis=1)) @ w - l2 * x

    def logits_of(x_rd, key):
        return linear(x_rd + normal(key), key)

    x_rd, score_r = invert(logits_of, START, LABELS, Ascent(steps=12, lr=0.07, l2=l2), KEY)
    np.testing.assert_allclose(x_rd, adam_by_loops(gradient, START.astype(np.float64), 12, 0.07), atol=1e-5)
    last = logp_of(x_rd + normal(KEY))
    np.testing.assert_allclose(score_r, last - l2 / 2 * (np.asarray(x_rd) ** 2).sum(1), rtol=1e-5)


def test_total_variation_and_the_filter_act_in_the_ascent():
    x_rd, score_r = invert(linear, START, LABELS, Ascent(steps=60, tv=2.0, l2=0.1), KEY, image=IMAGE)
    logp = logp_of(x_rd)
    tv = np.array([tv_by_loops(x, IMAGE) for x in np.asarray(x_rd)])
    np.testing.assert_allclose(score_r, logp - 0.05 * (np.asarray(x_rd) ** 2).sum(1) - 2.0 * tv, rtol=1e-5)
    plain_rd, _ = invert(linear, START, LABELS, Ascent(steps=60, l2=0.1), KEY, image=IMAGE)
    assert (tv < [tv_by_loops(x, IMAGE) for x in np.asarray(plain_rd)]).all()
    # without a step of Adam, six steps with a filter every third are two filters
    x_rd, _ = invert(linear, START, LABELS, Ascent(steps=7, lr=0.0, process_every=3), KEY, image=IMAGE)
    twice = [mean_filter_by_loops(mean_filter_by_loops(x, IMAGE), IMAGE) for x in START]
    np.testing.assert_allclose(x_rd, twice, atol=1e-6)


def test_the_box_holds_and_its_corner_is_found():
    w = np.stack([W[0], -W[0]])  # of two classes, the confidence rises along the weights alone
    labels = LABELS % 2
    settings = Ascent(steps=300, lr=0.1, low=-0.5, high=0.25)
    x_rd, _ = invert(partial(linear, w=w, bias=BIAS[:2]), START, labels, settings, KEY)
    np.testing.assert_array_equal(x_rd, np.where(w[labels] > 0, np.float32(0.25), np.float32(-0.5)))
    x_rd, _ = invert(linear, START, LABELS, settings._replace(steps=1, high=None), KEY)
    assert float(x_rd.min()) == -0.5
    assert float(x_rd.max()) > 0.25


STEPS, FEATURES = 5, 40  # so many that random inputs do not find every pattern of spikes


def spiking(**changes):
    """(x, key) -> logits of a spiking network with random weights; x is [B, FEATURES], or [T, B, FEATURES] if timed."""
    spec = {"in_shape": (FEATURES,), "hidden": (32,), "time_steps": STEPS, **changes}
    spec = ModelSpec(family="snn", n_classes=3, **spec)
    model = models.build(spec)
    params = model.init(KEY)

    def logits_of(x, key):
        x = jnp.moveaxis(x, 0, 1) if spec.timed else x
        return model.apply(params, x, Hyper(threshold=0.3), key, train=False).logits_bc

    return jax.jit(logits_of)


@pytest.mark.long
def test_alone_is_the_same_as_beside_other_models_settings_and_restarts():
    w1_s, w2_s = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(3, 12, 16), (3, 16, 4)]))
    l2_s = jnp.array([0.1, 0.5, 1.0])

    def one(weights, l2, key, start_rd=START, labels_r=LABELS):
        def logits_of(x_rd, key):
            return jnp.tanh(x_rd @ weights[0] + jax.random.normal(key, (1, 16))) @ weights[1]

        settings = Ascent(steps=40, l2=l2, tv=l2 / 10, low=-1.0, high=1.0, process_every=15)
        return invert(logits_of, start_rd, labels_r, settings, key, image=IMAGE)

    keys = jax.random.split(jax.random.key(1), 3)
    x_srd, score_sr = jax.jit(jax.vmap(one))((w1_s, w2_s), l2_s, keys)
    alone = w1_s[1], w2_s[1]
    x_rd, score_r = one(alone, l2_s[1], keys[1])  # and without jit
    np.testing.assert_allclose(x_srd[1], x_rd, atol=2e-5)
    np.testing.assert_allclose(score_sr[1], score_r, atol=2e-5)
    x_rd, score_r = jax.jit(one)(alone, l2_s[1], keys[1], START[3:4], LABELS[3:4])
    np.testing.assert_allclose(x_srd[1, 3:4], x_rd, atol=2e-5)
    np.testing.assert_allclose(score_sr[1, 3:4], score_r, atol=2e-5)


@pytest.mark.long
def test_a_spiking_network_is_inverted_beyond_any_of_many_random_inputs():
    logits_of = spiking()
    random = jax.random.uniform(jax.random.key(1), (1000, FEATURES), minval=-1.0, maxval=1.0)
    logp_rc = jax.nn.log_softmax(logits_of(random, KEY))
    labels = jnp.repeat(jnp.arange(3), 20)
    settings = Ascent(steps=200, low=-1.0, high=1.0)
    x_rd, score_r = jax.jit(partial(invert, logits_of, settings=settings))(random[:60], labels, key=KEY)
    best_td, score_t = inversion.best(x_rd, score_r, 3)
    assert (score_t > logp_rc.max(0)).all(), (score_t, logp_rc.max(0))
    assert float(jnp.abs(best_td).max()) <= 1
    np.testing.assert_allclose(jnp.diagonal(jax.nn.log_softmax(logits_of(best_td, KEY))), score_t, atol=1e-5)


@pytest.mark.long
def test_the_spike_train_of_a_spiking_network_is_found():
    logits_of = spiking(timed=True, in_shape=(STEPS, FEATURES))
    random = jax.random.normal(jax.random.key(1), (STEPS, 1000, FEATURES))
    logp_rc = jax.nn.log_softmax(logits_of((random > 0).astype(jnp.float32), KEY))
    labels = jnp.repeat(jnp.arange(3), 20)
    settings = Ascent(steps=200, low=-2.0, high=2.0)
    search = jax.jit(partial(invert_spikes, logits_of, settings=settings))
    rates_rd, spikes_trd, score_r = search(random[:, :60], labels, key=KEY)
    _, score_t = inversion.best(rates_rd, score_r, 3)
    assert (score_t > logp_rc.max(0)).all(), (score_t, logp_rc.max(0))
    assert set(np.unique(spikes_trd)) == {0.0, 1.0}
    np.testing.assert_allclose(rates_rd, np.asarray(spikes_trd).mean(0), rtol=1e-6)
    logp_rc = jax.nn.log_softmax(logits_of(spikes_trd, KEY))
    np.testing.assert_allclose(jnp.take_along_axis(logp_rc, labels[:, None], 1)[:, 0], score_r, atol=1e-5)


def test_spikes_move_by_the_surrogate_gradient():
    steps, slope, l2 = 3, 2.5, 0.6
    w, e_rc = W.astype(np.float64), np.eye(4)[LABELS]
    start = np.random.default_rng(5).normal(size=(steps, 8, 12)).astype(np.float32)

    def gradient(u):
        rates = (u > 0).mean(0)
        by_rate = (e_rc - softmax(rates @ w.T + BIAS, axis=1)) @ w - l2 * rates
        s = 1 / (1 + np.exp(-slope * u))
        return by_rate[None] / steps * slope * s * (1 - s)

    def logits_of(spikes_trd, key):
        return linear(spikes_trd.mean(0), key)

    settings = Ascent(steps=25, lr=0.1, l2=l2)
    rates_rd, spikes_trd, score_r = invert_spikes(logits_of, start, LABELS, settings, KEY, slope=slope)
    u = adam_by_loops(gradient, start.astype(np.float64), 25, 0.1)
    assert np.abs(u).min() > 1e-4  # no spike hangs on the last bit
    np.testing.assert_array_equal(spikes_trd, u > 0)
    assert (np.asarray(spikes_trd) != (start > 0)).any()
    logp = logp_of(rates_rd)
    np.testing.assert_allclose(score_r, logp - l2 / 2 * (np.asarray(rates_rd) ** 2).sum(1), rtol=1e-5)


@pytest.mark.long
def test_the_gradient_through_rate_coding_is_the_one_at_the_spikes():
    w_td = jnp.asarray(np.random.default_rng(1).normal(size=(7, 4, 12)), jnp.float32)

    def logits_of_spikes(spikes_trd, key):
        return jnp.einsum("trd,tcd->rc", spikes_trd, w_td) ** 3

    x_rd = np.random.default_rng(2).random((8, 12), np.float32)
    x_rd[0, :2] = 0, 1
    x_rd = jnp.asarray(x_rd)
    coded = jax.jit(inversion.through_rate(logits_of_spikes, 7))
    spikes = inversion.through_rate(lambda spikes_trd, key: spikes_trd, 7)(x_rd, KEY)
    logits = coded(x_rd, KEY)
    assert spikes.shape == (7, 8, 12)
    assert set(np.unique(spikes)) == {0.0, 1.0}
    np.testing.assert_array_equal(spikes[:, 0, :2], np.tile([0.0, 1.0], (7, 1)))
    np.testing.assert_allclose(logits, logits_of_spikes(spikes, KEY), rtol=1e-5, atol=1e-5)
    gradient_rd = jax.jit(jax.grad(lambda x: jnp.tanh(coded(x, KEY) / 100).sum()))(x_rd)
    at_spikes_trd = jax.jit(jax.grad(lambda s: jnp.tanh(logits_of_spikes(s, KEY) / 100).sum()))(spikes)
    assert float(jnp.abs(gradient_rd).max()) > 0.01
    np.testing.assert_allclose(gradient_rd, at_spikes_trd.sum(0), rtol=1e-4, atol=1e-6)
    # a row does not see the others, another key draws anew
    np.testing.assert_allclose(coded(x_rd[5:6], KEY), logits[5:6], rtol=1e-5)
    assert float(jnp.abs(coded(x_rd, jax.random.key(9)) - logits).max()) > 0.1


def test_rate_coding_spikes_with_probability_x():
    x_rd = jnp.array([[0.0, 0.2, 0.7, 1.0, 1.3, -0.2]])
    rates = inversion.through_rate(lambda spikes_trd, key: spikes_trd.mean(0), 20000)(x_rd, KEY)
    np.testing.assert_allclose(rates, [[0.0, 0.2, 0.7, 1.0, 1.0, 0.0]], atol=5 * 0.5 / np.sqrt(20000))
    assert rates[0, 0] == rates[0, 5] == 0
    assert rates[0, 3] == rates[0, 4] == 1


@pytest.mark.long
def test_a_network_on_rates_is_inverted_through_its_events():
    rate, timed = spiking(encoding="rate"), spiking(timed=True, in_shape=(STEPS, FEATURES))
    logits_of = inversion.through_rate(timed, STEPS)
    certain_rd = jax.random.bernoulli(KEY, 0.5, (2, FEATURES)).astype(jnp.float32)  # draws of probability 0 and 1
    np.testing.assert_allclose(logits_of(certain_rd, KEY), rate(certain_rd, KEY), rtol=1e-5)

    labels, start = jnp.repeat(jnp.arange(3), 4), jnp.full((12, FEATURES), 0.5)
    run = jax.jit(partial(invert, logits_of, settings=Ascent(steps=100, low=0.0, high=1.0)))
    x_rd, _ = run(start, labels, key=KEY)

    @jax.jit
    def confidence(x_rd):  # under draws of its own
        keys = jax.random.split(jax.random.key(8), 50)
        return jax.lax.map(lambda key: inversion.log_confidence(rate(x_rd, key), labels), keys).mean(0)

    assert (confidence(x_rd) > confidence(start) + 0.1).all()


def test_the_best_restart_of_each_target_is_kept():
    x_rd = jnp.arange(12.0).reshape(6, 2)
    score_r = jnp.array([1.0, 3.0, 2.0, jnp.nan, -5.0, -jnp.inf])
    x_td, score_t = inversion.best(x_rd, score_r, 2)
    np.testing.assert_array_equal(x_td, [[2.0, 3.0], [8.0, 9.0]])
    np.testing.assert_array_equal(score_t, [3.0, -5.0])
    with pytest.raises(ValueError, match="must divide the number of rows, got 4 for 6"):
        inversion.best(x_rd, score_r, 4)


@pytest.mark.parametrize(
    ("changes", "image", "labels", "message"),
    [
        ({"tv": 0.1}, None, LABELS, "image shape missing"),
        ({"tv": jnp.float32(0.0)}, None, LABELS, "image shape missing"),
        ({"process_every": 2}, None, LABELS, "image shape missing"),
        ({"tv": 0.1}, (2, 2, 2), LABELS, "channels\\) of 12 features, got \\(2, 2, 2\\)"),
        ({"steps": 0}, None, LABELS, "`steps` must be an int of at least 1, got 0"),
        ({"process_every": -1}, None, LABELS, "`process_every` must be an int of at least 0, got -1"),
        ({}, None, LABELS[:3], "one label a row"),
    ],
)
def test_what_does_not_fit_is_refused(changes, image, labels, message):
    with pytest.raises(ValueError, match=message):
        invert(linear, START, labels, Ascent(**changes), KEY, image=image)
    with pytest.raises(ValueError, match=message):
        invert_spikes(linear, np.stack([START] * 2), labels, Ascent(**changes), KEY, image=image)


def test_only_encodings_with_a_gradient_are_climbed():
    for encoding in inversion.DIFFERENTIABLE:
        inversion.check_differentiable(encoding)
    with pytest.raises(ValueError, match=r"got 'latency': a spike's time has no gradient .* train a decoder"):
        inversion.check_differentiable("latency")
    with pytest.raises(ValueError, match="got 'phase'"):
        inversion.check_differentiable("phase")
    with pytest.raises(ValueError, match="`T` must be an int"):
        inversion.through_rate(linear, 0)
    with pytest.raises(ValueError, match="must be floating"):
        invert(linear, np.zeros((8, 12), int), LABELS, Ascent(), KEY)
