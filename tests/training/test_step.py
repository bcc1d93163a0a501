"""Options of one training step: precision, dropout, private gradients, cutout."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxsnn_mia.models import ModelSpec, QuantSpec
from jaxsnn_mia.models.coding import ENCODE
from jaxsnn_mia.models.heads import DROPOUT
from jaxsnn_mia.models.quantized import dropped
from jaxsnn_mia.privacy import dp_sgd
from jaxsnn_mia.training import step as train
from jaxsnn_mia.training.augment import augmented
from jaxsnn_mia.training.gradients import EXAMPLES, MIXUP, NOISE
from jaxsnn_mia.training.step import AUGMENT, make_train
from tests.training.one_model import BATCH, DATA, SNN, B, C, N, X, Y, hypers, norm, spec, update

IMAGES = ModelSpec("ann", (8, 8, 3), C, hidden=(), architecture="resnet8")


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(SNN, marks=pytest.mark.long),
        dataclasses.replace(SNN, family="ann"),
        pytest.param(IMAGES, marks=pytest.mark.long),
    ],
)
def test_bfloat16_computes_in_it_and_keeps_float32(model):
    narrow = dataclasses.replace(model, quant=QuantSpec(compute="bfloat16"))
    data = (np.random.default_rng(0).normal(size=(N, *model.in_shape)).astype(np.float32), Y)
    full, half = (
        update(spec(m, precision=p), hypers(), data=data) for m, p in ((model, "float32"), (narrow, "bfloat16"))
    )
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(half))
    difference = norm(jax.tree.map(jnp.subtract, full, half)) / norm(full)
    assert 1e-6 < difference < (0.1 if model.family == "ann" else 0.5)  # spikes amplify the last bit
    one = make_train(spec(narrow, precision="bfloat16"))
    state = one.init(jax.random.key(0), hypers(), (np.arange(N), np.ones(N, np.float32)), data)
    graph = str(jax.make_jaxpr(one.step)(state, BATCH, data, hypers(), jax.random.key(0)))
    assert "bf16" in graph
    out = one.apply(state.params, None, data[0], hypers(), jax.random.key(0))
    assert out.logits_bc.dtype == jnp.float32
    assert out.logits_tbc is None or out.logits_tbc.dtype == jnp.float32


@pytest.mark.parametrize(("precision", "named"), [("float32", "HIGHEST"), ("tf32", "HIGH,")])
def test_products_of_float32_say_their_precision(precision, named):
    """What an accelerator would otherwise choose is less than float32."""
    one = make_train(spec(precision=precision))
    state = one.init(jax.random.key(0), hypers(), (np.arange(N), np.ones(N, np.float32)), DATA)
    lowered = jax.jit(one.step).lower(state, BATCH, DATA, hypers(), jax.random.key(0)).as_text()
    products = [line for line in lowered.splitlines() if "dot_general" in line]
    assert len(products) >= 5
    assert all(named in line for line in products)


@pytest.mark.parametrize("family", ["ann", "snn"])
def test_dropout_leaves_out_its_share_in_training_alone(family):
    units = jnp.ones((4, 500, 200))
    out = np.asarray(dropped(units, jnp.float32(0.3), jax.random.key(0)))
    assert (out == out[0]).all()  # the same at every time step
    assert (out == 0).mean() == pytest.approx(0.3, abs=0.005)
    assert out.mean() == pytest.approx(1.0, abs=0.01)

    plain = dataclasses.replace(SNN, family=family)
    with_dropout = dataclasses.replace(plain, dropout=True)
    none, off, on, again = (
        update(spec(model), hypers(dropout=rate), key=key)
        for model, rate, key in ((plain, 0, 1), (with_dropout, 0, 1), (with_dropout, 0.5, 1), (with_dropout, 0.5, 2))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), none, off)
    assert norm(jax.tree.map(jnp.subtract, on, none)) > 0.01
    assert norm(jax.tree.map(jnp.subtract, on, again)) > 0.01  # another key, other units
    one = make_train(spec(with_dropout))
    state = one.init(jax.random.key(0), hypers(), None, DATA)
    logits = [one.apply(state.params, None, X, hypers(dropout=r), jax.random.key(0)).logits_bc for r in (0.0, 0.9)]
    np.testing.assert_array_equal(*logits)


def test_private_gradients_that_are_neither_clipped_nor_noisy_are_plain_ones():
    mask = (np.arange(B), (np.arange(B) < 5).astype(np.float32))
    plain, private = (update(spec(private=p), hypers(dp_clip=1e6), batch=mask) for p in (False, True))
    # a private mean divides by the size that a batch has on average, which says nothing of the rows
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a * 5 / B, b, atol=1e-6), plain, private)


def test_no_example_moves_a_private_step_by_more_than_the_clip():
    clip = 0.05
    whole = update(spec(private=True), hypers(dp_clip=clip))
    assert norm(whole) <= clip * (1 + 1e-5)
    for i in range(B):
        without = update(
            spec(private=True), hypers(dp_clip=clip), batch=(BATCH[0], 1.0 - np.eye(B, dtype=np.float32)[i])
        )
        moved = norm(jax.tree.map(jnp.subtract, whole, without))
        assert 0.9 * clip / B < moved <= clip / B * (1 + 1e-4)


def test_noise_on_private_gradients_has_its_deviation():
    clean, noisy = (update(spec(private=True), hypers(dp_clip=0.1, dp_noise=noise)) for noise in (0.0, 3.0))
    added = np.concatenate([np.ravel(a - b) for a, b in zip(*map(jax.tree.leaves, (noisy, clean)), strict=True)])
    assert len(added) > 100
    assert added.std() * B == pytest.approx(0.3, rel=0.15)
    assert abs(added.mean()) * B < 0.3 * 4 / len(added) ** 0.5


ANN = dataclasses.replace(SNN, family="ann")


@pytest.mark.long
def test_a_private_step_divides_by_the_expected_size_whatever_the_padding():
    """Half of the batch, and the same rows in one that is padded to twice the length."""
    half = (np.arange(B), (np.arange(B) < 4).astype(np.float32))
    longer = (np.r_[np.arange(B), np.zeros(B, int)], np.r_[half[1], np.zeros(B, np.float32)])
    four = (np.arange(4), np.ones(4, np.float32))
    results = [update(spec(ANN, private=True), hypers(dp_clip=0.1), batch=batch) for batch in (half, longer, four)]
    one_by_one = [
        update(spec(ANN, private=True), hypers(dp_clip=0.1), batch=(np.array([i]), np.ones(1, np.float32)))
        for i in range(4)
    ]
    results.append(jax.tree.map(lambda *leaves: sum(leaves), *one_by_one))
    for other in results[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), results[0], other)
    # all four are clipped, and the sum is over the average size
    assert all(norm(each) == pytest.approx(0.1 / B, rel=1e-4) for each in one_by_one)


def test_a_private_step_of_no_row_is_a_step_of_noise():
    empty = (BATCH[0], np.zeros(B, np.float32))
    moved = update(spec(ANN, private=True, ragged=True), hypers(dp_clip=0.1, dp_noise=1.0), batch=empty)
    values = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(moved)])
    assert values.std() * B == pytest.approx(0.1, rel=0.25)
    assert norm(update(spec(ANN, private=True), hypers(dp_clip=0.1), batch=empty)) == 0


def test_a_gradient_that_is_not_finite_counts_as_none():
    broken = X.copy()
    broken[2] = np.inf
    without = (BATCH[0], (np.arange(B) != 2).astype(np.float32))
    private = (spec(ANN, private=True), hypers(dp_clip=0.1))
    jax.tree.map(
        np.testing.assert_array_equal,
        update(*private, data=(broken, Y)),
        update(*private, batch=without, data=(broken, Y)),
    )
    assert np.isfinite(norm(update(*private, data=(broken, Y))))


def test_each_example_of_a_private_batch_draws_its_own_dropout():
    same = (np.zeros(B, int), np.ones(B, np.float32))
    dropout = spec(dataclasses.replace(ANN, dropout=True), private=True)
    alone = [
        update(dropout, hypers(dp_clip=1e6, dropout=0.5), batch=(same[0], np.eye(B, dtype=np.float32)[i]))
        for i in range(4)
    ]
    for i in range(3):
        assert norm(jax.tree.map(jnp.subtract, alone[i], alone[i + 1])) > 0.01 * norm(alone[i])


def test_private_noise_is_normal_beyond_the_reach_of_one_float32_draw(monkeypatch):
    drawn = np.asarray(dp_sgd.gaussian(jax.random.key(0), (1000, 500), jnp.float32), np.float64)
    assert stats.kstest(drawn.ravel()[:100_000], "norm").pvalue > 1e-3
    assert drawn.var() == pytest.approx(1, abs=0.01)
    assert stats.kurtosis(drawn.ravel()) == pytest.approx(0, abs=0.04)
    largest = jax.random.normal(jax.random.key(0), (1 << 20,)).max()
    assert largest < 5.5
    monkeypatch.setattr(jax.random, "normal", lambda key, shape, dtype: jnp.full(shape, 5.2, dtype))
    assert float(dp_sgd.gaussian(jax.random.key(0), (), jnp.float32)) == pytest.approx(10.4)


def test_cutout_fills_a_square():
    images = jnp.full((64, 32, 32, 3), 200, jnp.uint8)
    out = np.asarray(augmented("crop_flip_cutout", jax.random.key(0), images, (7.0, 8.0, 9.0)))
    assert out.dtype == np.uint8
    filled = (out == np.array([7, 8, 9])).all(-1)
    area = filled.sum((1, 2))
    assert area.max() == 64
    assert (area >= 16).all()  # a corner of the square at least
    assert len(np.unique(filled.argmax(2).max(1))) > 10
    left = out[~filled]
    assert set(np.unique(left)) <= {0, 200}  # 0: the border of a crop


def test_accuracy_counts_every_row_once_in_blocks(monkeypatch):
    one = make_train(spec())
    state = one.init(jax.random.key(0), hypers(), None, DATA)
    whole = float(one.accuracy(state, X, Y, hypers(), jax.random.key(0)))
    monkeypatch.setattr(train, "ROWS_AT_ONCE", 7)  # 24 rows: the last block is short
    in_blocks = float(jax.jit(one.accuracy)(state, X, jnp.asarray(Y), hypers(), jax.random.key(0)))
    assert in_blocks == pytest.approx(whole)
    assert 0 < whole < 1


def test_what_is_folded_into_a_key_is_told_apart():
    """Layers count from 0, so that everything else lies beyond any network's depth, and apart from each other."""
    purposes = [DROPOUT, ENCODE, MIXUP, AUGMENT]
    assert min(purposes) >= 1000
    assert min(np.diff(sorted(purposes))) >= 1000
    assert len({AUGMENT, NOISE, EXAMPLES}) == 3


@pytest.mark.long
def test_calibration_sees_the_network_without_dropout():
    quant = QuantSpec(parts=("activation",))
    model = dataclasses.replace(SNN, family="ann", hidden=(16, 16), dropout=True, quant=quant)
    one = make_train(spec(model))
    rows = (np.arange(N), np.ones(N, np.float32))
    state, _ = one.step(one.init(jax.random.key(0), hypers(), rows, DATA), BATCH, DATA, hypers(), jax.random.key(1))
    batches = (np.arange(N).reshape(3, B), np.ones((3, B), np.float32))
    with_, without = (
        one.calibrate(state, batches, (jnp.asarray(X), jnp.asarray(Y)), hypers(dropout=rate), jax.random.key(2)).params[
            "statistics"
        ]
        for rate in (0.5, 0.0)
    )
    jax.tree.map(np.testing.assert_array_equal, with_, without)
    assert float(with_["activations"][1]["range"]) > 0
