from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from jaxsnn_mia.reconstruction import decoder
from jaxsnn_mia.reconstruction.decoder import Settings

KEY = jax.random.key(2)
LINEAR = Settings(hidden=(), steps=1500, batch=0, lr=0.05)


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


train = jax.jit(decoder.train, static_argnames="settings")


@pytest.mark.parametrize("keep", [1, 3, 6, None])
def test_features_are_those_of_a_slow_loop(keep):
    logits_bc = 30 * draw(0, 5, 6)
    expected = np.zeros((5, 6))
    for b, logp in enumerate(log_softmax(logits_bc.astype(np.float64), axis=1)):
        for c in sorted(range(6), key=lambda c, logp=logp: -logp[c])[: keep or 6]:
            expected[b, c] = max(logp[c], -25.0) + 25.0
    assert (expected == 0).any()  # some lie below the floor or are left out
    np.testing.assert_allclose(decoder.features(logits_bc, keep), expected, atol=1e-4)
    np.testing.assert_allclose(decoder.features(logits_bc[2], keep), expected[2], atol=1e-4)
    shifted = decoder.features(logits_bc + 7, keep, floor=-10.0)
    np.testing.assert_allclose(shifted, np.maximum(expected - 15, 0), atol=1e-4)


def test_of_equal_logits_exactly_as_many_are_kept():
    np.testing.assert_allclose(
        decoder.features(jnp.zeros((2, 4)), 2), np.tile(25 - np.log([4, 4, 1, 1]), (2, 1)) * [1, 1, 0, 0], rtol=1e-6
    )


def test_a_linear_decoder_is_least_squares():
    features_zc = draw(1, 200, 5) * np.array([1, 10, 0.1, 3, 1], np.float32) + 4
    x_zd = features_zc @ draw(2, 5, 3) + draw(3, 200, 3) + 7
    new_bc = draw(4, 20, 5) + 4
    params = train(KEY, features_zc, x_zd, LINEAR)
    with_one = np.c_[features_zc, np.ones(200)].astype(np.float64)
    solution = np.linalg.lstsq(with_one, x_zd.astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(decoder.decode(params, new_bc), np.c_[new_bc, np.ones(20)] @ solution, atol=1e-3)


def test_with_minibatches_it_comes_near_least_squares():
    features_zc = draw(1, 500, 4)
    x_zd = features_zc @ draw(2, 4, 3) + 0.1 * draw(3, 500, 3)
    params = train(KEY, features_zc, x_zd, Settings(hidden=(), steps=1500, batch=32, lr=0.02))
    solution = np.linalg.lstsq(np.c_[features_zc, np.ones(500)], x_zd, rcond=None)[0]
    found = decoder.decode(params, features_zc)
    assert np.abs(found - np.c_[features_zc, np.ones(500)] @ solution).max() < 0.05
    once = train(KEY, features_zc, x_zd, Settings(hidden=(), steps=1500, batch=0, lr=0.02))
    assert float(jnp.abs(once.layers[0][0] - params.layers[0][0]).max()) > 1e-4  # batches were drawn


@pytest.mark.long
def test_alone_is_the_same_as_beside_other_models():
    features_szc, x_zd = draw(5, 3, 100, 4), draw(6, 100, 6)
    keys, rates = jax.random.split(KEY, 3), jnp.array([1e-3, 1e-2, 3e-3])

    def one(key, features_zc, lr):
        params = decoder.train(key, features_zc, x_zd, Settings(hidden=(8,), steps=30, batch=16, lr=lr))
        return decoder.decode(params, features_zc)

    x_szd = jax.jit(jax.vmap(one))(keys, features_szc, rates)
    np.testing.assert_allclose(x_szd[1], jax.jit(one)(keys[1], features_szc[1], rates[1]), atol=2e-5)
    assert float(jnp.abs(x_szd[1] - x_szd[0]).max()) > 1e-3


@pytest.mark.long
def test_confidences_that_know_nothing_decode_to_the_mean():
    x_zd = 3 + draw(7, 400, 3)
    same_zc = decoder.features(jnp.tile(jnp.array([[2.0, 1.0, -1.0]]), (400, 1)))
    params = train(KEY, same_zc, x_zd, Settings(hidden=(8,), steps=200, batch=0, lr=0.01))
    np.testing.assert_allclose(decoder.decode(params, same_zc[:4]), np.tile(x_zd.mean(0), (4, 1)), atol=1e-3)
    # at random: no further from the mean than least squares on 5 features of noise, deviation sqrt(5 / 400) each
    params = train(KEY, draw(8, 400, 5), x_zd, LINEAR)
    away = np.asarray(decoder.decode(params, draw(9, 1000, 5))) - x_zd.mean(0)
    assert 0 < np.sqrt((away**2).mean()) < 2 * np.sqrt(5 / 400)


def answers(x_zd, keep=None):
    """Of a model whose logits are its input, the last one 0: nothing but x is in its confidences."""
    return decoder.features(jnp.pad(x_zd, ((0, 0), (0, 1))), keep, floor=-12.0)


@pytest.mark.long
def test_a_model_that_outputs_its_input_is_inverted_and_truncation_hides():
    x_zd, new_bd = draw(10, 1000, 5), draw(11, 200, 5)
    settings = Settings(hidden=(64,), steps=1500, batch=100, lr=3e-3)

    def error(keep, settings):
        params = train(KEY, answers(x_zd, keep), x_zd, settings)
        return float(((decoder.decode(params, answers(new_bd, keep)) - new_bd) ** 2).mean())

    assert error(None, LINEAR) < 1e-6  # x_i = log p_i - log p_last
    whole, four, two = (error(keep, settings) for keep in (None, 4, 2))
    assert whole < 0.01
    assert 10 * whole < four < 0.7 * two < 0.7  # the mean alone has 1


def test_layers_are_affine_with_relu_between():
    (a, b), (c, d), (e, f) = layers = [(draw(i, 4, 4), draw(10 + i, 4)) for i in range(3)]
    x = draw(20, 6, 4)
    expected = np.maximum(np.maximum(x @ a + b, 0) @ c + d, 0) @ e + f
    np.testing.assert_allclose(decoder.forward(layers, jnp.asarray(x)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_hidden_layers_undo_what_is_not_linear():
    features_zc = draw(15, 1000, 2)
    x_zd = jnp.abs(features_zc)
    for hidden, least, most in (((), 0.3, 0.5), ((32, 16), 0.0, 0.01)):  # the variance of |normal| is .36
        params = train(KEY, features_zc, x_zd, Settings(hidden=hidden, steps=500, batch=0, lr=0.01))
        assert least < float(((decoder.decode(params, features_zc) - x_zd) ** 2).mean()) < most


def test_one_scale_of_all_outputs_keeps_the_error_of_x():
    features_zc = draw(12, 100, 3)
    x_zd = np.c_[100 * draw(13, 100), 0.01 * draw(14, 100), np.full(100, 2.0, np.float32)]
    params = train(KEY, features_zc, x_zd, LINEAR._replace(steps=1))
    np.testing.assert_allclose(params.scale, np.sqrt(((x_zd - x_zd.mean(0)) ** 2).mean()), rtol=1e-5)
    np.testing.assert_allclose(params.centre_c, features_zc.mean(0), atol=1e-6)
    np.testing.assert_allclose(params.scale_c, features_zc.std(0), rtol=1e-5)
    still = train(KEY, features_zc, np.full((100, 2), 5.0, np.float32), LINEAR._replace(steps=50))
    np.testing.assert_allclose(decoder.decode(still, features_zc), 5.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(decoder.features, np.zeros((2, 3)), 0), r"`keep` must be in \[1, 3\]"),
        (partial(decoder.features, np.zeros((2, 3)), 4), "or None, got 4"),
        (partial(decoder.train, KEY, draw(0, 4, 2), draw(0, 5, 2), LINEAR), "Flatten the inputs"),
        (partial(decoder.train, KEY, draw(0, 4, 2), draw(0, 4, 2, 1), LINEAR), "Flatten the inputs"),
        (partial(decoder.train, KEY, draw(0, 4, 2), draw(0, 4, 2), Settings(steps=0)), "`steps` must be at least 1"),
        (partial(decoder.train, KEY, draw(0, 4, 2), draw(0, 4, 2), Settings(batch=-1)), "`batch` must be at least 0"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
