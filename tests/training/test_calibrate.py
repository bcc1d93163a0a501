"""Calibration after training: the ranges of the rows of each batch, in float and without dropout."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.models import Model, Output, QuantSpec
from jaxsnn_mia.training.calibrate import calibrate
from jaxsnn_mia.training.optimizer import optimizer
from jaxsnn_mia.training.spec import State
from jaxsnn_mia.training.step import make_train
from tests.training.one_model import ANN, BATCH, DATA, LINEAR, B, C, D, N, X, Y, hypers, spec

DATA_ON_DEVICE = (jnp.asarray(X), jnp.asarray(Y))
BATCHES = (np.array([[0, 1, 2, 3], [4, 5, 0, 1]]), np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.float32))


def trained_state(steps=1):
    w = np.zeros((D, C), np.float32)
    fresh = optimizer(spec(), hypers()).init(w)
    counted = jax.tree.map(lambda leaf: leaf + steps if leaf.dtype == np.int32 else leaf, fresh)
    return State({"params": w, "statistics": {"seen": np.float32(99.0)}}, counted, None)


@pytest.mark.parametrize("calibration", ["absmax", "percentile"])
def test_ranges_are_those_of_the_batches(calibration):
    """The largest of any, or the mean with the rows that each counts: 4 and 2."""
    model = dataclasses.replace(ANN, quant=QuantSpec(("activation",), calibration=calibration))
    data = (jnp.asarray(X), jnp.asarray(Y))
    after = calibrate(LINEAR, spec(model), trained_state(), BATCHES, data, hypers(), jax.random.key(0))
    first, second = (X[rows].max() for rows in BATCHES[0])
    wanted = max(first, second) if calibration == "absmax" else (4 * first + 2 * second) / 6
    assert float(after.params["statistics"]["seen"]) == pytest.approx(wanted)
    np.testing.assert_array_equal(after.params["params"], trained_state().params["params"])


def test_the_network_is_seen_from_scratch_in_float_and_without_dropout():
    asked = []

    def apply(given, x, hyper, key, train):
        asked.append((given["statistics"]["seen"], hyper, train))
        return Output(x, None, {"statistics": given["statistics"]})

    coarse = hypers(qmax_weight=7, qmax_activation=15, qmax_state=3, dropout=0.5, threshold=0.25)
    model = Model(lambda key: {}, apply)
    after = calibrate(model, spec(ANN), trained_state(), BATCHES, DATA_ON_DEVICE, coarse, jax.random.key(0))
    ((before, hyper, train),) = asked
    assert train
    assert float(after.params["statistics"]["seen"]) == 0.0
    assert not jnp.isnan(before).any()
    assert [float(getattr(hyper, name)) for name in ("qmax_weight", "qmax_activation", "qmax_state", "dropout")] == [
        0.0
    ] * 4
    assert float(hyper.threshold) == 0.25


def test_a_model_that_was_not_trained_is_refused():
    with pytest.raises(ValueError, match=r"needs a trained model, got one after 0 steps\. Train it first"):
        calibrate(LINEAR, spec(ANN), trained_state(0), BATCHES, DATA_ON_DEVICE, hypers(), jax.random.key(0))


@pytest.mark.long
def test_calibration_sees_the_network_without_dropout():
    quant = QuantSpec(parts=("activation",))
    model = dataclasses.replace(ANN, hidden=(16, 16), dropout=True, quant=quant)
    one = make_train(spec(model))
    rows = (np.arange(N), np.ones(N, np.float32))
    state, _ = one.step(one.init(jax.random.key(0), hypers(), rows, DATA), BATCH, DATA, hypers(), jax.random.key(1))
    batches = (np.arange(N).reshape(3, B), np.ones((3, B), np.float32))
    with_, without = (
        one.calibrate(state, batches, DATA_ON_DEVICE, hypers(dropout=rate), jax.random.key(2)).params["statistics"]
        for rate in (0.5, 0.0)
    )
    jax.tree.map(np.testing.assert_array_equal, with_, without)
    assert float(with_["activations"][1]["range"]) > 0
