import numpy as np
import pytest

from jaxsnn_mia import intervals, metrics
from tests.attacks import loops, planted


def test_the_weighted_auc_is_the_auc_of_repeated_examples():
    rng = np.random.default_rng(0)
    scores, member = rng.integers(8, size=40).astype(float), rng.random(40) < 0.5
    weight = rng.integers(0, 3, (40, 300)).astype(np.float32)
    got = intervals.weighted_auc(scores, member, weight)
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
    got, whole = intervals.tpr_replicates(scores, member, order, weight_sr, weight_nr, (0.05, 0.2))
    rows = np.repeat(np.arange(6), weight_sr[:, 0].astype(int))
    columns = np.repeat(np.arange(200), weight_nr[:, 0].astype(int))
    repeated = scores[np.ix_(rows, columns)].ravel(), member[np.ix_(rows, columns)].ravel()
    assert whole
    assert got[0] == pytest.approx([metrics.tpr_at_fpr(*repeated, fpr)[0] for fpr in (0.05, 0.2)])
    top, reached = intervals.tpr_replicates(scores, member, order[:600], weight_sr, weight_nr, (0.05, 0.2))
    assert reached
    np.testing.assert_allclose(top, got)


def test_accuracy_intervals_cover_what_new_examples_would_give():
    """Examples differ in difficulty, so resampling shadows alone would be far too narrow."""
    rng, covered = np.random.default_rng(0), 0
    keep = planted.pairs(16, 200)
    for _ in range(100):
        correct = rng.random((16, 200)) < rng.beta(0.5, 0.2, 200)
        drawn = intervals.crossed_mean(correct, keep, np.arange(200), np.arange(16) // 2, replicates=200)
        low, high = intervals.percentiles(drawn, 0.95)
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
    for seed in range(40):
        scores, keep = simulated(0.0, seed)
        low, high = intervals.crossed_auc(scores, keep, np.arange(300), np.arange(16) // 2, replicates=200)
        covered += low <= 0.5 <= high
    assert covered >= 37  # nominal 38; the crossed bootstrap is conservative


def test_the_interval_excludes_chance_where_there_is_a_leak():
    scores, keep = simulated(1.0, 0)
    low, high = intervals.crossed_auc(scores, keep, np.arange(300), np.arange(16) // 2)
    assert 0.6 < low < metrics.auc(scores, keep) < high < 0.85
    (low, high), unresolved = intervals.crossed_tpr(scores, keep, np.arange(300), np.arange(16) // 2, (0.05, 0.001))
    assert 0.05 < low < metrics.tpr_at_fpr(scores, keep, 0.05)[0] < high < 0.5
    assert np.isnan(unresolved).all()


def test_duplicates_are_one_unit_and_diverged_targets_are_left_out():
    weight = intervals.multinomial(np.random.default_rng(0), np.array([5, 5, 7, 9]), 50)
    np.testing.assert_array_equal(weight[0], weight[1])
    assert (weight[1:].sum(0) == 3).all()
    scores, keep = simulated(1.0, 0)
    broken = scores.copy()
    broken[:2] = np.nan
    valid = np.arange(16) >= 2
    args = (np.arange(300), np.arange(16) // 2)
    got = intervals.crossed_auc(broken, keep, *args, valid_s=valid)
    assert got == intervals.crossed_auc(scores[2:], keep[2:], args[0], args[1][2:])
