"""One step: its precision, dropout, accuracy, and what is folded into its key."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia import models
from jaxsnn_mia.models import ModelSpec, QuantSpec
from jaxsnn_mia.models.coding import ENCODE
from jaxsnn_mia.models.heads import DROPOUT
from jaxsnn_mia.models.quantized import dropped
from jaxsnn_mia.training import step as train
from jaxsnn_mia.training.gradients import EXAMPLES, MIXUP, NOISE
from jaxsnn_mia.training.spec import State
from jaxsnn_mia.training.step import AUGMENT, make_train
from tests.training.one_model import (
    ANN,
    BATCH,
    DATA,
    LINEAR,
    SNN,
    C,
    D,
    N,
    X,
    Y,
    difference,
    hypers,
    norm,
    spec,
    started,
    update,
)  # fmt: skip

LONG = pytest.mark.long
IMAGES = ModelSpec("ann", (8, 8, 3), C, hidden=(), architecture="resnet8")


@pytest.mark.parametrize("model", [pytest.param(SNN, marks=LONG), ANN, pytest.param(IMAGES, marks=LONG)])
def test_bfloat16_computes_in_it_and_keeps_float32(model):
    narrow = spec(dataclasses.replace(model, quant=QuantSpec(compute="bfloat16")), precision="bfloat16")
    data = (np.random.default_rng(0).normal(size=(N, *model.in_shape)).astype(np.float32), Y)
    full, half = (update(s, hypers(), data=data) for s in (spec(model), narrow))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(half))
    # spikes amplify the last bit
    assert 1e-6 < difference(full, half) / norm(full) < (0.1 if model.family == "ann" else 0.5)
    one, state = make_train(narrow), started(narrow)
    graph = str(jax.make_jaxpr(one.step)(state, BATCH, data, hypers(), jax.random.key(0)))
    assert "bf16" in graph
    out = jax.eval_shape(one.apply, state.params, None, data[0], hypers(), jax.random.key(0))
    assert out.logits_bc.dtype == jnp.float32
    assert out.logits_tbc is None or out.logits_tbc.dtype == jnp.float32


@pytest.mark.parametrize(("precision", "named"), [("float32", "HIGHEST"), ("tf32", "HIGH,")])
def test_products_of_float32_say_their_precision(precision, named):
    """What an accelerator would otherwise choose is less than float32."""
    of_precision = spec(precision=precision)
    step = jax.jit(make_train(of_precision).step)
    lowered = step.lower(started(of_precision), BATCH, DATA, hypers(), jax.random.key(0)).as_text()
    products = [line for line in lowered.splitlines() if "dot_general" in line]
    assert len(products) >= 5
    assert all(named in line for line in products)


def test_dropout_leaves_out_its_share_of_units():
    units = jnp.ones((4, 500, 200))
    out = np.asarray(jax.jit(dropped)(units, jnp.float32(0.3), jax.random.key(0)))
    assert (out == out[0]).all()  # the same at every time step
    assert (out == 0).mean() == pytest.approx(0.3, abs=0.005)
    assert out.mean() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("network", "model"),
    [(ANN, LINEAR), pytest.param(ANN, None, marks=LONG), pytest.param(SNN, None, marks=LONG)],
    ids=["linear", "ann", "snn"],
)
def test_dropout_acts_in_a_step(network, model):
    with_dropout = spec(dataclasses.replace(network, dropout=True))
    off, on, again = (
        update(with_dropout, hypers(dropout=rate), key=key, model=model) for rate, key in ((0, 1), (0.5, 1), (0.5, 2))
    )
    without = update(spec(network), hypers(), model=model)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), without, off)
    assert difference(on, off) > 0.01
    assert difference(on, again) > 0.01  # another key, other units


@pytest.mark.parametrize("model", [ANN, SNN], ids=["ann", "snn"])
def test_dropout_acts_in_training_alone(model):
    network = models.build(dataclasses.replace(model, dropout=True))
    variables = started(spec(model)).params
    answer = jax.jit(
        lambda rate, seed: [
            network.apply(variables, X, hypers(dropout=rate), jax.random.key(seed), train=train).logits_bc
            for train in (True, False)
        ]
    )
    off, on, again = (answer(np.float32(rate), seed) for rate, seed in ((0, 1), (0.5, 1), (0.5, 2)))
    for _, asked in (on, again):
        np.testing.assert_array_equal(asked, off[1])
    np.testing.assert_allclose(off[0], off[1], atol=1e-6)
    assert difference(on[0], off[0]) > 0.01
    assert difference(on[0], again[0]) > 0.01  # another key, other units


def test_accuracy_counts_every_row_once_in_blocks(monkeypatch):
    w = np.random.default_rng(2).normal(size=(D, C)).astype(np.float32)
    state = State({"params": w, "statistics": {"seen": 0.0}}, None, None)
    right = ((X @ w).argmax(1) == Y).mean()
    assert 0 < right < 1
    for at_once in (24, 7):  # 24 rows: the last block may be short
        monkeypatch.setattr(train, "ROWS_AT_ONCE", at_once)
        accuracy = jax.jit(functools.partial(train.accuracy, LINEAR, spec()))
        assert float(accuracy(state, X, Y, hypers(), jax.random.key(0))) == pytest.approx(right)


def test_what_is_folded_into_a_key_is_told_apart():
    """Layers count from 0, so that everything else lies beyond any network's depth, and apart from each other."""
    purposes = [DROPOUT, ENCODE, MIXUP, AUGMENT]
    assert min(purposes) >= 1000
    assert min(np.diff(sorted(purposes))) >= 1000
    assert len({AUGMENT, NOISE, EXAMPLES}) == 3
