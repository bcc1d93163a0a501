"""Defences in training: mixup, weight decay and smoothing do what they say, and no more."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxsnn_mia.models import ModelSpec, QuantSpec
from jaxsnn_mia.training.augment import mixed
from jaxsnn_mia.training.gradients import MIXUP, cross_entropy
from jaxsnn_mia.training.optimizer import optimizer
from jaxsnn_mia.training.step import make_train
from tests.training.one_model import BATCH, DATA, B, C, D, X, Y, hypers, spec

LINEAR = ModelSpec("ann", (D,), C, hidden=())
MASK = np.array([1, 0, 1, 1, 0, 1, 1, 0], np.float32)
LOGITS = np.random.default_rng(1).normal(scale=4, size=(200, 10)).astype(np.float32)
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # quick to compile


@quick_jit
def mixed_batches(alpha):
    """What `mixed` makes of unit vectors in 2000 steps."""

    def of_step(i):
        key = jax.random.fold_in(jax.random.key(i), MIXUP)
        return mixed(key, x=jnp.eye(B), labels_b=jnp.arange(B), mask_b=jnp.array(MASK), alpha=alpha)

    return jax.vmap(of_step)(jnp.arange(2000))


@functools.cache
def drawn(alpha):
    """(partner of each row [2000, B], share [2000]) of batches of unit vectors under MASK, which show both."""
    x, partner, share = map(np.asarray, mixed_batches(jnp.float32(alpha)))
    s = share[:, None, None]
    np.testing.assert_allclose(x, s * np.eye(B) + (1 - s) * np.eye(B)[partner], atol=1e-6)
    return partner, share


def test_partners_are_the_rows_that_are_there_in_random_order():
    there = np.flatnonzero(MASK)
    partner, _ = drawn(1.0)
    assert (np.sort(partner[:, there], 1) == there).all()
    assert (partner[:, MASK == 0] == np.flatnonzero(MASK == 0)).all()  # nobody's partner, and mixed with nothing
    orders, counts = np.unique(partner[:, there], axis=0, return_counts=True)
    assert len(orders) == 120  # of five rows, all equally likely
    assert stats.chisquare(counts).pvalue > 1e-3
    assert (drawn(0.0)[1] == 1).all()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_shares_are_beta(alpha):
    share, variance = drawn(alpha)[1], 1 / (4 * (2 * alpha + 1))
    assert share.mean() == pytest.approx(0.5, abs=4 * (variance / len(share)) ** 0.5)
    assert share.var() == pytest.approx(variance, rel=0.1)
    assert stats.kstest(share, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


@functools.cache
def linear():
    """(one step of softmax regression with mixup, its state before)."""
    one = make_train(spec(LINEAR, mixup=True))
    return quick_jit(one.step), quick_jit(one.init)(jax.random.key(0), hypers(), None, DATA)


def layer(state):
    """Kernel and bias in float64."""
    leaves = {
        jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state.params["params"])
    }
    return [
        np.asarray(next(leaf for path, leaf in leaves.items() if name in path), np.float64)
        for name in ("kernel", "bias")
    ]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_step_of_mixup_equals_a_loop(smoothing):
    """Softmax regression, row after row in float64, with the same partners and share."""
    step, state = linear()
    kernel, bias = layer(state)
    for key, partner_b, share in zip(range(8), *drawn(1.0), strict=False):
        after, metrics = step(
            state, (BATCH[0], MASK), DATA, hypers(mixup=1.0, smoothing=smoothing), jax.random.key(key)
        )
        loss, correct, d_kernel, d_bias = 0.0, 0, np.zeros_like(kernel), np.zeros_like(bias)
        for i in np.flatnonzero(MASK):
            x = share * X[i].astype(np.float64) + (1 - share) * X[partner_b[i]]
            target = share * smooth(Y[i], smoothing) + (1 - share) * smooth(Y[partner_b[i]], smoothing)
            logits = x @ kernel + bias
            loss -= target @ special.log_softmax(logits)
            correct += logits.argmax() == (Y[i] if share >= 0.5 else Y[partner_b[i]])
            slope = (special.softmax(logits) - target) / MASK.sum()
            d_kernel, d_bias = d_kernel + np.outer(x, slope), d_bias + slope
        assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-5)
        assert float(metrics["correct"]) == correct
        assert float(metrics["count"]) == MASK.sum()
        for got, before, want in zip(layer(after), (kernel, bias), (d_kernel, d_bias), strict=True):
            np.testing.assert_allclose(before - got, want, rtol=1e-4, atol=1e-6)
    assert set(drawn(1.0)[1][:8] >= 0.5) == {True, False}


def smooth(label, smoothing):
    return (1 - smoothing) * np.eye(C)[label] + smoothing / C


def test_mixup_is_traced_and_off_at_zero():
    step, state = linear()
    off, on = (step(state, BATCH, DATA, hypers(mixup=alpha), jax.random.key(1))[0] for alpha in (0.0, 1.0))
    assert step._cache_size() == 1
    plain = quick_jit(make_train(spec(LINEAR)).step)(state, BATCH, DATA, hypers(), jax.random.key(1))[0]
    for a, b, c in zip(*map(layer, (off, plain, on)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
        assert np.abs(a - c).max() > 1e-2


def test_what_the_mask_leaves_out_is_mixed_into_nothing():
    step, state = linear()
    for key in range(5):
        one, other = (
            layer(step(state, (np.where(MASK > 0, np.arange(B), row), MASK), DATA, hypers(mixup=1.0),
                       jax.random.key(key))[0])
            for row in (20, 23)  # what stands in the rows that the mask leaves out
        )  # fmt: skip
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_mixup_is_refused_in_private_training():
    with pytest.raises(ValueError, match="`mixup` must be off in private training"):
        make_train(spec(mixup=True, private=True, capacity=B))


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_weight_decay_is_decoupled_and_spares_learned_step_sizes(name):
    """Of gradients of 0 and others: the step without decay, and lr x decay of the parameters on top."""
    params = {"kernel": jnp.array([2.0, -1.0]), "log_step": jnp.array([0.5, 3.0])}
    gradients = {"kernel": jnp.array([0.0, 4.0]), "log_step": jnp.array([0.0, 4.0])}

    @quick_jit
    def updates(decay):
        made = optimizer(dataclasses.replace(spec(), optimizer=name), hypers(lr=0.5, weight_decay=decay))
        return made.update(gradients, made.init(params), params)[0]

    plain, decayed = updates(0.0), updates(0.1)
    np.testing.assert_allclose(plain["kernel"][0], 0, atol=1e-7)
    np.testing.assert_allclose(decayed["kernel"], plain["kernel"] - 0.05 * params["kernel"], rtol=1e-5)
    np.testing.assert_array_equal(decayed["log_step"], plain["log_step"])


@pytest.mark.long
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_weight_decay_shrinks_by_its_rate_where_nothing_else_moves(optimizer):
    """All parameters but learned step sizes, by 1 - lr x decay."""
    model = ModelSpec("ann", (D,), C, hidden=(16,), quant=QuantSpec(("activation",), calibration="lsq"))
    one, hyper = (
        make_train(dataclasses.replace(spec(model), optimizer=optimizer)),
        hypers(lr=0.5, weight_decay=0.1),
    )
    before = quick_jit(one.init)(jax.random.key(0), hyper, None, DATA)
    before = before._replace(params=jax.tree.map(lambda leaf: leaf + 0.3, before.params))  # some start at 0
    after, _ = quick_jit(one.step)(before, (BATCH[0], np.zeros(B, np.float32)), DATA, hyper, jax.random.key(1))
    before, after, steps = before.params["params"], after.params["params"], 0
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True):
        kept = "log_step" in jax.tree_util.keystr(path)
        steps += kept
        np.testing.assert_allclose(b, a if kept else 0.95 * a, rtol=1e-6)
    assert 0 < steps < len(jax.tree.leaves(before))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothing_is_the_cross_entropy_against_smoothed_labels(smoothing):
    y = np.arange(len(LOGITS)) % 10
    target = (1 - smoothing) * np.eye(10)[y] + smoothing / 10
    want = -(target * special.log_softmax(LOGITS.astype(np.float64), 1)).sum(1)
    np.testing.assert_allclose(cross_entropy(LOGITS, y, smoothing), want, rtol=2e-6, atol=1e-6)
