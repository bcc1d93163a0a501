"""Same model everywhere: alone or among others, on one device or two, in one chunk or many, beside a NaN."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxsnn_mia import models
from jaxsnn_mia.models import Hyper
from jaxsnn_mia.signals.catalogue import Query
from jaxsnn_mia.signals.defences import Defence
from jaxsnn_mia.training import ensemble
from jaxsnn_mia.training.ensemble import compiled, make_ensemble
from tests.training import ensembles
from tests.training.ensembles import EPOCHS, MASK, ROWS, R, S, X, Y, assert_equal, make_engine, shadows, spec, take

LONG = pytest.mark.long
GOAL = 9.0  # no accuracy and no gap reaches it
SPIKING = spec(stop="train_accuracy")
# three models side by side, each with a norm of its own rows
WIDE = spec("ann", optimizer="sgd", stop="gap", ragged=True, per_shadow_standardise=True)
STOPPING = {"train_accuracy": SPIKING, "gap": WIDE}
VALIDATION = (X[:20], Y[:20])


def train(ids=range(S), *, spec=SPIKING, width=None, rows=None, devices=2, chunks=(EPOCHS,), **hyper):
    batch = shadows(ids, **{"stop_at": [GOAL] * S, **hyper})
    if rows is not None:
        batch = batch._replace(rows=rows)
    data = (X, Y, *VALIDATION) if spec.stop == "gap" else (X, Y)
    wide = 3 if spec == WIDE else 1
    return ensembles.train(batch, spec, data=data, width=width or wide, devices=devices, chunks=chunks)


@pytest.fixture(scope="module")
def reference():
    return train()


def test_shadows_learn_and_differ(reference):
    assert (reference.history[:, -1, 0] < reference.history[:, 0, 0]).all()
    kernels = reference.state.params["params"]["layers"][0]["kernel"]
    assert np.ptp(kernels, axis=0).min() > 0


def test_alone_on_one_device_equals_in_the_ensemble_on_two(reference):
    assert_equal(train([3], devices=1), take(reference, [3]))


@pytest.mark.long
def test_one_device_equals_two(reference):
    assert_equal(train(devices=1), reference)


def test_many_chunks_equal_one(reference):
    assert_equal(train(chunks=(1, 2, EPOCHS)), reference)


def test_a_diverged_neighbour_changes_nothing(reference):
    lr = np.full(S, 1e-3)
    lr[2] = np.inf
    group = train(lr=lr)
    assert not np.isfinite(group.history[2, -1, 0])
    rest = [0, 1, 3, 4, 5]
    assert_equal(take(group, rest), take(reference, rest))


@pytest.mark.long
def test_another_width_agrees_after_a_step():
    """Another width changes the order of sums, so only one step is compared, to 1e-5 relative."""
    one = dataclasses.replace(spec("ann", optimizer="sgd", schedule="cosine"), epochs=1, batch_size=R)
    narrow, wide = (train(lr=np.full(S, 0.1), width=w, chunks=(1,), spec=one) for w in (1, 3))
    for a, b in zip(jax.tree.leaves(narrow.state.params), jax.tree.leaves(wide.state.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_traced_settings_differ_inside_one_ensemble():
    bits = np.array([0, 1, 7, 127, 0, 0], np.float32)
    group = train(qmax_weight=bits, weight_decay=np.array([0, 0, 0, 0, 0, 0.5]), spec=WIDE)
    plain = train(spec=WIDE)
    assert_equal(take(group, [0, 4]), take(plain, [0, 4]))
    for s in (1, 2, 3, 5):
        assert np.abs(group.history[s] - plain.history[s]).max() > 0


def test_padding_is_never_trained_on(reference):
    rows = (ROWS[0].copy(), MASK)
    rows[0][::2, -1] = 59  # what masked entries point at does not matter
    assert_equal(train(rows=rows), reference)


def test_an_empty_batch_is_no_step():
    """Where every row fits in one batch less, the padded last batch leaves the weights and their moments alone."""
    rows = (ROWS[0], np.repeat((np.arange(R) < 24)[None], S, 0).astype(np.float32))
    ragged = train(rows=rows, spec=WIDE)
    assert WIDE.steps_per_epoch == 4
    assert np.isfinite(ragged.history).all()
    counts = [leaf for leaf in jax.tree.leaves(ragged.state.opt_state) if leaf.ndim == 1 and leaf.dtype == np.int32]
    assert counts
    assert all((count == EPOCHS * 3).all() for count in counts)


def test_a_model_can_standardise_by_its_own_rows():
    group = train(spec=WIDE)
    own = X[ROWS[0][1]]
    np.testing.assert_allclose(group.state.norm.mean[1], own.mean(0), atol=1e-5)
    np.testing.assert_allclose(group.state.norm.std[1], own.std(0), rtol=1e-4)


@pytest.mark.parametrize(
    ("stop", "width"),
    [
        ("train_accuracy", 1),
        ("gap", 3),
        pytest.param("train_accuracy", 3, marks=LONG),
        pytest.param("gap", 1, marks=LONG),
    ],
)
def test_a_model_rests_once_it_reaches_its_goal(stop, width):
    """It keeps the parameters of that epoch, and the others train on, to the bits they have without it."""
    stopping = STOPPING[stop]
    never = train(spec=stopping, width=width)
    values = never.history[..., 1] if stop == "train_accuracy" else never.history[..., 1] - never.history[..., 2]
    assert np.isfinite(values).all()
    goal = float(np.sort(values[:, :2].max(1))[S // 2])  # half of the models get there in two epochs
    group = train(spec=stopping, width=width, stop_at=[goal] * S, chunks=(1, EPOCHS))
    assert set(never.epochs) == {EPOCHS}
    for s in range(S):
        reached = np.flatnonzero(values[s] >= goal)
        stopped = reached[0] + 1 if len(reached) else EPOCHS
        assert group.epochs[s] == stopped
        at_stop = train(spec=stopping, width=width, chunks=(stopped,))
        assert_equal(take(group.state.params, [s]), take(at_stop.state.params, [s]))
        assert (group.history[s, stopped:] == group.history[s, stopped - 1])[:, :2].all()
    assert len(set(group.epochs)) > 1


@pytest.mark.long
def test_a_goal_that_no_model_reaches_changes_nothing(reference):
    never = train(spec=spec())
    assert_equal(never.state, reference.state)
    assert_equal(never.history, reference.history)


def test_queries_see_each_models_own_weights(reference):
    engine = make_engine(SPIKING, 1, 2)

    def logits(apply, params, x, y, hyper, key):
        return apply(params, x, hyper, key).logits_bc

    got = np.asarray(engine.query(logits)(reference.state, shadows(), X, Y))
    assert got.shape == (S, 60, 3)
    model = models.build(SPIKING.model)
    params = jax.tree.map(lambda leaf: leaf[4], reference.state.params)
    want = jax.jit(lambda params: model.apply(params, X, Hyper(), jax.random.key(0), train=False).logits_bc)(params)
    np.testing.assert_allclose(got[4], want, rtol=1e-5, atol=1e-5)


def test_equal_queries_compile_once_and_others_anew(reference):
    traced = []

    @dataclasses.dataclass(frozen=True)
    class Rates:
        """`times` the learning rate; notes when it is traced."""

        times: float

        def __call__(self, apply, params, x, y, hyper, key):
            traced.append(self.times)
            return self.times * hyper.lr

    for seed, times in ((0, 1.0), (0, 1.0), (1, 1.0), (0, 2.0)):
        engine = make_ensemble(SPIKING, seed=seed, width=1, devices=jax.devices()[:2])
        np.testing.assert_allclose(engine.query(Rates(times))(reference.state, shadows(), X, Y), times * 1e-3)
    assert traced == [1.0, 2.0]


def test_signals_of_equal_settings_are_one_program_and_others_another():
    query = compiled(spec("ann"), 1, tuple(jax.devices()[:2])).query
    same = query(Query(("phi", "loss"), 2, Defence(top_k=1)))
    assert query(Query(("phi", "loss"), 2, Defence(top_k=1))) is same
    assert query(Query(("phi",), 2, Defence(top_k=1))) is not same
    assert query(Query(("phi", "loss"), 1, Defence(top_k=1))) is not same
    assert query(Query(("phi", "loss"), 2)) is not same


def test_equal_specs_are_one_program_and_others_another(monkeypatch):
    traced = []
    run_epochs = ensemble.run_epochs
    monkeypatch.setattr(ensemble, "run_epochs", lambda *args: traced.append(1) or run_epochs(*args))
    batch = shadows()

    def trace(spec, seed):
        engine = make_ensemble(spec, seed=seed, width=1, devices=jax.devices()[:2])
        group = engine.shape_of(batch, (X, Y))
        jax.eval_shape(lambda group: engine.run(group, batch, (X, Y), 0, 1), group)

    new = 2.0**-7  # a momentum that no other test has
    for seed in (0, 1):
        trace(spec("ann", optimizer="sgd", momentum=new), seed)
    assert len(traced) == 1
    trace(spec("ann", optimizer="sgd", momentum=2 * new), 0)
    assert len(traced) == 2
