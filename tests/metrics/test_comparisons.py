import numpy as np
import pytest
from scipy import stats
from scipy.stats import norm

from jaxsnn_mia import metrics
from jaxsnn_mia.metrics import bootstrap, comparisons
from tests.attacks import planted


def noisy(seed, noise_a, noise_b, S=16, N=300, leak=1.0):
    """(a, b, keep, unit, pair): one confidence seen through two noises. A member's N(1, 5 + noise^2) against a
    non-member's N(0, 5 + noise^2), so that each AUC has a closed form."""
    rng = np.random.default_rng(seed)
    keep = planted.pairs(S, N, seed)
    phi = planted.phi(keep, leak=leak, seed=seed + 10_000)[..., 0]
    a, b = (phi + noise * rng.normal(size=phi.shape) for noise in (noise_a, noise_b))
    return a, b, keep, np.arange(N), np.arange(S) // 2


def test_the_same_ranking_differs_by_nothing():
    a, _, *rest = noisy(0, 0, 0)
    assert comparisons.auc_difference(a, np.exp(a), *rest, replicates=50) == (0, 0, 0, 1)
    assert comparisons.tpr_difference(a, np.exp(a), *rest, 0.05, replicates=50) == (0, 0, 0, 1, 1, 1, 1)


def test_a_difference_is_that_of_the_paired_replicates():
    a, b, keep, unit, pair = noisy(0, 0, 1)
    a[2], keywords = np.nan, {"replicates": 60, "seed": 4, "valid_s": np.arange(16) // 2 != 1}
    drawn = [bootstrap.auc_replicates(scores, keep, unit, pair, **keywords) for scores in (a, b)]
    got = comparisons.auc_difference(a, b, keep, unit, pair, level=0.8, **keywords)
    each = [metrics.auc(scores, keep, keywords["valid_s"]) for scores in (a, b)]
    apart, value = drawn[0] - drawn[1], each[0] - each[1]
    assert got[:3] == pytest.approx((value, *bootstrap.interval(value, apart, 7, 0.8, least=-1)))
    assert got.p == comparisons.by_deviation(value, apart, 7)
    mirrored = comparisons.auc_difference(b, a, keep, unit, pair, level=0.8, **keywords)
    assert mirrored == pytest.approx((-got.difference, -got.high, -got.low, got.p))
    # what both share, the offsets of the examples and their noise, cancels
    other = bootstrap.auc_replicates(b, keep, unit, pair, **{**keywords, "seed": 5})
    assert np.std(drawn[0] - drawn[1]) < 0.8 * np.std(drawn[0] - other)


def test_a_tpr_difference_and_its_ratio_are_those_of_the_paired_replicates():
    a, b, *rest = noisy(0, 0, 3, leak=3.0)
    drawn = [bootstrap.tpr_replicates(scores, *rest, (0.05,), replicates=81, seed=4)[:, 0] for scores in (a, b)]
    got = comparisons.tpr_difference(a, b, *rest, 0.05, replicates=81, seed=4, level=0.9)
    tpr_a, tpr_b = (metrics.tpr_at_fpr(scores, rest[0], 0.05)[0] for scores in (a, b))
    away = stats.t.ppf(0.95, 7) * np.std(drawn[0] - drawn[1]) * np.sqrt(8 / 7)  # 8 pairs
    assert got[:3] == pytest.approx((tpr_a - tpr_b, tpr_a - tpr_b - away, tpr_a - tpr_b + away))
    # of 81 replicates the 5th and the 77th: 80 x .05 = 4 lie outside on each side
    assert got[4:] == pytest.approx((tpr_a / tpr_b, *np.sort(drawn[0] / drawn[1])[[4, 76]]))
    assert 1 < got.ratio_low < got.ratio < got.ratio_high
    assert got.p == pytest.approx(2 * stats.t.sf(got.difference / (away / stats.t.ppf(0.95, 7)), 7))
    assert np.isnan(comparisons.tpr_difference(a, b, *rest, 0.001, replicates=20)).all()


def test_a_ratio_to_nothing_is_infinite():
    keep = planted.pairs(6, 100)
    nothing, all_of_it = np.zeros(keep.shape), keep.astype(float)
    args = (keep, np.arange(100), np.arange(6) // 2, 0.1)
    got = comparisons.tpr_difference(all_of_it, nothing, *args, replicates=20)
    assert got == (1, 1, 1, 0.25, np.inf, np.inf, np.inf)  # three pairs of one sign
    got = comparisons.tpr_difference(nothing, nothing, *args, replicates=20)
    np.testing.assert_array_equal(got, (0, 0, 0, 1, np.nan, np.nan, np.nan))


@pytest.mark.parametrize("draws", [40, pytest.param(1000, marks=pytest.mark.long)])
def test_equal_attacks_are_told_apart_in_at_most_one_of_twenty_draws(draws):
    claims = sum(comparisons.auc_difference(*noisy(seed, 1, 1), replicates=99).p <= 0.05 for seed in range(draws))
    assert claims <= draws * (0.05 + 3 * np.sqrt(0.05 * 0.95 / draws))


@pytest.mark.long
@pytest.mark.parametrize("draws", [40, pytest.param(1000, marks=pytest.mark.long)])
def test_the_interval_covers_the_difference_of_the_closed_forms(draws):
    truth = norm.cdf(1 / np.sqrt(10)) - norm.cdf(1 / np.sqrt(18))
    covered = told_apart = 0
    for seed in range(draws):
        _, low, high, p = comparisons.auc_difference(*noisy(seed, 0, 2), replicates=99)
        covered += low <= truth <= high
        told_apart += p <= 0.05
    assert covered >= 0.93 * draws
    assert told_apart >= 0.75 * draws  # .78 of 1,000: with 8 pairs t has wide tails


# the 15 p-values of Benjamini and Hochberg 1995, section 3.2, of which Holm's method rejects 3
PUBLISHED = [
    *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459),
    *(0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
]


def test_holm_by_hand():
    adjusted = [0.04, 0.09, 0.09, 0.025, 0.9]  # ordered .005 x 5, .01 x 4, .03 x 3, .04 x 2 (raised), .9
    np.testing.assert_allclose(comparisons.holm([0.01, 0.04, 0.03, 0.005, 0.9]), adjusted)
    # what was not tested stays and counts as no test
    got = comparisons.holm([np.nan, 0.01, 0.04, np.nan, 0.03, 0.005, 0.9])
    np.testing.assert_allclose(got, [np.nan, *adjusted[:2], np.nan, *adjusted[2:]])
    assert (comparisons.holm(PUBLISHED) <= 0.05).sum() == 3
    order = np.random.default_rng(0).permutation(15)
    np.testing.assert_array_equal(comparisons.holm(np.array(PUBLISHED)[order]), comparisons.holm(PUBLISHED)[order])
    np.testing.assert_allclose(comparisons.holm([0.02, 0.02, 0.02]).std(), 0, atol=1e-12)  # equal ones stay equal
    np.testing.assert_allclose(comparisons.holm([0.02, 0.021]), [0.04, 0.04])  # .021 x 1 is below .02 x 2
    assert comparisons.holm([]).shape == (0,)


@pytest.mark.long
def test_the_best_of_many_null_attacks_is_at_one_half():
    """Chosen and reported on the same targets, the best of 20 attacks looks like a leak."""
    values, lucky = [], []
    for seed in range(40):
        rng, keep = np.random.default_rng(seed), planted.pairs(12, 100, seed)
        scores = {str(i): rng.normal(size=keep.shape) for i in range(20)}
        best = comparisons.strongest(scores, keep, np.arange(12) // 2, (0.1,))
        values.append([best["auc"].value, best[0.1].value])
        lucky.append(
            [
                max(metrics.auc(x, keep) for x in scores.values()),
                max(metrics.tpr_at_fpr(x, keep, 0.1)[0] for x in scores.values()),
            ]
        )
    error = np.std(values, 0) / np.sqrt(40)
    assert (abs(np.mean(values, 0) - [0.5, 0.1]) < 3 * error).all()
    assert (np.mean(lucky, 0) - [0.5, 0.1] > 6 * error).all()


def test_the_attack_that_works_is_chosen_and_keeps_its_value():
    rng, keep = np.random.default_rng(0), planted.pairs(14, 200)
    scores = {"null": rng.normal(size=keep.shape), "weak": rng.normal(size=keep.shape) + 0.3 * keep}
    scores["strong"] = rng.normal(size=keep.shape) + keep
    scores["strong"][4:6] = np.nan
    valid, pair = np.arange(14) // 2 != 2, np.arange(14) // 2
    best = comparisons.strongest(scores, keep, pair, (0.05, 0.001), valid)
    assert best["auc"][:2] == (pytest.approx(metrics.auc(scores["strong"], keep, valid)), ("strong", "strong"))
    assert metrics.auc(best["auc"].scores_sn, keep, valid) == pytest.approx(best["auc"].value)
    assert np.isnan(best["auc"].scores_sn[~valid]).all()
    first, second = (valid & np.isin(pair, half) for half in ((0, 3, 5), (1, 4, 6)))
    each = [metrics.tpr_at_fpr(scores["strong"], keep, 0.05, half)[0] for half in (first, second)]
    assert best[0.05][:2] == (pytest.approx(np.mean(each)), ("strong", "strong"))
    assert metrics.tpr_at_fpr(best[0.05].scores_sn, keep, 0.05, valid)[0] == pytest.approx(np.mean(each), abs=0.02)
    np.testing.assert_equal(best[0.001], (np.nan, (), None))


def test_each_half_is_attacked_by_the_choice_of_the_other():
    """a works on the first half of the pairs alone, b on the second: what was chosen fails where it is reported."""
    keep = planted.pairs(6, 100)
    first = np.array([True, True, False, False, True, True])[:, None]
    scores = {"a": np.where(first, keep, 0.0), "b": np.where(first, 0.0, keep)}
    best = comparisons.strongest(scores, keep, np.arange(6) // 2, ())
    assert best["auc"][:2] == (0.5, ("a", "b"))
    assert metrics.auc(best["auc"].scores_sn, keep) == 0.5
    # b at .75 everywhere else: 4 targets take b's, chosen on the second half, 2 take a's
    scores["b"] = np.where(first, keep & (np.cumsum(keep, 1) <= 25), keep)
    best = comparisons.strongest(scores, keep, np.arange(6) // 2, ())
    assert best["auc"][:2] == (pytest.approx((4 * 0.75 + 2 * 0.5) / 6), ("a", "b"))
    assert metrics.auc(best["auc"].scores_sn, keep) == pytest.approx(best["auc"].value)


KEEP = planted.pairs(6, 20)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: comparisons.strongest({}, KEEP, np.arange(6) // 2, ()), "0 attacks and 3 pairs"),
        (lambda: comparisons.strongest({"a": KEEP}, KEEP, np.zeros(6), ()), "1 attacks and 1 pairs"),
        (lambda: comparisons.holm([0.5, 1.5]), r"`p_m` must be \[M\] in \[0, 1\]"),
        (lambda: comparisons.holm(0.5), r"`p_m` must be \[M\] in \[0, 1\]"),
        (lambda: comparisons.auc_difference(KEEP, KEEP[:4], KEEP, np.arange(20), np.arange(6) // 2), "pair_s"),
        (lambda: comparisons.tpr_difference(KEEP, KEEP, KEEP, np.arange(20), np.arange(6), 1.5), r"`fpr` must be in"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
