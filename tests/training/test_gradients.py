"""Gradients of one batch: of the rows that its mask counts, and private ones."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.training import gradients
from jaxsnn_mia.training.gradients import Batch
from jaxsnn_mia.training.spec import State
from tests.training.one_model import ANN, BATCH, LINEAR, SNN, B, C, D, X, Y, difference, hypers, norm, spec, update

LONG = pytest.mark.long
# dropout at rate 0 changes nothing, and a private step has its noise where it has no row: one program for all
PRIVATE = spec(dataclasses.replace(ANN, dropout=True), private=True, ragged=True)
SPIKING = dataclasses.replace(PRIVATE, model=dataclasses.replace(SNN, dropout=True))
PLAIN = jax.jit(functools.partial(gradients.plain, LINEAR, spec()))


@pytest.fixture(
    params=[(PRIVATE, LINEAR), pytest.param((PRIVATE, None), marks=LONG), pytest.param((SPIKING, None), marks=LONG)],
    ids=["linear", "ann", "snn"],
)
def private(request):
    """update(hyper, ...) of a private step of softmax regression, or of a network."""
    of, model = request.param
    return functools.partial(update, of, model=model)


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_a_plain_gradient_is_that_of_softmax_regression(smoothing):
    """X' (softmax - smoothed labels) / n over the rows that the mask counts."""
    w = np.random.default_rng(1).normal(size=(D, C)).astype(np.float32)
    x, labels, mask = X[:B], Y[:B], np.array([1, 0, 1, 1, 0, 1, 1, 0], np.float32)
    state = State({"params": w, "statistics": {"seen": 0.0}}, None, None)
    batch = Batch(*map(jnp.asarray, (x, labels, mask)))
    grads, seen = PLAIN(state, batch, hypers(smoothing=smoothing), jax.random.key(0))
    logits = x.astype(np.float64) @ w
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted = (1 - smoothing) * np.eye(C)[labels] + smoothing / C
    np.testing.assert_allclose(grads, x.T @ (mask[:, None] * (p - wanted)) / mask.sum(), atol=1e-6)
    assert seen.loss == pytest.approx(-(mask[:, None] * wanted * np.log(p)).sum(), rel=1e-5)
    np.testing.assert_array_equal(seen.labels_b, labels)
    assert float(seen.statistics["seen"]) == pytest.approx(x.max())


def test_private_gradients_that_are_neither_clipped_nor_noisy_are_plain_ones(private):
    mask = (np.arange(B), (np.arange(B) < 5).astype(np.float32))
    plain = functools.partial(private.func, spec(private.args[0].model), **private.keywords)
    of_plain, of_private = (step(hypers(dp_clip=1e6), batch=mask) for step in (plain, private))
    # a private mean divides by the size that a batch has on average, which says nothing of the rows
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a * 5 / B, b, atol=1e-6), of_plain, of_private)


def test_no_example_moves_a_private_step_by_more_than_the_clip(private):
    clip = 0.05
    whole = private(hypers(dp_clip=clip))
    assert norm(whole) <= clip * (1 + 1e-5)
    for i in range(B):
        mask = 1.0 - np.eye(B, dtype=np.float32)[i]
        moved = difference(whole, private(hypers(dp_clip=clip), batch=(BATCH[0], mask)))
        assert 0.9 * clip / B < moved <= clip / B * (1 + 1e-4)


def test_noise_on_private_gradients_has_its_deviation(private):
    clean, noisy = (private(hypers(dp_clip=0.1, dp_noise=noise)) for noise in (0.0, 3.0))
    added = np.concatenate([np.ravel(a - b) for a, b in zip(*map(jax.tree.leaves, (noisy, clean)), strict=True)])
    assert len(added) > 100
    assert added.std() * B == pytest.approx(0.3, rel=0.15)
    assert abs(added.mean()) * B < 0.3 * 4 / len(added) ** 0.5


@pytest.mark.long
def test_a_private_step_divides_by_the_expected_size_whatever_the_padding(private):
    """Half of the batch, and the same rows in one that is padded to twice the length."""
    half = (np.arange(B), (np.arange(B) < 4).astype(np.float32))
    longer = (np.r_[np.arange(B), np.zeros(B, int)], np.r_[half[1], np.zeros(B, np.float32)])
    four = (np.arange(4), np.ones(4, np.float32))
    results = [private(hypers(dp_clip=0.1), batch=batch) for batch in (half, longer, four)]
    one_by_one = [private(hypers(dp_clip=0.1), batch=(np.array([i]), np.ones(1, np.float32))) for i in range(4)]
    results.append(jax.tree.map(lambda *leaves: sum(leaves), *one_by_one))
    for other in results[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), results[0], other)
    # all four are clipped, and the sum is over the average size
    assert all(norm(each) == pytest.approx(0.1 / B, rel=1e-4) for each in one_by_one)


def test_a_private_step_of_no_row_is_a_step_of_noise(private):
    empty = (BATCH[0], np.zeros(B, np.float32))
    moved = private(hypers(dp_clip=0.1, dp_noise=1.0), batch=empty)
    values = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(moved)])
    assert values.std() * B == pytest.approx(0.1, rel=0.25)
    assert norm(private(hypers(dp_clip=0.1), batch=empty)) == 0


def test_a_gradient_that_is_not_finite_counts_as_none(private):
    broken = X.copy()
    broken[2] = np.inf
    without = (BATCH[0], (np.arange(B) != 2).astype(np.float32))
    with_it = private(hypers(dp_clip=0.1), data=(broken, Y))
    jax.tree.map(np.testing.assert_array_equal, with_it, private(hypers(dp_clip=0.1), batch=without, data=(broken, Y)))
    assert np.isfinite(norm(with_it))


def test_each_example_of_a_private_batch_draws_its_own_dropout(private):
    same = np.zeros(B, int)
    alone = [private(hypers(dp_clip=1e6, dropout=0.5), batch=(same, np.eye(B, dtype=np.float32)[i])) for i in range(4)]
    for i in range(3):
        assert difference(alone[i], alone[i + 1]) > 0.01 * norm(alone[i])
