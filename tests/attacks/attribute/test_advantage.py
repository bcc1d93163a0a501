import numpy as np
import pytest
from scipy import stats

from jaxsnn_mia.attacks.attribute import advantage, columns
from jaxsnn_mia.attacks.attribute import scores as attribute_scores
from jaxsnn_mia.metrics import bootstrap
from jaxsnn_mia.signals import from_logits
from tests.attacks import planted
from tests.attacks.attribute.guesses import N, S, attacked, right


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
    away = stats.t.ppf(0.9, pair[-1]) * drawn.std(0) * np.sqrt((pair[-1] + 1) / pair[-1])
    np.testing.assert_allclose([e[:3] for e in got.values()], np.stack([value, value - away, value + away], 1))
    np.testing.assert_allclose([e.replicates for e in got.values()], drawn.T)
    each = advantage.advantage(correct, keep)
    assert not paired or got["member_over_other"].value == pytest.approx((each.member_n - each.other_n).mean())


def test_the_baseline_has_no_advantage_on_members_for_any_example():
    _, imputed, keep = random_guesses()
    same = np.broadcast_to(imputed, keep.shape)
    each = advantage.advantage(same, keep)
    np.testing.assert_array_equal(each.member_n, each.other_n)
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


@pytest.mark.parametrize("draws", [60, pytest.param(120, marks=pytest.mark.long)])
def test_intervals_cover_zero_where_the_column_is_independent_of_everything(draws):
    covered = dict.fromkeys(("member_over_imputation", "other_over_imputation", "member_over_other"), 0)
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        keep, code, prior = planted.pairs(8, N, seed), rng.integers(2, size=N), [0.5, 0.5]
        phi = (rng.normal(size=(1, N, 2)) + rng.normal(size=(8, N, 2))).astype(np.float32)
        got = advantage.summary(
            right("confidence", phi, keep, code, prior), right("imputed", phi, keep, code, prior)[0], keep,
            unit_n=np.arange(N), pair_s=np.arange(8) // 2, replicates=200, seed=seed,
        )  # fmt: skip
        for name in covered:
            covered[name] += got[name].low <= 0 <= got[name].high
    assert min(covered.values()) >= 0.9 * draws
    widest = max(estimate.high - estimate.low for name, estimate in got.items() if name in covered)
    assert widest < 0.75  # of 2: not so wide that it says nothing


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


@pytest.mark.long
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
