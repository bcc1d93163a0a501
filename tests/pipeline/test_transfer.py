"""Perturbations that are made on other models, and how far a label holds along them."""

import dataclasses

import numpy as np
import pytest

from jaxsnn_mia.pipeline import trained, transfer


@pytest.fixture(autouse=True)
def few_sizes(monkeypatch):
    monkeypatch.setattr(transfer, "SIZES", np.geomspace(0.1, 3.0, 5))


@pytest.fixture(scope="module")
def run(small_run):
    return trained.load(small_run, "breast_cancer-ann")


@pytest.mark.long
def test_labels_hold_less_along_what_fools_others_than_along_noise(run, monkeypatch):
    held = transfer.survival(run, run.x, run.y)
    assert held.shape == (*run.keep.shape, 1)
    assert held.min() == 0
    assert 0.1 < held.mean() < 0.9
    np.testing.assert_allclose(held * len(transfer.SIZES), np.round(held * len(transfer.SIZES)), atol=1e-5)
    wrong = ~transfer.right(run, run.x, run.y)
    assert wrong.any()
    assert (held[wrong] == 0).all()
    noise = np.random.default_rng(0).normal(size=run.x.shape)
    noise *= transfer.length(run.x) / np.sqrt((noise**2).sum(1, keepdims=True))
    monkeypatch.setattr(transfer, "perturbations", lambda *args: noise)
    random = transfer.survival(run, run.x, run.y)
    assert held.mean() < random.mean() - 0.05


def test_perturbations_come_from_models_of_the_other_half_that_did_not_train_on_the_example(run, monkeypatch):
    seen = []

    def watched(models, makers, x, y, outside_mn):
        np.testing.assert_array_equal(outside_mn, ~run.keep[makers])
        seen.append(makers.tolist())
        return np.zeros(x.shape, np.float32)

    monkeypatch.setattr(transfer, "perturbations", watched)
    held = transfer.survival(run, run.x, run.y)
    assert seen == [[2, 3, 6, 7], [0, 1, 4, 5]]
    np.testing.assert_array_equal(held[..., 0], transfer.right(run, run.x, run.y))  # nothing was moved


def test_a_diverged_model_and_its_partner_make_nothing(run, monkeypatch):
    valid = np.arange(len(run.keep)) != 3
    seen = []

    def watched(models, makers, x, y, outside_mn):
        seen.append(makers.tolist())
        return np.zeros(x.shape, np.float32)

    monkeypatch.setattr(transfer, "perturbations", watched)
    monkeypatch.setattr(transfer, "right", lambda models, x, y: np.ones(run.keep.shape, bool))
    monkeypatch.setattr(transfer, "MAKERS", 2)
    transfer.survival(with_valid(run, valid), run.x, run.y)
    assert seen == [[6, 7], [0, 1]]
    with pytest.raises(ValueError, match="a valid pair in every half"):
        transfer.survival(with_valid(run, np.arange(len(valid)) // 2 % 2 == 0), run.x, run.y)


def with_valid(run, valid):
    """The trained models, of which these are valid."""
    other = dataclasses.replace(run)
    other.__dict__["valid"] = valid
    return other


@pytest.mark.long
def test_the_loss_of_the_makers_rises_and_that_of_those_left_out_plays_no_part(run):
    makers, n = np.array([2, 3, 6, 7]), 40
    x, y = run.x[:n], run.y[:n]
    first = np.zeros((4, n), bool)
    first[0] = True
    moves = transfer.perturbations(run, makers, x, y, first)
    np.testing.assert_allclose(np.sqrt((moves**2).sum(1)), transfer.length(x), rtol=1e-3)

    def loss(model, x):
        logits = run.apply(model, x).logits_bc
        return -np.take_along_axis(np.asarray(logits - np.logaddexp.reduce(logits, 1, keepdims=True)), y[:, None], 1)

    assert (loss(2, x + 0.3 * moves) > loss(2, x)).mean() > 0.95
    every = transfer.perturbations(run, makers, x, y, np.ones((4, n), bool))
    assert np.abs(every - moves).max() > 0.01
    assert loss(7, x + 0.3 * every).mean() > loss(7, x + 0.3 * moves).mean()


def test_pixels_stay_pixels():
    x = np.array([[0, 200, 250]], np.uint8)
    np.testing.assert_array_equal(transfer.moved(x, np.array([[-9.0, 0.6, 30.0]])), [[0, 201, 255]])
    assert transfer.length(x) == pytest.approx(25 * np.sqrt(3))
