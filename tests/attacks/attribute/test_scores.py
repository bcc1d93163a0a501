from itertools import product

import numpy as np
import pytest
from scipy.stats import norm

from jaxsnn_mia.attacks.attribute import advantage, columns
from jaxsnn_mia.attacks.attribute import scores as attribute_scores
from jaxsnn_mia.metrics import bootstrap
from jaxsnn_mia.signals import from_logits
from tests.attacks import loops, planted

SETTINGS = planted.settings(60)
PAIRED = SETTINGS["pairs"]
RNG = np.random.default_rng(3)
S, N, V, C = 12, 60, 3, 4
Y = RNG.integers(C, size=N)
LOGITS = PAIRED.diverged((2 * RNG.normal(size=(S, N, V, C))).astype(np.float32))
PRIOR = RNG.dirichlet(np.ones(V), N)
CONFUSION = RNG.dirichlet(np.ones(C), (S, C))
PHI = PAIRED.diverged(planted.uneven(PAIRED.keep, A=V, differ=0.8))
GIVEN = {
    "logits": LOGITS, "labels": Y, "prior": PRIOR, "confusion": CONFUSION, "phi": PHI, "keep": PAIRED.keep, "shadows": S
}  # fmt: skip


def attacked(name, given=GIVEN, partner_s=PAIRED.partner_s, valid_s=PAIRED.valid):
    attack = attribute_scores.ATTRIBUTE_ATTACKS[name]
    options = {"partner_s": partner_s} if "keep" in attack.needs else {}
    return attack.fn(*(given[need] for need in attack.needs), valid_s=valid_s, **options)


# the column


def test_a_discrete_column_has_its_sorted_values():
    values_v, code_n = columns.column(np.array([3, -1, 3, 7]))
    np.testing.assert_array_equal(values_v, [-1, 3, 7])
    np.testing.assert_array_equal(code_n, [1, 0, 1, 2])
    assert (values_v.dtype, code_n.dtype) == (np.float32, np.int64)
    assert len(columns.column(np.arange(32)).values_v) == 32


def test_bins_of_distinct_values_are_equally_full_and_represented_by_their_medians():
    values_n = RNG.permutation(np.arange(12.0)) ** 2
    values_v, code_n = columns.column(values_n, bins=4)
    np.testing.assert_array_equal(values_v, [1, 16, 49, 100])
    np.testing.assert_array_equal(code_n, np.sqrt(values_n) // 3)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("bins", range(2, 9))
def test_tied_values_share_a_bin_and_two_bins_are_left(sign, bins):
    values_n = sign * np.concatenate([np.zeros(90), np.arange(1.0, 11.0)])
    values_v, code_n = columns.column(values_n, bins)
    assert len(set(code_n[:90])) == 1
    assert 2 <= len(values_v) <= bins
    assert set(code_n) == set(range(len(values_v)))
    assert (np.diff(code_n[np.argsort(values_n)]) >= 0).all()
    np.testing.assert_array_equal(values_v, [np.median(values_n[code_n == v]) for v in range(len(values_v))])


@pytest.mark.parametrize(
    ("values", "bins", "match"),
    [
        (np.full(5, 2.0), 0, "at least 2 distinct values"),
        (np.full(5, 2.0), 3, "at least 2 distinct values"),
        (np.arange(33), 0, "at most 32 distinct"),
        (np.arange(5), 1, "`bins` must be 0"),
        (np.arange(5), -2, "`bins` must be 0"),
        ([1.0, np.nan], 0, "finite"),
        ([1.0, 1e300], 0, "finite"),
        ([[1.0], [2.0]], 0, r"\[N\]"),
    ],
)
def test_a_column_that_cannot_be_guessed_is_refused(values, bins, match):
    with pytest.raises(ValueError, match=match):
        columns.column(values, bins)


def test_queries_differ_in_the_column_alone():
    x_nd = np.arange(6.0).reshape(2, 3)
    got = columns.with_values(x_nd, 1, np.array([8, 9]))
    np.testing.assert_array_equal(got, [[[0, 8, 2], [0, 9, 2]], [[3, 8, 5], [3, 9, 5]]])
    assert got.dtype == np.float32
    for x, index, values in ((x_nd, 3, [1]), (x_nd, -1, [1]), (x_nd[0], 0, [1]), (x_nd, 0, [[1]])):
        with pytest.raises(ValueError, match="must be"):
            columns.with_values(x, index, values)


# imputation


def labelled(count, seed):
    """(x without the column [count, 2], labels of 4 classes, codes): the code is more often 1 for labels 0 and 3, and
    always 2 where the first column is above 1."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(count, 2)), rng.integers(4, size=count)
    code = (rng.random(count) < np.array([0.9, 0.2, 0.2, 0.9])[y]).astype(int)
    return x, y, np.where(x[:, 0] > 1, 2, code)


def test_imputation_learns_from_the_other_columns_and_from_the_label_as_a_category():
    x_z, y_z, code_z = labelled(3000, 0)
    x, y, code = labelled(400, 1)
    got = columns.imputation(x_z, y_z, code_z, x, y, 3)
    np.testing.assert_allclose(got.sum(1), 1)
    assert got[x[:, 0] > 1.05, 2].min() > 0.9
    assert (got.argmax(1) == code).mean() > 0.84  # the best is .88
    nothing = np.zeros((3000, 0))
    alone = columns.imputation(nothing, y_z, code_z, nothing[:4], np.arange(4), 3)
    share = np.array([[np.mean(code_z[y_z == c] == v) for v in range(3)] for c in range(4)])
    np.testing.assert_allclose(alone, share, atol=0.02)


def test_values_that_the_population_lacks_get_the_smoothed_marginal():
    x_z, y_z, code_z = labelled(80, 0)
    x, y, _ = labelled(10, 1)
    whole = columns.imputation(x_z, y_z, code_z, x, y, 3)
    got = columns.imputation(x_z, y_z, np.array([0, 2, 3])[code_z], x, y, 5)
    np.testing.assert_allclose(got[:, [1, 4]], 1 / 85)
    np.testing.assert_allclose(got[:, [0, 2, 3]], whole * 83 / 85)
    one = columns.imputation(x_z, y_z, np.full(80, 1), x, np.full(10, 7), 3)
    np.testing.assert_allclose(one, np.broadcast_to([1 / 83, 81 / 83, 1 / 83], (10, 3)))


def test_imputation_depends_on_the_population_alone_and_is_the_same_again():
    x_z, y_z, code_z = labelled(200, 0)
    x, y, _ = labelled(50, 1)
    got = columns.imputation(x_z, y_z, code_z, x, y, 3)
    others, labels = np.concatenate([x[:20], 5 + x[20:]]), np.concatenate([y[:20], np.full(30, 9)])
    again = columns.imputation(x_z, y_z, code_z, others, labels, 3)
    np.testing.assert_array_equal(again[:20], got[:20])
    assert np.isfinite(again).all()
    assert np.abs(again[20:] - got[20:]).max() > 0.1


def test_the_numbers_of_the_labels_mean_nothing_and_an_unknown_one_goes_with_the_many():
    rng = np.random.default_rng(5)
    y_z, y, renamed = rng.integers(20, size=900), np.arange(20), rng.permutation(20)
    code_z = (rng.random(900) < 0.1 + 0.8 * rng.random(20)[y_z]).astype(int)
    got, again = (
        columns.imputation(np.zeros((900, 0)), a, code_z, np.zeros((20, 0)), b, 2)
        for a, b in ((y_z, y), (renamed[y_z], renamed[y]))
    )
    np.testing.assert_allclose(again, got, atol=1e-6)
    rare_z = np.arange(900) % 20 == 0
    got = columns.imputation(np.zeros((900, 0)), 1 - rare_z, rare_z * 1, np.zeros((3, 0)), np.array([0, 1, 9]), 2)
    np.testing.assert_allclose(got[0, 1], 1, atol=0.1)
    np.testing.assert_allclose(got[1:, 1], 0, atol=0.1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"x_z": np.zeros((0, 2)), "y_z": Y[:0], "code_z": Y[:0]}, "population"),
        ({"y_z": Y[:9]}, r"`y_z` and `code_z` \[Z\]"),
        ({"x_n": np.zeros((4, 3))}, "like `x_zd_without`"),
        ({"y_n": Y[:3]}, r"`y_n` \[N\]"),
        ({"x_n": np.full((4, 2), np.inf)}, "finite"),
        ({"code_z": np.full(10, 3)}, r"int in \[0, 3\)"),
        ({"code_z": np.full(10, 0.5)}, r"int in \[0, 3\)"),
    ],
)
def test_imputation_refuses(change, match):
    given = {
        "x_z": np.zeros((10, 2)),
        "y_z": Y[:10],
        "code_z": np.arange(10) % 3,
        "x_n": np.zeros((4, 2)),
        "y_n": Y[:4],
    }
    with pytest.raises(ValueError, match=match):
        columns.imputation(*(given | change).values(), 3)


# attacks


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


# planted leaks


def right(name, phi_snv, keep, code_n, prior):
    """guess == code [S, N] with logits of two classes that have these logit confidences in y."""
    y = np.arange(len(code_n)) % 2
    half = np.where(y == 1, 0.5, -0.5).astype(np.float32)[None, :, None] * phi_snv
    logits = np.stack([-half, half], -1)
    prior_nv = np.broadcast_to(prior, (len(code_n), len(prior)))
    confusion = np.broadcast_to([[0.9, 0.1], [0.1, 0.9]], (len(keep), 2, 2))
    given = {"logits": logits, "labels": y, "prior": prior_nv, "confusion": confusion, "keep": keep}
    given |= {"phi": from_logits.logit_confidence(logits, y), "shadows": len(keep)}
    scores = attacked(name, given, np.arange(len(keep)) ^ 1, None)
    return attribute_scores.guess(scores, prior_nv) == code_n


def test_a_raised_confidence_in_the_true_value_is_found_as_often_as_planted():
    """Of two normal confidences the members' true one is `shift` higher; membership takes the mean of others off."""
    S, N, shift = 24, 2000, 1.5
    keep, rng = planted.pairs(S, N), np.random.default_rng(0)
    code = rng.integers(2, size=N)
    true = np.arange(2) == code[:, None]
    phi = (rng.normal(size=(S, N, 2)) + shift * keep[..., None] * true).astype(np.float32)
    for name, variance in (("confidence", 1.0), ("membership", 1 + 1 / (S // 2 - 1))):
        found = advantage.advantage(right(name, phi, keep, code, [0.5, 0.5]), keep)
        assert found.member_n.mean() == pytest.approx(norm.cdf(shift / np.sqrt(2 * variance)), abs=0.01)
        assert found.other_n.mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", ["label_only", "fredrikson"])
def test_a_true_value_that_is_always_labelled_right_is_found_as_often_as_planted(name):
    """Each value gets its label right by a fair coin, the members' true one always: the share by all 2^V cases."""
    S, N, prior = 16, 3000, np.array([0.4, 0.35, 0.25])
    keep, rng = planted.pairs(S, N), np.random.default_rng(0)
    code = rng.integers(3, size=N)
    true = np.arange(3) == code[:, None]
    says_y = (rng.random((S, N, 3)) < 0.5) | (keep[..., None] & true)
    found = advantage.advantage(right(name, np.where(says_y, 1, -1).astype(np.float32), keep, code, prior), keep)

    def share(always):
        hits = []
        for value, coins in product(range(3), product((0, 1), repeat=3)):
            said = [coin or (always and v == value) for v, coin in enumerate(coins)]
            hits.append(max(range(3), key=lambda v: (said[v], prior[v])) == value)
        return np.mean(hits)

    assert found.member_n.mean() == pytest.approx(share(True), abs=0.012)
    assert found.other_n.mean() == pytest.approx(share(False), abs=0.012)


def test_noise_makes_a_guess_of_a_skewed_column_worse_than_the_prior():
    keep, rng = planted.pairs(6, 2000), np.random.default_rng(0)
    code = (rng.random(2000) < 0.3).astype(int)
    phi = (2 * rng.normal(size=(6, 2000, 2))).astype(np.float32)
    got = right("confidence", phi, keep, code, [0.7, 0.3])
    assert got.mean() < (code == 0).mean() - 0.05
    assert (right("imputed", phi, keep, code, [0.7, 0.3]) == (code == 0)).all()


# statistics


def random_guesses(S=8, N=20, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((S, N)) < 0.6, rng.random(N) < 0.5, planted.pairs(S, N, seed)


def test_an_advantage_is_counted_over_valid_models():
    correct, _, keep = random_guesses()
    valid = np.arange(8) // 2 != 1
    got = advantage.advantage(correct, keep, valid)
    for n in range(20):
        inside, outside = (
            [correct[s, n] for s in range(8) if valid[s] and keep[s, n] == side] for side in (True, False)
        )
        assert got.member_n[n] == np.mean(inside)
        assert got.other_n[n] == np.mean(outside)
    everywhere = advantage.advantage(correct, np.ones_like(keep))
    assert np.isnan(everywhere.other_n).all()


@pytest.mark.parametrize("paired", [True, False])
def test_a_summary_is_that_of_repeated_examples_and_models(paired):
    correct, imputed, keep = random_guesses()
    unit, pair = np.arange(20) // 2, np.arange(8) // (2 if paired else 1)
    if not paired:
        keep = np.random.default_rng(1).random((8, 20)) < 0.4
    got = advantage.summary(correct, imputed, keep, unit_n=unit, pair_s=pair, replicates=30, seed=4, level=0.8)
    weight_nr, weight_sr = bootstrap.crossed_weights(unit, pair, 30, 4)
    weight_nr = np.concatenate([np.ones((20, 1)), weight_nr], 1).astype(int)
    weight_sr = np.concatenate([np.ones((8, 1)), weight_sr], 1).astype(int)
    rows = []
    for r in range(31):
        at = np.ix_(np.repeat(np.arange(8), weight_sr[:, r]), np.repeat(np.arange(20), weight_nr[:, r]))
        c, k, i = correct[at], keep[at], np.broadcast_to(imputed, keep.shape)[at]
        assert not paired or i[k].mean() == i[~k].mean()
        member, other = c[k].mean(), c[~k].mean()
        rows.append([member, other, i.mean(), member - i[k].mean(), other - i[~k].mean(), member - other])
    value, drawn = rows[0], np.array(rows[1:])
    low, high = np.percentile(drawn, [10, 90], axis=0)
    np.testing.assert_allclose([e[:3] for e in got.values()], np.stack([value, low, high], 1))
    np.testing.assert_allclose([e.replicates for e in got.values()], drawn.T)
    found = advantage.advantage(correct, keep)
    assert not paired or got["member_over_other"].value == pytest.approx((found.member_n - found.other_n).mean())


def test_the_baseline_has_no_advantage_on_members_for_any_example():
    _, imputed, keep = random_guesses()
    same = np.broadcast_to(imputed, keep.shape)
    found = advantage.advantage(same, keep)
    np.testing.assert_array_equal(found.member_n, found.other_n)
    got = advantage.summary(same, imputed, keep, unit_n=np.arange(20), pair_s=np.arange(8) // 2, replicates=50)
    for name in ("member_over_imputation", "other_over_imputation", "member_over_other"):
        np.testing.assert_allclose(got[name][:3], 0, atol=1e-12)


def test_a_pair_with_a_diverged_shadow_is_left_out():
    correct, imputed, keep = random_guesses()
    rest = np.arange(8) // 2 != 2
    pair = np.arange(8) // 2
    options = {"unit_n": np.arange(20), "replicates": 50}
    got = advantage.summary(correct, imputed, keep, pair_s=pair, valid_s=np.arange(8) != 5, **options)
    without = advantage.summary(correct[rest], imputed, keep[rest], pair_s=pair[rest], **options)
    whole = advantage.summary(correct, imputed, keep, pair_s=pair, **options)
    assert [e[:3] for e in got.values()] == [e[:3] for e in without.values()] != [e[:3] for e in whole.values()]


def test_intervals_cover_zero_where_the_column_is_independent_of_everything():
    covered = dict.fromkeys(("member_over_imputation", "other_over_imputation", "member_over_other"), 0)
    draws, S = 120, 8
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        keep, code, prior = planted.pairs(S, N, seed), rng.integers(2, size=N), [0.5, 0.5]
        phi = (rng.normal(size=(1, N, 2)) + rng.normal(size=(S, N, 2))).astype(np.float32)
        got = advantage.summary(
            right("confidence", phi, keep, code, prior), right("imputed", phi, keep, code, prior)[0], keep,
            unit_n=np.arange(N), pair_s=np.arange(S) // 2, replicates=200, seed=seed,
        )  # fmt: skip
        for name in covered:
            covered[name] += got[name].low <= 0 <= got[name].high
    assert min(covered.values()) >= 0.9 * draws
    assert covered["member_over_imputation"] < draws  # not so wide that it says nothing


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"correct": np.ones((8, 20))}, "boolean"),
        ({"keep": planted.pairs(8, 10)}, "boolean"),
        ({"imputed": np.ones(5, bool)}, "`imputed_n`"),
        ({"unit_n": np.arange(3)}, "`unit_n`"),
        ({"pair_s": np.arange(3)}, "`pair_s`"),
        ({"pair_s": np.zeros(8, int)}, "at least 2 pairs"),
        ({"valid_s": np.arange(8) < 3}, "at least 2 pairs"),
        ({"level": 95}, "`level`"),
    ],
)
def test_a_summary_of_arrays_that_do_not_fit_is_refused(change, match):
    correct, imputed, keep = random_guesses()
    given = {"correct": correct, "imputed": imputed, "keep": keep, "unit_n": np.arange(20), "pair_s": np.arange(8) // 2}
    correct, imputed, keep, *rest = (given | change).values()
    options = dict(zip(list(given | change)[3:], rest, strict=True))
    with pytest.raises(ValueError, match=match):
        advantage.summary(correct, imputed, keep, **options)


def test_others_are_put_into_the_bins_of_the_population():
    rng = np.random.default_rng(0)
    values = rng.normal(size=200).astype(np.float32)
    column = columns.column(values, 4)
    np.testing.assert_array_equal(columns.binned(column, values, values), column.code_n)
    code = columns.binned(column, values, np.array([-99, 99, *column.values_v]))
    np.testing.assert_array_equal(code, [0, 3, 0, 1, 2, 3])


# from the table to the interval


def audited(logits_of, seed=0, Z=60):
    """{attack: summary}, for models logits_of(keep_sn, x_nd, y_n, x_md) -> [S, M, 2] on a table whose last column is
    independent of the others and of the label."""
    rng = np.random.default_rng(seed)
    table, y = rng.normal(size=(N + Z, 3)), rng.integers(2, size=N + Z)
    table[:, 2] = rng.integers(3, size=N + Z)
    values_v, code = columns.column(table[:, 2])
    keep = planted.pairs(S, N, seed)
    prior = columns.imputation(table[N:, :2], y[N:], code[N:], table[:N, :2], y[:N], 3)
    queries = columns.with_values(table[:N], 2, values_v).reshape(-1, 3)
    models = keep, table[:N], y[:N]
    logits = logits_of(*models, queries).reshape(S, N, 3, 2).astype(np.float32)
    given = {"logits": logits, "labels": y[:N], "prior": prior, "keep": keep, "shadows": S}
    given["confusion"] = attribute_scores.confusion(logits_of(*models, table[N:]), y[N:])
    given["phi"] = from_logits.logit_confidence(logits, y[:N])
    correct = {
        name: attribute_scores.guess(attacked(name, given, np.arange(S) ^ 1, None), prior) == code[:N]
        for name in attribute_scores.ATTRIBUTE_ATTACKS
    }
    options = {"unit_n": np.arange(N), "pair_s": np.arange(S) // 2}
    return {name: advantage.summary(c, correct["imputed"][0], keep, **options) for name, c in correct.items()}


def random_weights(keep, x, y, queries):
    rng = np.random.default_rng(8)
    hidden = np.maximum(queries @ rng.normal(size=(len(keep), 3, 16)), 0)
    return hidden @ rng.normal(size=(len(keep), 16, 2))


def memory(keep, x, y, queries):
    """The log density of the training examples of each class."""
    near = np.exp(-8 * ((queries[:, None] - x[None]) ** 2).sum(-1))
    return np.log(1e-3 + near @ (keep[:, :, None] * np.eye(2)[y]))


def test_models_that_never_trained_leak_nothing():
    for name, got in audited(random_weights).items():
        assert got["member_over_other"].low <= 0 <= got["member_over_other"].high, name


def test_models_that_remember_give_their_members_values_away():
    got = audited(memory)
    for name in ("label_only", "confidence", "membership"):
        assert got[name]["member_over_other"].low > 0.1, name
        assert got[name]["member_over_imputation"].low > 0.1, name
    for name in ("confidence", "membership"):
        assert got[name]["other_over_imputation"].low <= 0 <= got[name]["other_over_imputation"].high
    assert got["membership"]["member"].value > got["confidence"]["member"].value > 0.5
    # labels are random, so on the population a prediction says nothing of the label, and what it remembers is not asked
    assert got["fredrikson"]["member_over_other"].high < 0.2
    assert got["imputed"]["member_over_other"][:3] == pytest.approx((0, 0, 0), abs=1e-12)
