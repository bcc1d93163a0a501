import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from jaxsnn_mia import metrics
from tests.attacks import loops

# AUC, TPR at .1 % and at 1 % FPR of N(0,1) against N(mu,1)
GAUSSIAN = {0.5: (0.63816, 0.004796, 0.03390), 1.0: (0.76025, 0.018298, 0.092362), 2.0: (0.92135, 0.13781, 0.37208)}


def gaussian_quantiles(mu, n=200_000):
    """Scores at the quantiles of both distributions, so that the closed form holds without sampling noise."""
    q = norm.ppf((np.arange(n) + 0.5) / n)
    return np.concatenate([q + mu, q]), np.repeat([True, False], n)


@pytest.mark.parametrize("mu", GAUSSIAN)
def test_gaussian_scores_have_the_closed_form(mu):
    scores, member = gaussian_quantiles(mu)
    auc, tpr_001, tpr_01 = GAUSSIAN[mu]
    assert metrics.auc(scores, member) == pytest.approx(auc, abs=5e-5)
    assert metrics.tpr_at_fpr(scores, member, 0.001)[0] == pytest.approx(tpr_001, rel=2e-3)
    assert metrics.tpr_at_fpr(scores, member, 0.01)[0] == pytest.approx(tpr_01, rel=2e-3)
    assert metrics.balanced_accuracy(scores, member) == pytest.approx(norm.cdf(mu / 2), abs=1e-4)


def test_the_circular_roc():
    f = (np.arange(20_000) + 0.5) / 20_000
    # non-members uniform; members so that TPR = sqrt(f (2 - f)) where FPR = f
    scores = np.concatenate([1 - (1 - np.sqrt(1 - f**2)), 1 - f])
    member = np.repeat([True, False], len(f))
    assert metrics.auc(scores, member) == pytest.approx(np.pi / 4, abs=1e-4)
    assert metrics.tpr_at_fpr(scores, member, 0.1)[0] == pytest.approx(np.sqrt(0.1 * 1.9), abs=1e-3)


def test_randomised_response():
    n, correct = 100_000, round(100_000 * 0.731059)
    member = np.repeat([True, False], n)
    scores = np.concatenate([np.arange(n) < correct, np.arange(n) >= correct]).astype(float)
    assert metrics.auc(scores, member) == pytest.approx(0.731059, abs=1e-5)
    assert metrics.balanced_accuracy(scores, member) == pytest.approx(0.731059, abs=1e-5)


def test_ties_are_one_threshold():
    assert metrics.auc([9, 9, 5, 5], [True, False, True, False]) == 0.5
    assert metrics.auc(np.ones(10), np.arange(10) < 4) == 0.5
    roc = metrics.roc(np.ones(10), np.arange(10) < 4)
    np.testing.assert_array_equal(roc.fpr, [0, 1])
    assert metrics.tpr_at_fpr(np.ones(10), np.arange(10) < 4, 0.5) == (0.0, 0.0)
    member = np.array([True, True, False])
    for scores in (np.array([9, 7, 3], np.uint8), np.array([True, True, False]), np.array([np.inf, np.inf, 0])):
        assert metrics.auc(scores, member) == 1.0
    assert metrics.auc(np.array([np.inf, -np.inf, np.inf]), member) == 0.25
    rng = np.random.default_rng(0)
    assert metrics.auc(rng.integers(10, size=20_000), rng.random(20_000) < 0.5) == pytest.approx(0.5, abs=0.012)


def test_the_realised_fpr_is_the_largest_not_above_the_target():
    member = np.repeat([True, False], [4, 10])
    scores = np.concatenate([[10, 8, 6, 1], np.arange(10)])
    assert metrics.tpr_at_fpr(scores, member, 0.25) == (0.5, 0.2)
    assert metrics.tpr_at_fpr(scores, member, 1.0) == (1.0, 1.0)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40), st.randoms())
def test_the_auc_is_the_mann_whitney_statistic_in_any_order(pairs, random):
    member = np.array([m for _, m in pairs])
    if member.all() or not member.any():
        return
    scores = np.array([s for s, _ in pairs])
    assert metrics.auc(scores, member) == pytest.approx(loops.auc(scores, member))
    order = random.sample(range(len(pairs)), len(pairs))
    assert metrics.auc(scores[order], member[order]) == metrics.auc(scores, member)
    assert metrics.auc(-scores, member) == pytest.approx(1 - metrics.auc(scores, member))


def test_shuffled_labels_are_at_one_half():
    rng = np.random.default_rng(0)
    n = 5000
    for _ in range(20):
        auc = metrics.auc(rng.normal(size=2 * n), rng.permutation(np.repeat([True, False], n)))
        assert abs(auc - 0.5) < 3.5 / np.sqrt(6 * n)


def test_all_targets_at_once():
    rng = np.random.default_rng(0)
    member = rng.random((6, 400)) < 0.5
    scores = rng.normal(size=(6, 400)) + member
    valid = np.arange(6) < 5
    each = [metrics.auc(s, m) for s, m in zip(scores[:5], member[:5], strict=True)]
    assert metrics.auc(scores, member, valid) == pytest.approx(np.mean(each))
    pooled = metrics.tpr_at_fpr(scores[:5].ravel(), member[:5].ravel(), 0.05)
    assert metrics.tpr_at_fpr(scores, member, 0.05, valid) == pooled
    assert np.isnan(metrics.tpr_at_fpr(scores, member, 0.001)).all()  # 1.2 pooled false positives


@pytest.mark.parametrize(
    ("scores", "member", "message"),
    [
        ([1.0, np.nan], [True, False], "NaN"),
        ([1.0, 2.0], [True, True], "members and non-members"),
        ([1.0, 2.0], [True], r"got \(2,\) and \(1,\)"),
        ([1.0, 2.0], [0, 2], "boolean"),
    ],
)
def test_bad_scores_are_refused(scores, member, message):
    with pytest.raises(ValueError, match=message):
        metrics.auc(scores, member)


def test_dtypes_are_strict_here():
    with pytest.raises(ValueError, match="promotion"):
        jnp.ones(3, jnp.float32) + jnp.ones(3, jnp.bfloat16)
