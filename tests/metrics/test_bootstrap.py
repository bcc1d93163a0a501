import numpy as np
import pytest
from scipy import stats
from scipy.stats import norm

from jaxsnn_mia import metrics
from jaxsnn_mia.metrics import bootstrap, roc_curve
from tests.attacks import loops, planted


def test_the_weighted_auc_is_the_auc_of_repeated_examples():
    rng = np.random.default_rng(0)
    scores, member = rng.integers(8, size=40).astype(float), rng.random(40) < 0.5
    weight = rng.integers(0, 3, (40, 300)).astype(np.float32)
    got = bootstrap.weighted_auc(scores, member, weight)
    for r in (0, 150, 299):
        copies = np.repeat(np.arange(40), weight[:, r].astype(int))
        assert got[r] == pytest.approx(loops.auc(scores[copies], member[copies]))


def test_the_weighted_tpr_is_the_tpr_of_repeated_rows():
    rng = np.random.default_rng(0)
    member = planted.pairs(6, 200)
    scores = (rng.normal(size=(6, 200)) + member).round(1)
    weight_sr = np.array([[2.0], [2.0], [0.0], [0.0], [1.0], [1.0]])
    weight_nr = rng.integers(0, 3, (200, 1)).astype(float)
    order = np.argsort(-scores, axis=None, kind="stable")
    got, whole = bootstrap.weighted_tpr(scores, member, order, weight_sr, weight_nr, (0.05, 0.2))
    rows = np.repeat(np.arange(6), weight_sr[:, 0].astype(int))
    columns = np.repeat(np.arange(200), weight_nr[:, 0].astype(int))
    repeated = scores[np.ix_(rows, columns)].ravel(), member[np.ix_(rows, columns)].ravel()
    assert whole
    assert got[0] == pytest.approx([metrics.tpr_at_fpr(*repeated, fpr)[0] for fpr in (0.05, 0.2)])
    top, reached = bootstrap.weighted_tpr(scores, member, order[:600], weight_sr, weight_nr, (0.05, 0.2))
    assert reached
    np.testing.assert_allclose(top, got)


def test_accuracy_intervals_cover_what_new_examples_would_give():
    """Examples differ in difficulty, so resampling shadows alone would be far too narrow."""
    rng, covered = np.random.default_rng(0), 0
    keep = planted.pairs(16, 200)
    for _ in range(100):
        correct = rng.random((16, 200)) < rng.beta(0.5, 0.2, 200)
        drawn = bootstrap.crossed_mean(correct, keep, np.arange(200), np.arange(16) // 2, replicates=200)
        low, high = bootstrap.percentiles(drawn, 0.95)
        covered += low <= 0.5 / 0.7 <= high
    assert covered >= 90


def simulated(leak, seed, S=16, N=300):
    """Scores of S targets that share examples and shadows: LiRA on planted confidences."""
    from jaxsnn_mia.attacks import lira

    keep = planted.pairs(S, N, seed)
    phi = planted.phi(keep, leak=leak, seed=seed + 10_000)
    return lira.score(phi, keep, partner_s=np.arange(S) ^ 1, variance="pooled"), keep


def test_random_membership_gives_an_interval_that_covers_one_half():
    covered = 0
    for seed in range(24):
        scores, keep = simulated(0.0, seed)
        low, high = bootstrap.crossed_auc(scores, keep, np.arange(300), np.arange(16) // 2, replicates=100)
        covered += low <= 0.5 <= high
    assert covered >= 23  # nominal 22.8; the crossed bootstrap is conservative


def test_the_interval_excludes_chance_where_there_is_a_leak():
    scores, keep = simulated(1.0, 0)
    low, high = bootstrap.crossed_auc(scores, keep, np.arange(300), np.arange(16) // 2)
    assert 0.6 < low < metrics.auc(scores, keep) < high < 0.85
    (low, high), unresolved = bootstrap.crossed_tpr(scores, keep, np.arange(300), np.arange(16) // 2, (0.05, 0.001))
    assert 0.05 < low < metrics.tpr_at_fpr(scores, keep, 0.05)[0] < high < 0.5
    assert np.isnan(unresolved).all()


def test_duplicates_are_one_unit_and_diverged_targets_are_left_out():
    weight = bootstrap.multinomial(np.random.default_rng(0), np.array([5, 5, 7, 9]), 50)
    np.testing.assert_array_equal(weight[0], weight[1])
    assert (weight[1:].sum(0) == 3).all()
    scores, keep = simulated(1.0, 0)
    broken = scores.copy()
    broken[:2] = np.nan
    valid = np.arange(16) >= 2
    args = (np.arange(300), np.arange(16) // 2)
    got = bootstrap.crossed_auc(broken, keep, *args, valid_s=valid)
    assert got == bootstrap.crossed_auc(scores[2:], keep[2:], args[0], args[1][2:])


def test_a_replicate_is_the_mean_auc_over_the_repeated_targets_and_examples():
    rng = np.random.default_rng(0)
    keep = planted.pairs(8, 60)
    scores = (rng.normal(size=keep.shape) + keep).round(1)
    unit, pair = np.arange(60) // 2, np.arange(8) // 2
    drawn = bootstrap.auc_replicates(scores, keep, unit, pair, replicates=40, seed=3)
    weight_nr, weight_sr = bootstrap.crossed_weights(unit, pair, 40, 3)
    for r in (0, 17, 39):
        columns = np.repeat(np.arange(60), weight_nr[:, r].astype(int))
        rows = np.repeat(np.arange(8), weight_sr[:, r].astype(int))
        assert drawn[r] == pytest.approx(np.mean([loops.auc(scores[s, columns], keep[s, columns]) for s in rows]))
    low, high = bootstrap.crossed_auc(scores, keep, unit, pair, replicates=40, seed=3, level=0.8)
    away = stats.t.ppf(0.9, 3) * np.std(drawn) * np.sqrt(4 / 3)  # 4 pairs
    np.testing.assert_allclose((low, high), metrics.auc(scores, keep) + np.array([-away, away]))


def test_the_tpr_replicates_of_an_unresolved_fpr_are_nan():
    scores, keep = simulated(1.0, 0)
    args = (scores, keep, np.arange(300), np.arange(16) // 2, (0.05, 0.001))
    drawn = bootstrap.tpr_replicates(*args, replicates=50)
    assert drawn.shape == (50, 2)
    assert np.isnan(drawn[:, 1]).all()
    tpr = metrics.tpr_at_fpr(scores, keep, 0.05)[0]
    got = bootstrap.crossed_tpr(*args, replicates=50)[0]
    np.testing.assert_array_equal(got, bootstrap.interval(tpr, drawn[:, 0], 8, 0.95))


def test_an_interval_is_cut_to_its_range_and_one_pair_is_about_examples():
    drawn = np.array([0.1, 0.3, np.nan, 0.5])
    sd = np.std([0.1, 0.3, 0.5])
    low, high = bootstrap.interval(0.4, drawn, 1, 0.8)
    assert (low, high) == pytest.approx((0.4 - 1.281552 * sd, 0.4 + 1.281552 * sd))
    assert bootstrap.interval(0.4, drawn, 2, 0.95) == (0.0, 1.0)  # t of one degree of freedom is 12.7
    wide = 12.7062 * sd * np.sqrt(2)
    assert bootstrap.interval(0.4, drawn, 2, 0.95, least=-9, most=9) == pytest.approx((0.4 - wide, 0.4 + wide))
    assert np.isnan(bootstrap.interval(np.nan, drawn, 2, 0.95)).all()
    assert np.isnan(bootstrap.interval(0.4, np.full(3, np.nan), 2, 0.95)).all()


def alike(rng, S):
    """Trainings that are alike: only examples and their noise differ."""
    return np.zeros(S)


def apart(rng, S):
    """Trainings that differ much: each pair has a leak of its own."""
    return np.repeat(0.8 * rng.normal(size=S // 2), 2)


@pytest.mark.parametrize(
    ("trainings", "S", "draws"),
    [
        (apart, 6, 100),
        (alike, 8, 100),
        *[pytest.param(way, S, 400, marks=pytest.mark.long) for way in (apart, alike) for S in (6, 8, 16, 32)],
    ],
)
def test_few_pairs_are_covered_whether_trainings_differ_or_not(trainings, S, draws):
    """A member's confidence is N(1 + the leak of its pair, 1): the mean AUC over trainings by quantiles of leaks."""
    leaks = 1 + 0.8 * norm.ppf((np.arange(2000) + 0.5) / 2000) if trainings is apart else np.ones(1)
    truth, rng, N, covered, old = norm.cdf(leaks / np.sqrt(2)).mean(), np.random.default_rng(S), 100, 0, 0
    for seed in range(draws):
        keep = planted.pairs(S, N, seed)
        scores = rng.normal(size=(S, N)) + (1 + trainings(rng, S))[:, None] * keep
        drawn = bootstrap.auc_replicates(scores, keep, np.arange(N), np.arange(S) // 2, replicates=100, seed=seed)
        low, high = bootstrap.interval(metrics.auc(scores, keep), drawn, S // 2, 0.95)
        covered += low <= truth <= high
        low, high = bootstrap.percentiles(drawn, 0.95)
        old += low <= truth <= high
    assert covered >= 0.91 * draws  # nominal .95, three standard errors of 100 draws lower
    assert trainings is alike or S > 8 or old < 0.87 * draws  # what the interval is made for


def lira_auc(leak, S):
    """The mean AUC of online LiRA on `simulated` targets, many examples: with k = S / 2 - 1 models on each side a score
    is D (x - m), where D ~ N(leak, 2 / k) and x - m ~ N(+-leak / 2, 1 + 1 / 2k); the chance that one of a member
    exceeds one of a non-member, averaged over the quantiles of both D."""
    k = S // 2 - 1
    d = leak + norm.ppf((np.arange(2000) + 0.5) / 2000) * np.sqrt(2 / k)
    member, other = d[:, None], d[None]
    return norm.cdf(leak / 2 * (member + other) / np.sqrt((member**2 + other**2) * (1 + 1 / (2 * k)))).mean()


DRAWS = [(60, 100), pytest.param(1000, 200, marks=pytest.mark.long)]


@pytest.mark.long
@pytest.mark.parametrize(("draws", "replicates"), DRAWS)
def test_the_crossed_interval_of_lira_covers_the_mean_auc(draws, replicates):
    """Resampling the shadows alone would not: the targets share their examples."""
    truth, pair = lira_auc(1.0, 16), np.arange(16) // 2
    covered, alone, values = 0, 0, []
    for seed in range(draws):
        scores, keep = simulated(1.0, seed)
        low, high = bootstrap.crossed_auc(scores, keep, np.arange(300), pair, replicates=replicates, seed=seed)
        covered += low <= truth <= high
        auc_s = roc_curve.auc_s(scores, keep)
        values.append(auc_s.mean())
        _, weight_sr = bootstrap.crossed_weights(np.zeros(1), pair, replicates, seed)
        low, high = bootstrap.percentiles(auc_s @ weight_sr / 16, 0.95)
        alone += low <= truth <= high
    assert np.mean(values) == pytest.approx(truth, abs=3.5 * np.std(values) / np.sqrt(draws))
    assert covered >= 0.93 * draws
    assert alone <= 0.9 * draws


@pytest.mark.parametrize(("draws", "replicates"), DRAWS)
def test_the_crossed_interval_of_the_confidence_covers_the_mean_auc(draws, replicates):
    """Offsets of the examples with standard deviation 2, which all targets share: N(0, 5) against N(1, 5)."""
    truth, pair, covered = norm.cdf(1 / np.sqrt(10)), np.arange(16) // 2, 0
    for seed in range(draws):
        keep = planted.pairs(16, 300, seed)
        phi = planted.phi(keep, leak=1.0, seed=seed + 10_000)[..., 0]
        low, high = bootstrap.crossed_auc(phi, keep, np.arange(300), pair, replicates=replicates, seed=seed)
        covered += low <= truth <= high
    assert covered >= 0.93 * draws


def test_delong_by_hand_with_a_tie():
    """Members 2 and 1 have placements 1 and .75, non-members 1 and 0 .25 and 0: AUC .875, variance 2 x .03125 / 2."""
    one_sigma = norm.cdf(1) - norm.cdf(-1)
    got = bootstrap.delong(np.array([2, 1, 1, 0]), np.array([True, True, False, False]), level=one_sigma)
    assert got == (0.875, pytest.approx(0.875 - np.sqrt(0.03125)), 1.0)


def test_delong_has_the_variance_of_the_jackknife():
    """The placements' variances are those of leaving out one member, and one non-member, at a time."""
    rng = np.random.default_rng(0)
    member = np.arange(56) < 25
    scores = rng.integers(12, size=56) + 3 * member
    left_out = np.array([loops.auc(np.delete(scores, i), np.delete(member, i)) for i in range(56)])
    variance = sum((side.sum() - 1) * left_out[side].var() for side in (member, ~member))
    auc, low, high = bootstrap.delong(scores, member, level=0.9)
    assert auc == pytest.approx(loops.auc(scores, member))
    assert (high - low) / 2 == pytest.approx(norm.ppf(0.95) * np.sqrt(variance))
    mirrored = bootstrap.delong(-scores, member, level=0.9)
    assert mirrored == pytest.approx((1 - auc, 1 - high, 1 - low))


def test_delong_covers_the_auc_of_one_target():
    rng, covered = np.random.default_rng(0), 0
    member = np.arange(200) < 100
    for _ in range(2000):
        _, low, high = bootstrap.delong(rng.normal(size=200) + member, member)
        covered += low <= norm.cdf(1 / np.sqrt(2)) <= high
    assert 0.93 * 2000 <= covered <= 0.965 * 2000


KEEP = planted.pairs(6, 20)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap.delong(np.zeros((6, 20)), KEEP), r"`scores_n` must be \[N\], one target.*crossed_auc"),
        (lambda: bootstrap.delong(np.arange(3), np.arange(3) < 1), "2 members and 2 non-members, got 1 and 2"),
        (lambda: bootstrap.delong(np.arange(4), np.arange(4) < 2, level=95), r"`level` must be in \(0, 1\), got 95"),
        (lambda: bootstrap.crossed_auc(KEEP, KEEP, np.arange(20), np.arange(5)), r"got \(5,\) and \(20,\)"),
        (lambda: bootstrap.crossed_auc(KEEP, KEEP, np.arange(6), np.arange(20)), r"`pair_s` must be \[S\]"),
        (lambda: bootstrap.percentiles(np.arange(3.0), 1.0), r"`level` must be in \(0, 1\), got 1.0"),
    ],
)
def test_intervals_that_would_not_hold_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
