"""Every defence does what it says, and no more: weight decay, smoothing, mixup; temperature, top-k, rounding."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxsnn_mia import attacks, config
from jaxsnn_mia.models import Hyper, ModelSpec, Output, QuantSpec
from jaxsnn_mia.pipeline import train as pipeline_train
from jaxsnn_mia.pipeline import trained
from jaxsnn_mia.pipeline.run import run_pipeline
from jaxsnn_mia.signals import catalogue
from jaxsnn_mia.signals.defences import UNDEFENDED, Defence, released
from jaxsnn_mia.signals.from_logits import logit_confidence
from jaxsnn_mia.training.augment import mixed
from jaxsnn_mia.training.gradients import MIXUP, cross_entropy
from jaxsnn_mia.training.step import make_train
from tests.training.one_model import BATCH, DATA, B, C, D, X, Y, hypers, spec

LINEAR = ModelSpec("ann", (D,), C, hidden=())
MASK = np.array([1, 0, 1, 1, 0, 1, 1, 0], np.float32)
LOGITS = np.random.default_rng(1).normal(scale=4, size=(200, 10)).astype(np.float32)
DIGITS = (1, 3)


KEYS = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(i), MIXUP))(np.arange(2000))  # of steps
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # quick to compile


@functools.cache
def mixed_batches():
    mix = functools.partial(mixed, x=jnp.eye(B), labels_b=jnp.arange(B), mask_b=jnp.array(MASK))
    return quick_jit(jax.vmap(lambda key, alpha: mix(key, alpha=alpha), (0, None)))


@functools.cache
def drawn(alpha):
    """(partner of each row [2000, B], share [2000]) of batches of unit vectors under MASK, which show both."""
    x, partner, share = map(np.asarray, mixed_batches()(KEYS, jnp.float32(alpha)))
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
    return quick_jit(one.step), one.init(jax.random.key(0), hypers(), None, DATA)


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


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_weight_decay_shrinks_by_its_rate_where_nothing_else_moves(optimizer):
    """All parameters but learned step sizes, by 1 - lr x decay."""
    model = ModelSpec("ann", (D,), C, hidden=(16,), quant=QuantSpec(("activation",), calibration="lsq"))
    one, hyper = (
        make_train(dataclasses.replace(spec(model), optimizer=optimizer)),
        hypers(lr=0.5, weight_decay=0.1),
    )
    before = one.init(jax.random.key(0), hyper, None, DATA)
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


def by_hand(logits, defence):
    """`released`, one row after the other in float64, without floors: probabilities, and which are shown."""
    rows, seen = [], []
    for row in np.asarray(logits, np.float64):
        p = special.softmax(row / defence.temperature)
        order = sorted(range(len(p)), key=lambda c: (-row[c], c))
        shown = order[: defence.top_k or len(p)]
        if defence.round_digits:
            p = np.array([round(float(value), defence.round_digits) for value in p])
        for c in set(order) - set(shown):
            p[c] = (1 - p[shown].sum()) / (len(p) - len(shown))
        rows.append(p)
        seen.append(np.isin(np.arange(len(p)), shown))
    return np.array(rows), np.array(seen)


@pytest.mark.parametrize(
    "defence",
    [
        UNDEFENDED, Defence(temperature=3.0), Defence(top_k=1), Defence(top_k=3), Defence(round_digits=1),
        Defence(round_digits=3), Defence(2.0, 3, 2),
    ],
)  # fmt: skip
def test_released_probabilities_equal_a_loop(defence):
    out = np.asarray(released(jnp.asarray(LOGITS), defence), np.float64)
    got = np.exp(out) if defence.on else special.softmax(out, 1)
    want, shown = by_hand(LOGITS, defence)
    floor = 0.05 / 10**defence.round_digits if defence.round_digits else 0.0
    np.testing.assert_allclose(got, np.maximum(want, floor), rtol=2e-5, atol=1e-7 if floor else 0)
    assert np.isfinite(out).all()
    own = LOGITS.argmax(1)
    assert (np.take_along_axis(out, own[:, None], 1)[:, 0] == out.max(1)).all()  # the label, or tied with it
    if defence.top_k:
        hidden = np.where(shown, np.nan, out)
        np.testing.assert_array_equal(np.nanmax(hidden, 1), np.nanmin(hidden, 1))  # hides the rest
    if not defence.round_digits:
        np.testing.assert_allclose(got.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("digits", DIGITS)
def test_rounded_probabilities_lie_on_the_grid(digits):
    logits = np.concatenate([LOGITS, 50 * LOGITS, np.zeros_like(LOGITS[:1])])
    got = np.exp(np.asarray(released(jnp.asarray(logits), Defence(round_digits=digits)), np.float64))
    exact = special.softmax(logits.astype(np.float64), 1)
    zero = got < 0.5 / 10**digits  # half a unit shared out over the classes
    np.testing.assert_allclose(got[zero], 0.05 / 10**digits, rtol=1e-5)
    steps = got[~zero] * 10**digits
    np.testing.assert_allclose(steps, np.round(steps), rtol=1e-5)
    assert (np.abs(np.where(zero, 0, got) - exact) <= 0.5001 / 10**digits).all()
    assert len(np.unique(np.round(steps))) > 5


def test_what_is_shown_tells_as_much_as_before():
    """A label among the k largest keeps its logit confidence, and two classes at a temperature keep their order: the
    known weaknesses of both."""
    y = LOGITS.argsort(1)[:, -2]
    phi, defended = (
        np.asarray(logit_confidence(released(jnp.asarray(LOGITS), d)[:, None], y))
        for d in (UNDEFENDED, Defence(top_k=2))
    )
    np.testing.assert_allclose(defended, phi, rtol=1e-4, atol=1e-4)
    two = jnp.asarray(LOGITS[:, :2])[:, None]
    phi, cooler = (
        np.asarray(logit_confidence(released(two, d), y % 2)) for d in (UNDEFENDED, Defence(temperature=5.0))
    )
    np.testing.assert_allclose(cooler, phi / 5, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_defences_reach_what_is_made_of_probabilities_alone():
    """Every signal of a model that is one product, whose hidden activity is its input and which grows over time."""

    def apply(params, x, hyper, key):
        logits = x.astype(jnp.float32) @ params["params"]
        return Output(logits, jnp.stack([logits / 2, logits]), {"rates": x})

    kernel = np.random.default_rng(3).normal(size=(D, 5)).astype(np.float32)
    defence, names = Defence(2.0, 2, 1), tuple(catalogue.SIGNALS)

    def asked(defence):
        return catalogue.compute(names, 1, defence)(apply, {"params": kernel}, X, Y, Hyper(), jax.random.key(0))

    bare, defended = map(jax.device_get, quick_jit(lambda: (asked(UNDEFENDED), asked(defence)))())
    assert set(catalogue.PAST_DEFENCE) <= set(names)
    for name in names:
        same = np.array_equal(bare[name], defended[name])
        assert same == (name in catalogue.PAST_DEFENCE), name
        assert np.isfinite(defended[name]).all()
    logits = jnp.asarray(X @ kernel)
    want = [logit_confidence(released(scale * logits, defence)[:, None], Y) for scale in (0.5, 1.0)]
    np.testing.assert_allclose(defended["phi_steps"], np.concatenate(want, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(defended["phi"], want[1], rtol=1e-4, atol=1e-5)


SOME = ("loss", "lira", "rmia")
ALL = tuple(
    name for name, attack in attacks.ATTACKS.items() if {*attack.needs} <= {"phi", "keep", "logp", "logp_population"}
)


@pytest.mark.parametrize("names", [SOME, pytest.param(ALL, marks=pytest.mark.long)])
def test_answers_that_are_all_alike_give_finite_scores(names):
    """Half of the examples have one rounded answer of every model; and then all have."""
    rng = np.random.default_rng(0)
    keep = np.repeat(rng.random((5, 60)) < 0.5, 2, axis=0) ^ (np.arange(10) % 2 == 1)[:, None]
    logits = rng.normal(scale=2, size=(10, 60, 1, 4)).astype(np.float32)
    y = np.zeros(60, int)
    for alike in (30, 60):
        logits[:, :alike, :, 0] = 9 + np.arange(10)[:, None, None]
        phi = np.asarray(logit_confidence(released(jnp.asarray(logits), Defence(round_digits=1)), y))
        assert (np.ptp(phi[:, :alike], axis=0) == 0).all()
        logp = -np.logaddexp(0, -phi)
        given = {"phi": phi, "keep": keep, "logp": logp, "logp_population": logp}
        for name in names:
            options = {"partner_s": np.arange(10) ^ 1} if "keep" in attacks.ATTACKS[name].needs else {}
            found = attacks.ATTACKS[name].fn(*(given[need] for need in attacks.ATTACKS[name].needs), **options)
            assert np.isfinite(found).all(), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"defence": {"round_digits": 7}}, r"`defence\.round_digits` must be in \[0, 6\], got 7\. 0 rounds nothing"),
        ({"defence": {"top_k": -1}}, r"`defence\.top_k` must be at least 0, got -1"),
        ({"defence": {"temperature": 0.5}}, r"`defence\.temperature` must be finite and at least 1, got 0\.5"),
        ({"train": {"mixup": -0.1}}, r"`train\.mixup` must be finite and at least 0, got -0\.1"),
        ({"defence": {"top_k": 2}, "sweep": {"top_k": (1, 3)}}, r"`defence\.top_k` must be left alone"),
    ],
)
def test_settings_that_defend_nothing_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config.from_dict(changes)


def test_hiding_one_class_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline_train, "run", None)
    with pytest.raises(
        ValueError, match=r"`defence\.top_k` must be in \[0, 1\] for wine, which holds 3 classes, got 2"
    ):
        run_pipeline(wine(defence={"top_k": 2}), tmp_path)


def wine(**changes):
    """Models that know their training rows by heart."""
    return config.from_dict(
        {
            "data": {"name": "wine"}, "splits": {"n_shadows": 16}, "model": {"family": "ann", "hidden": (32,)},
            "train": {"epochs": 40, "lr": 1e-2, "batch_size": 32}, "ensemble": {"group_size": 16},
            "metrics": {"replicates_auc": 20, "replicates_tpr": 20}, "signals": {"names": ("phi", "logits")},
            "attacks": {"names": ("lira", "gap")}, **changes,
        }
    )  # fmt: skip


@pytest.mark.long
def test_one_training_serves_all_defences_and_labels_give_away_what_they_did(tmp_path):
    """Rounding to one digit takes from LiRA what probabilities tell, and nothing from attacks on labels."""
    run_pipeline(wine(sweep={"round_digits": (0, 1)}), tmp_path, until="metrics")
    bare, defended = (tmp_path / f"wine-ann-round_digits{digits}" for digits in (0, 1))
    assert len(list(tmp_path.glob("*/train-*"))) == 1

    def stage(folder, name):
        (found,) = folder.glob(f"signals-*/{name}/candidates-00000.npy")
        return found

    assert stage(bare, "correct").parts[-3] == stage(defended, "correct").parts[-3]
    assert stage(bare, "phi").parts[-3] != stage(defended, "phi").parts[-3]
    logits, phi = np.load(stage(bare, "logits")), np.load(stage(defended, "phi"))
    (y,), (role,) = (list(map(np.load, tmp_path.glob(f"data-*/{name}.npy"))) for name in ("y", "role"))
    want = logit_confidence(released(jnp.asarray(logits), Defence(round_digits=1)), y[role == 0])
    np.testing.assert_allclose(phi, want, rtol=1e-4, atol=1e-4)

    rows = [row for path in tmp_path.glob("*/metrics-*/summary.json") for row in json.loads(path.read_text())["rows"]]
    auc = {(row["variant"], row["attack"]): row["value"] for row in rows if row["metric"] == "auc"}
    accuracy = {(row["variant"], row["metric"]): row["value"] for row in rows if row["attack"] == ""}
    assert auc[bare.name, "gap"] == auc[defended.name, "gap"] > 0.505
    for name in ("train_accuracy", "test_accuracy"):
        assert accuracy[bare.name, name] == accuracy[defended.name, name]
    assert auc[bare.name, "lira"] > 0.6
    assert auc[defended.name, "lira"] < auc[bare.name, "lira"] - 0.02


@pytest.mark.long
def test_another_defence_of_the_same_workdir_trains_nothing(tmp_path, monkeypatch):
    run_pipeline(wine(), tmp_path, until="signals")
    monkeypatch.setattr(pipeline_train, "train_all", None)
    run_pipeline(wine(defence={"top_k": 1, "temperature": 2.0}), tmp_path)
    run_pipeline(wine(), tmp_path)
    assert len(list(tmp_path.glob("*/signals-*/phi"))) == 2
    assert len(list(tmp_path.glob("*/signals-*/correct"))) == 1


@pytest.mark.long
def test_mixup_sweeps_as_one_ensemble_and_keeps_models_from_being_sure(tmp_path):
    """Which need not hold up LiRA: on these data it is stronger under mixup."""
    run_pipeline(wine(sweep={"mixup": (0.0, 0.5, 1.0)}), tmp_path, until="signals")
    (keep,) = (np.load(path) for path in tmp_path.glob("splits-*/keep.npy"))
    member = []
    for alpha in (0.0, 0.5, 1.0):
        (folder,) = (path.parent for path in tmp_path.glob(f"wine-ann-mixup{alpha}/signals-*/phi"))
        member.append(trained.read_signal({"signals/phi": folder}, "phi")[keep].mean())
        (manifest,) = tmp_path.glob(f"wine-ann-mixup{alpha}/train-*/manifest.json")
        assert len(json.loads(manifest.read_text())["members"]) == (2 if alpha else 1)
    assert member[0] > member[1] + 1 > member[2] + 1
