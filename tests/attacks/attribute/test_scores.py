from itertools import product

import numpy as np
import pytest
from scipy.stats import norm

from jaxsnn_mia.attacks.attribute import advantage
from jaxsnn_mia.attacks.attribute import scores as attribute_scores
from tests.attacks import loops, planted
from tests.attacks.attribute.guesses import (
    CONFUSION,
    GIVEN,
    LOGITS,
    PAIRED,
    PHI,
    PRIOR,
    RNG,
    SETTINGS,
    C,
    N,
    S,
    V,
    Y,
    attacked,
    right,
)  # fmt: skip


def each(of):
    """[S, N, V] of of(s, n, v), NaN for the shadow that has diverged."""
    shape = (S, N, V)
    values = [of(s, n, v) if PAIRED.valid[s] else np.nan for s, n, v in product(*map(range, shape))]
    return np.reshape(values, shape)


def softmax(z):
    return np.exp(z.astype(float)) / np.exp(z.astype(float)).sum()


LOOPS = {
    "imputed": lambda s, n, v: np.log(PRIOR[n, v]),
    "label_only": lambda s, n, v: PRIOR[n, v] + (2 if max(range(C), key=lambda c: LOGITS[s, n, v, c]) == Y[n] else 0),
    "confidence": lambda s, n, v: np.log(PRIOR[n, v] * softmax(LOGITS[s, n, v])[Y[n]]),
    "fredrikson": lambda s, n, v: np.log(PRIOR[n, v] * CONFUSION[s, np.argmax(LOGITS[s, n, v]), Y[n]]),
}


@pytest.mark.parametrize("name", LOOPS)
def test_an_attack_on_the_target_alone_equals_its_loop(name):
    got = attacked(name)
    assert (got.dtype, got.shape) == (np.float32, (S, N, V))
    np.testing.assert_allclose(got, each(LOOPS[name]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["pairs", "alone"])
def test_membership_equals_its_loop_whoever_is_compared(name):
    setting = SETTINGS[name]
    phi = setting.diverged(planted.uneven(setting.keep, A=V, differ=0.8))
    got = attribute_scores.membership(phi, setting.keep, PRIOR, **setting.options)
    loop = loops.lira_shrinkage("offline")
    z = [loops.each(loop, phi[:, :, v : v + 1], setting) for v in range(V)]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, np.log(PRIOR) + np.stack(z, -1), rtol=1e-5, atol=5e-6)


def test_membership_never_looks_at_the_partner_or_at_models_that_trained_on_the_example():
    keep, partner = planted.pairs(12, N), np.arange(12) ^ 1
    phi = planted.phi(keep, A=V)
    got = attribute_scores.membership(phi, keep, PRIOR, partner_s=partner, variance="per_example")
    changed = np.where(keep[..., None], phi + 50, phi)
    changed[0], changed[1] = phi[0], 99.0  # the target, and its partner
    again = attribute_scores.membership(changed, keep, PRIOR, partner_s=partner, variance="per_example")
    np.testing.assert_allclose(again[0], got[0], rtol=1e-4, atol=1e-4)


@pytest.mark.long
def test_six_shadows_leave_two():
    keep = planted.pairs(6, 8)
    phi = planted.phi(keep, A=2)
    prior = np.full((8, 2), 0.5)
    got = attribute_scores.membership(phi, keep, prior, partner_s=np.arange(6) ^ 1, variance="per_example")
    for s, n, v in product(range(6), range(8), range(2)):
        out = [phi[t, n, v] for t in range(6) if t not in (s, s ^ 1) and not keep[t, n]]
        assert len(out) == 2
        if np.std(out) > 0.2:  # else the floor
            assert got[s, n, v] == pytest.approx((phi[s, n, v] - np.mean(out)) / np.std(out) + np.log(0.5), rel=1e-4)


@pytest.mark.parametrize("name", attribute_scores.ATTRIBUTE_ATTACKS)
def test_permuted_values_have_permuted_scores(name):
    order = np.array([2, 0, 1])
    permuted = GIVEN | {"logits": LOGITS[:, :, order], "phi": PHI[:, :, order], "prior": PRIOR[:, order]}
    np.testing.assert_array_equal(attacked(name, permuted), attacked(name)[..., order])


def test_the_confusion_is_of_labels_given_predictions():
    logits, y = RNG.normal(size=(2, 50, 3)), RNG.integers(3, size=50)
    want = np.ones((2, 3, 3))
    for s in range(2):
        for z in range(50):
            want[s, np.argmax(logits[s, z]), y[z]] += 1
    got = attribute_scores.confusion(logits, y)
    np.testing.assert_allclose(got, want / want.sum(-1, keepdims=True))
    np.testing.assert_allclose(attribute_scores.confusion(logits[:, :0], y[:0]), 1 / 3)


def test_the_highest_score_is_guessed_then_the_prior_then_the_first():
    prior = np.array([[0.2, 0.5, 0.3], [0.3, 0.4, 0.3], [0.2, 0.4, 0.4]])
    scores = np.array([[[2.0, 1.0, 2.0], [1.0, 0.0, 1.0], [5.0, 5.0, 5.0]], np.full((3, 3), np.nan)])
    np.testing.assert_array_equal(attribute_scores.guess(scores, prior), [[2, 0, 1], [-1, -1, -1]])


def test_a_value_that_cannot_be_is_never_guessed():
    prior = np.array([[0.0, 0.5, 0.5]] * N)
    for name in attribute_scores.ATTRIBUTE_ATTACKS:
        if name != "label_only":  # there a value with prediction y beats all others
            guess_sn = attribute_scores.guess(attacked(name, GIVEN | {"prior": prior}), prior)
            assert (guess_sn[PAIRED.usable] > 0).all()


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("confidence", {"logits": LOGITS[..., 0]}, r"\[S, N, V, C\]"),
        ("confidence", {"labels": Y[:5]}, "a label for each example"),
        ("label_only", {"labels": Y + 1}, r"int in \[0, 4\)"),
        ("label_only", {"labels": Y * 1.0}, r"int in \[0, 4\)"),
        ("fredrikson", {"prior": PRIOR[:, :2]}, r"`prior_nv` must be \[N, V\]"),
        ("fredrikson", {"prior": PRIOR * 2}, "sum to 1"),
        ("confidence", {"prior": PRIOR - [[1, -1, 0]]}, "probabilities"),
        ("fredrikson", {"confusion": CONFUSION[:3]}, "`confusion_scc`"),
        ("membership", {"prior": PRIOR[:, :2]}, r"`prior_nv` must be \[N, V\]"),
        ("membership", {"keep": PAIRED.keep * 1}, "boolean"),
        ("confidence", {"logits": np.full_like(LOGITS, np.nan)}, "must be finite"),
        ("membership", {"phi": np.full_like(PHI, np.nan)}, "must be finite"),
        ("imputed", {"shadows": 5}, "`valid_s`"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name, change, match):
    with pytest.raises(ValueError, match=match):
        attacked(name, GIVEN | change)


@pytest.mark.parametrize("name", ["confidence", pytest.param("membership", marks=pytest.mark.long)])
def test_a_raised_confidence_in_the_true_value_is_found_as_often_as_planted(name):
    """Of two normal confidences the members' true one is `shift` higher; membership takes the mean of others off."""
    S, N, shift = 12, 4000, 1.5
    keep, rng = planted.pairs(S, N), np.random.default_rng(0)
    code = rng.integers(2, size=N)
    true = np.arange(2) == code[:, None]
    phi = (rng.normal(size=(S, N, 2)) + shift * keep[..., None] * true).astype(np.float32)
    variance = 1.0 if name == "confidence" else 1 + 1 / (S // 2 - 1)
    got = advantage.advantage(right(name, phi, keep, code, [0.5, 0.5]), keep)
    assert got.member_n.mean() == pytest.approx(norm.cdf(shift / np.sqrt(2 * variance)), abs=0.01)
    assert got.other_n.mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", ["label_only", "fredrikson"])
def test_a_true_value_that_is_always_labelled_right_is_found_as_often_as_planted(name):
    """Each value gets its label right by a fair coin, the members' true one always: the share by all 2^V cases."""
    S, N, prior = 16, 3000, np.array([0.4, 0.35, 0.25])
    keep, rng = planted.pairs(S, N), np.random.default_rng(0)
    code = rng.integers(3, size=N)
    true = np.arange(3) == code[:, None]
    says_y = (rng.random((S, N, 3)) < 0.5) | (keep[..., None] & true)
    got = advantage.advantage(right(name, np.where(says_y, 1, -1).astype(np.float32), keep, code, prior), keep)

    def share(always):
        hits = []
        for value, coins in product(range(3), product((0, 1), repeat=3)):
            said = [coin or (always and v == value) for v, coin in enumerate(coins)]
            hits.append(max(range(3), key=lambda v: (said[v], prior[v])) == value)
        return np.mean(hits)

    assert got.member_n.mean() == pytest.approx(share(True), abs=0.012)
    assert got.other_n.mean() == pytest.approx(share(False), abs=0.012)


def test_noise_makes_a_guess_of_a_skewed_column_worse_than_the_prior():
    keep, rng = planted.pairs(12, 4000), np.random.default_rng(0)  # as above: compiled once
    code = (rng.random(4000) < 0.3).astype(int)
    phi = (2 * rng.normal(size=(12, 4000, 2))).astype(np.float32)
    got = right("confidence", phi, keep, code, [0.7, 0.3])
    assert got.mean() < (code == 0).mean() - 0.05
    assert (right("imputed", phi, keep, code, [0.7, 0.3]) == (code == 0)).all()
