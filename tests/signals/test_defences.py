"""Coarser answers, temperature, top-k and rounding, do what they say, and no more."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxsnn_mia import attacks
from jaxsnn_mia.models import Hyper, Output
from jaxsnn_mia.signals import catalogue
from jaxsnn_mia.signals.defences import UNDEFENDED, Defence, released
from jaxsnn_mia.signals.from_logits import logit_confidence
from tests.attacks import planted
from tests.training.one_model import D, X, Y

LOGITS = np.random.default_rng(1).normal(scale=4, size=(200, 10)).astype(np.float32)
release = jax.jit(released, static_argnums=1)


@functools.partial(jax.jit, static_argnums=2)
def confidence(logits, y, defence):
    return logit_confidence(released(logits, defence), y)


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
    out = np.asarray(release(LOGITS, defence), np.float64)
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


@pytest.mark.parametrize("digits", [1, 3])
def test_rounded_probabilities_lie_on_the_grid(digits):
    logits = np.concatenate([LOGITS[:100], 50 * LOGITS[:99], np.zeros_like(LOGITS[:1])])
    got = np.exp(np.asarray(release(logits, Defence(round_digits=digits)), np.float64))
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
    phi, defended = (np.asarray(confidence(LOGITS[:, None], y, d)) for d in (UNDEFENDED, Defence(top_k=2)))
    np.testing.assert_allclose(defended, phi, rtol=1e-4, atol=1e-4)
    two = LOGITS[:, None, :2]
    phi, cooler = (np.asarray(confidence(two, y % 2, d)) for d in (UNDEFENDED, Defence(temperature=5.0)))
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
        return catalogue.Query(names, 1, defence)(apply, {"params": kernel}, X, Y, Hyper(), jax.random.key(0))

    bare, defended = map(jax.device_get, jax.jit(lambda: (asked(UNDEFENDED), asked(defence)))())
    assert set(catalogue.PAST_DEFENCE) <= {*names, *catalogue.ACROSS}
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
    keep = planted.pairs(12, 30)  # the shape of the attacks' own tests
    logits = rng.normal(scale=2, size=(12, 30, 2, 4)).astype(np.float32)
    y = np.zeros(30, int)
    for alike in (15, 30):
        logits[:, :alike, :, 0] = 12 + np.arange(12)[:, None, None]
        phi = np.asarray(confidence(logits, y, Defence(round_digits=1)))
        assert (np.ptp(phi[:, :alike], axis=0) == 0).all()
        logp = -np.logaddexp(0, -phi)
        given = {"phi": phi, "keep": keep, "logp": logp, "logp_population": logp}
        for name in names:
            options = {"partner_s": np.arange(12) ^ 1} if "keep" in attacks.ATTACKS[name].needs else {}
            scores = attacks.ATTACKS[name].fn(*(given[need] for need in attacks.ATTACKS[name].needs), **options)
            assert np.isfinite(scores).all(), name
