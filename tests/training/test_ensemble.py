"""Same model everywhere: alone or among others, on one device or two, in one chunk or many, beside a NaN."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia import models
from jaxsnn_mia.models import Hyper
from jaxsnn_mia.training.ensemble import shuffled
from tests.training import ensembles
from tests.training.ensembles import EPOCHS, MASK, ROWS, R, S, X, Y, assert_equal, make_engine, shadows, spec, take

SPEC = spec()


def train(shadows, *, spec=SPEC, **options):
    return ensembles.train(shadows, spec, **options)


@pytest.fixture(scope="module")
def reference():
    return train(shadows())


def test_shadows_learn_and_differ(reference):
    assert (reference.history[:, -1, 0] < reference.history[:, 0, 0]).all()
    kernels = reference.state.params["params"]["layers"][0]["kernel"]
    assert np.ptp(kernels, axis=0).min() > 0


def test_alone_equals_in_the_ensemble(reference):
    assert_equal(train(shadows([3]), devices=1), take(reference, [3]))


def test_one_device_equals_two(reference):
    assert_equal(train(shadows(), devices=1), reference)


def test_many_chunks_equal_one(reference):
    assert_equal(train(shadows(), chunks=(1, 2, EPOCHS)), reference)


def test_a_diverged_neighbour_changes_nothing(reference):
    lr = np.full(S, 1e-3)
    lr[2] = np.inf
    group = train(shadows(lr=lr))
    assert not np.isfinite(group.history[2, -1, 0])
    rest = [0, 1, 3, 4, 5]
    assert_equal(take(group, rest), take(reference, rest))


@pytest.mark.long
def test_another_width_agrees_after_a_step():
    """Another width changes the order of sums, so only one step is compared, to 1e-5 relative."""
    one = dataclasses.replace(spec("ann", optimizer="sgd", schedule="cosine"), epochs=1, batch_size=R)
    narrow, wide = (train(shadows(lr=np.full(S, 0.1)), width=w, chunks=(1,), spec=one) for w in (1, 3))
    for a, b in zip(jax.tree.leaves(narrow.state.params), jax.tree.leaves(wide.state.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_traced_settings_differ_inside_one_ensemble():
    bits = np.array([0, 1, 7, 127, 0, 0], np.float32)
    group = train(shadows(qmax_weight=bits, weight_decay=np.array([0, 0, 0, 0, 0, 0.5])), spec=spec("ann"))
    plain = train(shadows(), spec=spec("ann"))
    assert_equal(take(group, [0, 4]), take(plain, [0, 4]))
    for s in (1, 2, 3, 5):
        assert np.abs(group.history[s] - plain.history[s]).max() > 0


def test_padding_is_never_trained_on(reference):
    rows = (ROWS[0].copy(), MASK)
    rows[0][::2, -1] = 59  # what masked entries point at does not matter
    batch = shadows()._replace(rows=rows)
    assert_equal(train(batch), reference)


def test_an_empty_batch_is_no_step():
    """Where every row fits in one batch less, the padded last batch leaves the weights and their moments alone."""
    rows = (ROWS[0], np.repeat((np.arange(R) < 24)[None], S, 0).astype(np.float32))
    ragged = train(shadows()._replace(rows=rows), spec=spec("ann", ragged=True))
    assert spec("ann").steps_per_epoch == 4
    assert np.isfinite(ragged.history).all()
    counts = [leaf for leaf in jax.tree.leaves(ragged.state.opt_state) if leaf.ndim == 1 and leaf.dtype == np.int32]
    assert counts
    assert all((count == EPOCHS * 3).all() for count in counts)


def test_a_model_can_standardise_by_its_own_rows():
    group = train(shadows(), spec=spec("ann", per_shadow_standardise=True))
    own = X[ROWS[0][1]]
    np.testing.assert_allclose(group.state.norm.mean[1], own.mean(0), atol=1e-5)
    np.testing.assert_allclose(group.state.norm.std[1], own.std(0), rtol=1e-4)


def test_queries_see_each_models_own_weights(reference):
    engine = make_engine(spec(), 1, 2)

    def logits(apply, params, x, y, hyper, key):
        return apply(params, x, hyper, key).logits_bc

    got = np.asarray(engine.query(logits)(reference.state, shadows(), X, Y))
    assert got.shape == (S, 60, 3)
    model = models.build(spec().model)
    params = jax.tree.map(lambda leaf: leaf[4], reference.state.params)
    want = model.apply(params, X, Hyper(), jax.random.key(0), train=False).logits_bc
    np.testing.assert_allclose(got[4], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", [1, 3])
def test_a_model_rests_once_it_reaches_its_accuracy(width):
    """It keeps the parameters of that epoch, and the others train on, to the bits they have without it."""
    stopping = spec(stop="train_accuracy")
    never = train(shadows(stop_at=[2.0] * S), spec=stopping, width=width)
    accuracy = np.sort(never.history[:, 1, 1])
    goal = float(accuracy[S // 2])  # half of the models get there in the second epoch
    group = train(shadows(stop_at=[goal] * S), spec=stopping, width=width, chunks=(1, EPOCHS))
    assert set(never.epochs) == {EPOCHS}
    for s in range(S):
        reached = np.flatnonzero(never.history[s, :, 1] >= goal)
        stop = reached[0] + 1 if len(reached) else EPOCHS
        assert group.epochs[s] == stop
        at_stop = train(shadows(stop_at=[2.0] * S), spec=stopping, width=width, chunks=(stop,))
        assert_equal(take(group.state.params, [s]), take(at_stop.state.params, [s]))
        assert (group.history[s, stop:] == group.history[s, stop - 1])[:, :2].all()
    assert len(set(group.epochs)) > 1


def test_a_model_rests_once_its_gap_is_reached():
    stopping = spec(stop="gap")
    engine = make_engine(stopping, 1, 2)
    data = (X, Y, X[:20], Y[:20])

    def trained(stop_at):
        batch = shadows(stop_at=[stop_at] * S)
        return jax.tree.map(np.asarray, engine.run(engine.init(batch, data), batch, data, 0, EPOCHS))

    free = trained(9.0)
    gap = free.history[..., 1] - free.history[..., 2]
    assert np.isfinite(gap).all()
    goal = float(np.median(gap[:, :-1].max(1)))
    for s, epochs in enumerate(trained(goal).epochs):
        reached = np.flatnonzero(gap[s] >= goal)
        assert epochs == (reached[0] + 1 if len(reached) else EPOCHS)


def test_padding_begins_with_the_rows_again():
    """So that a last batch of one row is not that row many times, for those who take moments or ranges of a batch."""
    one = spec()
    rows = (jnp.asarray(ROWS[0][0]), jnp.asarray(MASK[0]))  # 30 valid of 31, in batches of 8
    idx, mask = jax.jit(lambda key: shuffled(key, rows, one))(jax.random.key(0))
    flat = np.asarray(idx).ravel()
    assert idx.shape == mask.shape == (4, 8)
    assert np.asarray(mask).ravel().tolist() == [1.0] * 30 + [0.0] * 2
    assert sorted(flat[:30]) == sorted(ROWS[0][0][:30])
    np.testing.assert_array_equal(flat[30:], flat[:2])
    assert not np.array_equal(flat[:30], ROWS[0][0][:30])
