"""Quantized models and their training: widths along the model axis, calibration, sweeps.

Over 300 lines: the tests share compiled programs, and the tests of a file run in one process.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsnn_mia import config, models
from jaxsnn_mia.config import specs as work
from jaxsnn_mia.config.sweep import variants
from jaxsnn_mia.kernels import quantize
from jaxsnn_mia.models import Hyper, ModelSpec, QuantSpec, frozen, heads
from jaxsnn_mia.models.quantized import Activation, dropped, state_fn
from jaxsnn_mia.pipeline.run import run_pipeline
from jaxsnn_mia.training import ensemble
from jaxsnn_mia.training.ensemble import compiled, make_ensemble
from jaxsnn_mia.training.optimizer import decays
from jaxsnn_mia.training.step import make_train
from tests.models.small import ALL, FEATURES, built, hyper, logits, make, seen
from tests.runs import scores
from tests.training.ensembles import X, Y, take
from tests.training.ensembles import shadows as shadows_of
from tests.training.ensembles import spec as train_spec

LONG = pytest.mark.long


@pytest.mark.long
@pytest.mark.parametrize("family", ["ann", "snn"])
@pytest.mark.parametrize("calibration", ["absmax", "percentile", "lsq"])
def test_the_logits_of_a_sample_do_not_depend_on_its_batch_mates(family, calibration):
    _, model = make(family, parts=("weight", "activation"), calibration=calibration)
    h = hyper(family, 4)
    params = seen(model, h)
    whole = logits(model, params, h)
    others = FEATURES.copy()
    others[1:] *= 100
    np.testing.assert_array_equal(logits(model, params, h, others)[0], whole[0])
    np.testing.assert_allclose(logits(model, params, h, FEATURES[:1])[0], whole[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("part", [pytest.param("weight", marks=LONG), "activation", pytest.param("state", marks=LONG)])
@pytest.mark.parametrize("bits", [2, pytest.param(3, marks=LONG), pytest.param(4, marks=LONG)])
def test_each_part_is_really_quantized(part, bits):
    for family in ("ann", "snn"):
        if part == "state" and family == "ann":
            continue
        _, model = make(family, parts=(part,))
        h = hyper(family, bits)
        params = seen(model, h)
        assert float(jnp.abs(logits(model, params, h) - logits(model, params, hyper(family, 32))).max()) > 1e-3


@pytest.mark.parametrize(
    ("family", "calibration", "preset"),
    [
        ("snn", "lsq", "brevitas"),
        ("ann", "absmax", "default"),
        *[
            pytest.param(*case, marks=LONG)
            for case in itertools.product(("ann", "snn"), ("absmax", "lsq"), ("default", "brevitas"))
            if case not in (("snn", "lsq", "brevitas"), ("ann", "absmax", "default"))
        ],
    ],
)
def test_every_parameter_has_a_gradient(family, calibration, preset):
    _, model = make(family, parts=models.QUANTIZED["all"], calibration=calibration, preset=preset)
    h = hyper(family, 4)
    params = seen(model, h)

    def loss(trained):
        out = model.apply({**params, "params": trained}, FEATURES, h, jax.random.key(1), train=True)
        return (out.logits_bc * jnp.arange(1.0, 4.0)[None]).sum()

    gradients = jax.jit(jax.grad(loss))(params["params"])
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert float(jnp.abs(leaf).max()) > 0, jax.tree_util.keystr(path)
    assert ("log_step" in str(gradients)) == (calibration == "lsq")


def currents(scale):
    return scale * jnp.asarray(np.random.default_rng(5).normal(size=(7, 4, 3)), jnp.float32)


def after(steps, h=None, **quant):
    """An activation quantizer after training steps on the given arrays, and its last output."""
    module = Activation(QuantSpec(parts=("activation",), **quant), signed=True)
    for x in steps:
        out = module(x, hyper("snn", 4) if h is None else h, True)
    return module, out


def test_a_range_is_the_running_average_of_what_was_asked_for():
    first, second = currents(1.0), currents(3.0)
    for decay in (0.9, 0.5):
        module, _ = after((first, second), decay=decay)
        want = decay * jnp.abs(first).max() + (1 - decay) * jnp.abs(second).max()
        np.testing.assert_allclose(module.range[...], want, rtol=1e-6)
    module, _ = after((first,), calibration="percentile", percentile=80.0)
    np.testing.assert_allclose(module.range[...], np.percentile(np.abs(first), 80.0), rtol=1e-6)


def test_a_learned_step_starts_at_the_rule_of_lsq_and_has_its_gradient():
    """Frozen at the first quantized step; its derivative is that of its logarithm, over sqrt(features x qmax)."""
    first, second = currents(1.0), currents(3.0)
    step = 2 * float(jnp.abs(first).mean()) / 7**0.5
    module, _ = after((currents(9.0),), h=hyper("snn", 32), calibration="lsq")  # followed while in float
    out = [module(x, hyper("snn", 4), True) for x in (first, second)][1]
    np.testing.assert_allclose(module.range[...], jnp.abs(currents(9.0)).mean(), rtol=1e-6)
    module, out = after((first, second), calibration="lsq")
    np.testing.assert_allclose(out, quantize.fake_quant(second, step, -7, 7), rtol=1e-5, atol=1e-6)

    graph, params, rest = nnx.split(module, nnx.Param, ...)
    got = jax.grad(lambda p: nnx.merge(graph, p, rest)(second, hyper("snn", 4), False).sum())(params)
    by_step = jax.grad(lambda s: quantize.fake_quant(second, s, -7.0, 7.0, learned=True).sum())(step)
    np.testing.assert_allclose(jax.tree.leaves(got)[0], by_step * step / (3 * 7) ** 0.5, rtol=1e-4)
    kept = decays({"a": {"log_step": 0.0, "kernel": 0.0}})
    assert kept == {"a": {"log_step": False, "kernel": True}}


@pytest.mark.parametrize(
    "levels", ["keep_zero", "exponential", *[pytest.param(x, marks=LONG) for x in ("uniform", "exponential_zero")]]
)
def test_membranes_lie_on_the_levels_that_were_asked_for(levels):
    v = jnp.linspace(-2.0, 2.0, 301)
    h = hyper("snn", 3)
    got = state_fn(QuantSpec(parts=("state",), levels=levels, lower=0.5, upper=0.75), h)(v)
    options = {"threshold": 0.4, "lower": 0.5, "upper": 0.75}
    want = {
        "uniform": lambda: quantize.state_uniform(v, 3, **options),
        "keep_zero": lambda: quantize.state_uniform(v, 3, keep_zero=True, **options),
        "exponential": lambda: quantize.state_exponential(v, 3, **options),
        "exponential_zero": lambda: quantize.state_exponential(v, 3, threshold_centred=False, **options),
    }
    np.testing.assert_allclose(got, want[levels](), atol=1e-6)
    others = [other() for name, other in want.items() if name != levels]
    assert all(float(jnp.abs(got - other).max()) > 1e-2 for other in others)
    assert float(jnp.abs(got - state_fn(QuantSpec(parts=("state",), levels=levels), h)(v)).max()) > 1e-2


@pytest.mark.parametrize(("readout", "quantized"), [("membrane_last", False), ("spike_count", True)])
def test_membranes_that_are_the_logits_are_not_quantized(readout, quantized):
    spec = ModelSpec("snn", (6,), 3, hidden=(), time_steps=5, readout=readout, quant=QuantSpec(parts=("state",)))
    model = built(spec)
    params = model.init(jax.random.key(0))
    changed = logits(model, params, hyper("snn", 2)) != logits(model, params, hyper("snn", 32))
    assert bool(changed.any()) == quantized


@pytest.mark.long
def test_stochastic_surrogates_draw_by_layer():
    spec = ModelSpec("snn", (6,), 3, hidden=(8, 8), time_steps=4, surrogate="stochastic_spike")
    model = built(spec)
    params = model.init(jax.random.key(0))

    def pull(key):
        def loss(trained):
            out = model.apply(params | {"params": trained}, FEATURES, Hyper(threshold=0.3), key, train=True)
            return (out.logits_bc**2).sum()

        return jax.tree.leaves(jax.grad(loss)(params["params"]))

    one, again, other = (pull(jax.random.key(k)) for k in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.long
@pytest.mark.parametrize("family", [pytest.param("ann", marks=LONG), "snn"])
def test_keep8_leaves_the_first_and_the_last_layer_at_eight_bits(family):
    spec, model = make(family, edges="keep8")
    params = model.init(jax.random.key(0))
    cut = frozen.freeze(spec, params, hyper(family, 2))
    levels = [len(np.unique(np.asarray(layer.codes))) for layer in cut.layers]
    assert levels[1] <= 3
    assert min(levels[0], levels[2]) > 3
    plain = frozen.freeze(dataclasses.replace(spec, quant=QuantSpec()), params, hyper(family, 2))
    assert max(len(np.unique(np.asarray(layer.codes))) for layer in plain.layers) <= 3


def trained(group_of_widths, quant, family="snn", stop_at=0.0, **changes):
    """The group after training of test_ensemble's six shadows, each with its own width."""
    base = train_spec(family, **changes)
    spec = dataclasses.replace(base, model=dataclasses.replace(base.model, quant=quant))
    engine = make_ensemble(spec, seed=3, width=1, devices=jax.devices()[:2])
    names = ("qmax_weight", "qmax_activation", "qmax_state")
    widths = {name: [getattr(hyper(family, bits), name) for bits in group_of_widths] for name in names}
    batch = shadows_of(threshold=[0.4] * 6, stop_at=[stop_at] * 6, **widths)
    group = engine.run(engine.init(batch, (X, Y)), batch, (X, Y), 0, spec.epochs)
    return jax.tree.map(np.asarray, group)


def test_one_ensemble_holds_every_width_and_float():
    widths = [2, 4, 8, 16, 32, 3]
    together = trained(widths, ALL)
    for bits in (4, 32):
        alone = trained([bits] * 6, ALL)
        index = widths.index(bits)
        jax.tree.map(np.testing.assert_array_equal, take(together, [index]), take(alone, [index]))
    assert not np.array_equal(together.history[1], together.history[4])


@pytest.mark.long
def test_a_warm_up_trains_in_float_first():
    warm, plain = (trained([4] * 6, ALL, float_epochs=n) for n in (2, 0))
    floats = trained([32] * 6, ALL, float_epochs=2)
    np.testing.assert_array_equal(warm.history[:, :2], floats.history[:, :2])
    assert not np.array_equal(warm.history[:, 2:], floats.history[:, 2:])
    assert not np.array_equal(plain.history[:, :2], floats.history[:, :2])


@pytest.mark.parametrize("calibration", ["absmax", pytest.param("percentile", marks=LONG)])
def test_post_training_calibration_sees_the_float_activations_of_all_own_rows(calibration):
    """max |activation| over the rows of the last weights; for percentiles the mean over batches, each by its rows."""
    quant = QuantSpec(parts=("weight", "activation"), calibration=calibration, percentile=90.0)
    group = take(trained([2] * 6, quant, "ann", float_epochs=4, post_training=True), [0])
    params = jax.tree.map(lambda a: jnp.asarray(a[0]), group.state.params)
    batch = shadows_of()
    rows = np.asarray(batch.rows[0][0])[np.asarray(batch.rows[1][0]) > 0]
    layer = params["params"]["layers"][0]
    hidden = np.maximum(X[rows] @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]), 0)
    got = float(params["statistics"]["activations"][0]["range"])
    if calibration == "absmax":
        np.testing.assert_allclose(got, hidden.max(), rtol=1e-5)
    else:
        assert 0.7 * np.percentile(hidden, 90) < got < 1.3 * np.percentile(hidden, 90)
        assert got < 0.95 * hidden.max()


@pytest.mark.long
def test_a_model_does_not_stop_before_it_was_trained_with_quantization():
    group = trained([4] * 6, ALL, stop="train_accuracy", float_epochs=2, stop_at=0.01)
    assert set(group.epochs) == {3}
    assert set(trained([4] * 6, ALL, stop="train_accuracy", stop_at=0.01).epochs) == {1}


@pytest.mark.long
@pytest.mark.parametrize("family", ["ann", "snn"])
def test_post_training_quantization_calibrates_on_the_own_rows_alone(family, monkeypatch):
    ranges = {}
    for outlier in (1.0, 1e3):
        x = X.copy()
        strangers = np.setdiff1d(np.arange(60), np.asarray(shadows_of().rows[0][0]))
        x[strangers] *= outlier  # rows that shadow 0 never trains on
        with monkeypatch.context() as patch:
            patch.setattr("tests.models.test_quantized.X", x)
            group = trained([4] * 6, ALL, family, float_epochs=4, post_training=True)
        ranges[outlier] = take(group, [0])
    jax.tree.map(np.testing.assert_array_equal, ranges[1.0], ranges[1e3])
    statistics = jax.tree.leaves(ranges[1.0].state.params["statistics"])
    assert len(statistics) == (1 if family == "ann" else 2)
    assert all((leaf > 0).all() for leaf in statistics)


def test_units_are_dropped_at_all_steps_alike_and_the_rest_is_scaled_up():
    x = np.random.default_rng(0).normal(size=(5, 40, 30)).astype(np.float32)
    out = np.asarray(dropped(jnp.asarray(x), jnp.float32(0.25), jax.random.key(0)))
    kept = out != 0
    assert (kept == kept[:1]).all()
    assert 0.7 < kept[0].mean() < 0.8
    np.testing.assert_allclose(out[kept], x[kept] / 0.75, rtol=1e-6)


@pytest.mark.parametrize("family", ["ann", "snn"])
def test_every_layer_drops_units_of_its_own(family, monkeypatch):
    model = models.build(ModelSpec(family, (6,), 3, hidden=(8, 8), time_steps=2, dropout=True))

    @jax.jit
    def drawn():
        keys = []
        monkeypatch.setattr(heads, "dropped", lambda x, rate, key: keys.append(jax.random.key_data(key)) or x)
        model.apply(model.init(jax.random.key(0)), FEATURES, Hyper(dropout=0.5), jax.random.key(1), train=True)
        return keys

    first, second = drawn()
    assert first.tolist() != second.tolist()


def test_a_range_that_no_data_set_is_refused():
    with pytest.raises(ValueError, match=r"`absmax` must be positive and finite, got 0\.0\. Calibrate"):
        quantize.activation(X, 0.0, 4, signed=True)
    spec, _ = make("ann", parts=("activation",))
    model = models.build(spec)  # not compiled: a traced range cannot be looked at
    with pytest.raises(ValueError, match=r"`absmax` must be positive and finite, got 0\.0\. Calibrate"):
        logits(model, model.init(jax.random.key(0)), hyper("ann", 4))


def one_step(quant, h):
    """(train functions, a model after one step, its batch)."""
    base = train_spec()
    functions = make_train(dataclasses.replace(base, model=dataclasses.replace(base.model, quant=quant)))
    batch = (jnp.arange(8), jnp.ones(8))
    state = functions.init(jax.random.key(0), h, batch, (X, Y))
    stepped = jax.jit(functions.step)(state, batch, (jnp.asarray(X), jnp.asarray(Y)), h, jax.random.key(1))[0]
    return functions, state, stepped


@pytest.mark.long
def test_float_in_a_program_with_quantizers_is_one_without_them():
    """Within 1e-6 a step: another program may sum in another order."""
    with_, without = (one_step(quant, hyper("snn", 32))[2].params["params"] for quant in (ALL, QuantSpec(parts=())))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), with_, without)


def test_an_untrained_model_is_not_quantized_after_training():
    functions, fresh, stepped = one_step(ALL, hyper("snn", 4))
    batches = (jnp.arange(8).reshape(2, 4), jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="needs a trained model, got one after 0 steps"):
        functions.calibrate(fresh, batches, (jnp.asarray(X), jnp.asarray(Y)), hyper("snn", 4), jax.random.key(0))
    ready = functions.calibrate(stepped, batches, (jnp.asarray(X), jnp.asarray(Y)), hyper("snn", 4), jax.random.key(0))
    assert all(leaf > 0 for leaf in jax.tree.leaves(ready.params["statistics"]))


WIDTHS = (2, 4, 8, 16, 32)
EVERY = tuple(itertools.product(("ann", "snn"), WIDTHS))
SWEEP = {
    "splits": {"n_shadows": 6},
    "model": {"hidden": (8,), "time_steps": 3},
    "train": {"epochs": 3, "batch_size": 32},
    "ensemble": {"group_size": 8},
    "attacks": {"names": ("lira",)},
    "metrics": {"replicates_auc": 20, "replicates_tpr": 20},
}


def swept(workdir, sweep, until="attacks", **changes):
    c = config.from_dict({**SWEEP, "data": {"name": "iris"}, **changes, "sweep": sweep})
    run_pipeline(c, workdir, until=until)
    return {path.parents[1].name: np.load(path) for path in workdir.glob("*/attacks-*/*.npy")}


@pytest.mark.long
@pytest.mark.parametrize("compared", [(("ann", 4), ("snn", 2)), pytest.param(EVERY, marks=LONG)])
def test_a_sweep_compiles_once_per_family_and_equals_its_separate_runs(tmp_path, monkeypatch, compared):
    """Bitwise, though the separate run packs its shadows otherwise: a width of the sweep is a run of its own."""
    compiled.cache_clear()
    traced = []
    run_epochs = ensemble.run_epochs
    monkeypatch.setattr(ensemble, "run_epochs", lambda *args: traced.append(1) or run_epochs(*args))
    together = swept(tmp_path / "all", {"bits": WIDTHS, "family": ("ann", "snn")}, quantization={"what": "all"})
    assert len(together) == 10
    assert len(traced) == 2  # one program per family
    for family, bits in compared:
        alone = swept(tmp_path / f"{family}{bits}", {}, model={**SWEEP["model"], "family": family},
                      quantization={"bits": bits, "what": "all"})  # fmt: skip
        np.testing.assert_array_equal(alone[f"iris-{family}"], together[f"iris-{family}-bits{bits}"])
    assert not np.array_equal(together["iris-snn-bits2"], together["iris-snn-bits32"])


@pytest.mark.long
def test_64_shadows_on_digits_compile_once_per_family_and_equal_a_separate_run(tmp_path, monkeypatch):
    compiled.cache_clear()
    traced = []
    run_epochs = ensemble.run_epochs
    monkeypatch.setattr(ensemble, "run_epochs", lambda *args: traced.append(1) or run_epochs(*args))
    few = {"train": {"epochs": 8}}
    sweep = config.from_dict({"sweep": {"family": ("ann", "snn"), "bits": WIDTHS}, **few})
    run_pipeline(sweep, tmp_path / "all", until="train")
    assert len(traced) == 2
    for family, bits in (("ann", 2), ("snn", 4)):
        alone = config.from_dict({"model": {"family": family}, "quantization": {"bits": bits}, **few})
        run_pipeline(alone, tmp_path / family, until="train")
        together, separate = (
            np.load(next(folder.glob("train-*/history.npz")))
            for folder in (tmp_path / f"all/digits-{family}-bits{bits}", tmp_path / family / f"digits-{family}")
        )
        for name in together:
            np.testing.assert_array_equal(together[name], separate[name])


@pytest.mark.long
def test_members_that_are_ahead_wait_for_those_behind(tmp_path):
    """A run killed between two members' checkpoints goes on to the same bits."""
    sweep = {"bits": (4, 32)}
    options = {"ensemble": {"group_size": 4, "chunk_seconds": 1e-6, "checkpoint_share": 0.0}}
    swept(tmp_path / "whole", sweep, **options)
    swept(tmp_path / "cut", sweep, until="train", **options)
    for manifest in (tmp_path / "cut").glob("*/train-*/manifest.json"):
        manifest.unlink()
    for late in (tmp_path / "cut/iris-snn-bits32").glob("train-*/group-00001/epoch-000003/sha256.json"):
        late.unlink()
    swept(tmp_path / "cut", sweep, **options)
    a, b = scores(tmp_path / "whole"), scores(tmp_path / "cut")
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bits": 17}, r"`quantization\.bits` must be an int in \[2, 16\]"),
        ({"what": "all", "bits_activation": 1}, r"`quantization\.bits_activation` must be an int in \[2, 16\]"),
        ({"what": "weights"}, 'Did you mean "weight"'),
        ({"mode": "pta"}, r"`quantization\.mode` must be one of"),
        ({"warmup_epochs": 40}, r"in \[0, 39\], got 40"),
        ({"mode": "ptq", "calibration": "lsq"}, "'qat' for a warm-up or a learned step size"),
        ({"percentile": 0.0}, r"`quantization\.percentile` must be in \(0, 100\]"),
        ({"what": "state", "upper": 0.0}, r"`quantization\.upper` must be in \(0, 10\], got 0\.0"),
        ({"bits_activation": 4}, r"`quantization\.bits_activation` must be 0 where quantization\.what=weight"),
        ({"edges": "keep8"}, "'all' for dense networks of one hidden layer"),
        ({"levels": "log"}, r"`quantization\.levels` must be one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        config.from_dict({"quantization": values})


def test_families_without_membranes():
    with pytest.raises(ValueError, match="which has no membranes, got 'state'"):
        config.from_dict({"model": {"family": "ann"}, "quantization": {"what": "state"}})
    with pytest.raises(ValueError, match=r"`sweep\.quantize` must be more than 'state' for families"):
        config.from_dict({"sweep": {"family": ("ann",), "quantize": ("state",)}})
    for family, what in (("ann", "activation"), ("snn", "state")):
        with pytest.raises(ValueError, match=r"`model\.hidden` must be one or more layers"):
            config.from_dict({"model": {"family": family, "hidden": ()}, "quantization": {"what": what}})
    c = config.from_dict({"sweep": {"family": ("ann", "snn"), "quantize": ("weight", "state")}})
    assert list(variants(c)) == [
        "digits-ann-quantizeweight", "digits-snn-quantizeweight", "digits-snn-quantizestate"
    ]  # fmt: skip
    largest = work.largest_codes(config.from_dict({"quantization": {"bits": 4, "what": "all", "bits_activation": 8}}))
    assert largest == {"qmax_weight": 7.0, "qmax_activation": 127.0, "qmax_state": 15.0}
