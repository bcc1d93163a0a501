import numpy as np
import pytest
from scipy.stats import norm

from jaxsnn_mia import metrics
from jaxsnn_mia.metrics import exposure
from tests.attacks import loops, planted


@pytest.mark.parametrize("steps", [1.0, 1e-3])
def test_each_example_has_the_mann_whitney_statistic_of_its_targets(steps, monkeypatch):
    monkeypatch.setattr(exposure, "BLOCK", 32)
    rng = np.random.default_rng(0)
    keep = rng.random((14, 75)) < 0.5
    scores = (rng.normal(size=(14, 75)) * 2 // steps * steps).astype(np.float32)
    got = exposure.per_example(scores, keep)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, [loops.auc(scores[:, n], keep[:, n]) for n in range(75)], atol=1e-12)
    np.testing.assert_allclose(exposure.per_example(-scores, keep), 1 - got, atol=1e-12)


def test_an_example_without_in_or_without_out_targets_has_no_value():
    keep = planted.pairs(6, 20)
    keep[:, 0], keep[:, 1] = True, False
    scores = np.where(keep, np.inf, 0.0)
    got = exposure.per_example(scores, keep)
    assert np.isnan(got[:2]).all()
    assert (got[2:] == 1).all()
    assert np.isnan(exposure.exposure(scores, keep, 0.2)[1])


def test_planted_leaks_give_their_closed_form():
    """N(0, 1) against N(leak, 1) at each example, whatever its own offset."""
    S, N = 200, 2000
    keep = planted.pairs(S, N)
    leak_n = np.repeat([0.0, 0.5, 1.0, 2.0], N // 4)
    scores = planted.phi(keep)[..., 0] + leak_n * keep
    auc_n = exposure.per_example(scores, keep)
    for leak in (0.0, 0.5, 1.0, 2.0):
        # 3 standard errors of a mean of N / 4 values
        assert auc_n[leak_n == leak].mean() == pytest.approx(
            norm.cdf(leak / np.sqrt(2)), abs=3 * 0.041 / np.sqrt(N / 4)
        )
    unit = scores - scores.mean(0, where=~keep)  # without the offsets, one threshold serves all examples
    called_n = exposure.exposure(unit, keep, 0.05)
    for leak in (0.0, 0.5, 1.0, 2.0):
        assert called_n[leak_n == leak].mean() == pytest.approx(norm.sf(norm.isf(0.05) - leak), abs=0.01)


def test_without_a_leak_the_confidence_is_at_one_half_and_spreads_as_luck_does():
    """Online LiRA is not: each target's score rests on the other targets of the same example."""
    from jaxsnn_mia.attacks import lira

    keep = np.concatenate([planted.pairs(16, 300, seed) for seed in range(14)], 1)
    phi = np.concatenate([planted.phi(keep[:, i : i + 300], seed=i) for i in range(0, 4200, 300)], 1)
    got = exposure.per_example(phi[..., 0], keep)
    luck = np.sqrt(17 / 3) / 16
    assert got.mean() == pytest.approx(0.5, abs=3 * luck / np.sqrt(4000))
    assert got.std() == pytest.approx(luck, rel=3 / np.sqrt(2 * 4000))
    options = {"partner_s": np.arange(16) ^ 1, "variance": "pooled"}  # 300 examples at once, as in test_bootstrap
    scores = [lira.score(phi[:, i : i + 300], keep[:, i : i + 300], **options) for i in range(0, 4200, 300)]
    online = exposure.per_example(np.concatenate(scores, 1), keep)
    assert online.mean() == pytest.approx(0.457, abs=3 * 0.2 / np.sqrt(4000))


def test_the_mean_exposure_is_the_pooled_tpr():
    rng = np.random.default_rng(0)
    keep = planted.pairs(12, 400)
    scores = (rng.normal(size=keep.shape) + keep).round(1)
    scores[2:4] = np.nan
    valid = ~np.isnan(scores).any(1)
    inside_n = keep[valid].sum(0)
    called_n = exposure.exposure(scores, keep, 0.05, valid_s=valid)
    assert np.average(called_n, weights=inside_n) == pytest.approx(metrics.tpr_at_fpr(scores, keep, 0.05, valid)[0])
    called_n = exposure.exposure(scores, keep, 0.05, np.arange(12) // 2, valid)
    tpr, _ = metrics.deployed(scores, keep, 0.05, np.arange(12) // 2, valid)
    assert np.average(called_n, weights=inside_n) == pytest.approx(tpr)
    assert np.isnan(exposure.exposure(scores, keep, 0.004, valid_s=valid)).all()  # 8 pooled false positives


def test_correlated_normals_have_the_closed_form_rank_correlation():
    rng = np.random.default_rng(0)
    n, rho = 40_000, 0.6
    a, b = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], n).T
    spearman, jaccard = exposure.stability(a, np.exp(b), share=0.1)
    assert spearman == pytest.approx(6 / np.pi * np.arcsin(rho / 2), abs=3 / np.sqrt(n))
    top = [set(np.argsort(-x)[: n // 10]) for x in (a, b)]
    assert jaccard == pytest.approx(len(top[0] & top[1]) / len(top[0] | top[1]))
    assert exposure.stability(a, -a) == (pytest.approx(-1), 0.0)
    assert exposure.stability(a, a) == (pytest.approx(1), 1.0)
    unrelated = exposure.stability(a, rng.permutation(b), share=0.1)
    assert unrelated == (pytest.approx(0, abs=3 / np.sqrt(n)), pytest.approx(0.1 / 1.9, abs=0.01))


def test_ties_at_the_cut_are_drawn_among_them():
    """The top 2 of [3, 2, 2, 0] is the first and one of two: in common with itself 1 + 2 / 4, in either 4 - 1.5."""
    a = np.array([3, 2, 2, 0])
    spearman, jaccard = exposure.stability(a, a, share=0.5)
    assert (spearman, jaccard) == (pytest.approx(1), pytest.approx(1.5 / 2.5))
    # ranks 4, 2.5, 2.5, 1 against 4, 3, 1, 2: centred products 1.5 x 1.5 + 1.5 x .5, squares 4.5 and 5
    spearman, _ = exposure.stability(a, np.array([9, 8, 1, 2]))
    assert spearman == pytest.approx(3 / np.sqrt(4.5 * 5))
    flat = exposure.stability(np.ones(100), np.arange(100), share=0.1)
    assert np.isnan(flat[0])
    assert flat[1] == pytest.approx(0.1 / 1.9)


def test_examples_without_a_value_are_left_out_of_the_stability():
    a, b = np.arange(10.0), np.arange(10.0)[::-1].copy()
    a[0], b[3] = np.nan, np.nan
    kept = [1, 2, 4, 5, 6, 7, 8, 9]
    assert exposure.stability(a, b, share=0.25) == exposure.stability(a[kept], b[kept], share=0.25)


KEEP = planted.pairs(6, 20)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exposure.per_example(np.zeros(20), KEEP[0]), r"`scores_sn` must be \[S, N\], got \(20,\)"),
        (lambda: exposure.per_example(np.full((6, 20), np.nan), KEEP), "NaN"),
        (lambda: exposure.exposure(np.zeros((6, 20)), KEEP, 1.0), r"`fpr` must be in \(0, 1\), got 1.0"),
        (lambda: exposure.exposure(np.zeros((6, 20)), KEEP, 0.5, np.zeros(6)), "at least 2 valid pairs"),
        (lambda: exposure.stability(np.zeros(3), np.zeros(4)), r"got \(3,\) and \(4,\)"),
        (lambda: exposure.stability(np.zeros(3), np.zeros(3), share=1), r"`share` must be in \(0, 1\), got 1"),
        (lambda: exposure.stability(np.zeros(2), np.array([np.nan, 1.0])), "NaN in neither, got 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_range_of_a_trace_is_that_of_its_quartiles():
    losses = np.array([[[5.0, 1.0, 3.0, 2.0, 4.0], [1.0, 1.0, 1.0, 1.0, 9.0]]])
    np.testing.assert_array_equal(exposure.loss_trace_iqr(losses), [[2.0, 0.0]])
    with pytest.raises(ValueError, match=r"must be \[S, N, T\] with T >= 2, got \(1, 2, 1\)"):
        exposure.loss_trace_iqr(losses[:, :, :1])


def test_precision_is_the_common_part_of_the_two_tops_of_each_model():
    exposed = np.arange(200.0)
    exposed[150:] = np.nan
    counted = np.ones((3, 200), bool)
    counted[1, 100:] = False
    ranking = np.stack([exposed, exposed, -exposed])
    assert exposure.precision(ranking[:2], exposed, counted[:2], share=0.02) == 1  # tops of 150 and of 100
    assert exposure.precision(ranking, exposed, counted, share=0.02) == pytest.approx(2 / 3)
    half = exposed.copy()
    half[149] = -1.0  # one of the three of the top is gone
    assert exposure.precision(half[None], exposed, counted[:1], share=0.02) == pytest.approx(2 / 3)
    constant = exposure.precision(np.zeros((1, 200)), exposed, counted[:1], share=0.02)
    assert constant == pytest.approx(0.02)  # by chance
    with pytest.raises(ValueError, match="at least 2 counted examples, got 0"):
        exposure.precision(ranking, exposed, np.zeros((3, 200), bool))
    with pytest.raises(ValueError, match=r"`exposed_n` \[N\] and `share` in \(0, 1\)"):
        exposure.precision(ranking, exposed[:5], counted)


def test_who_moves_in_training_is_named_by_the_trace():
    """Hard examples are learned late, and are exposed; a model names far more than chance of them."""
    rng = np.random.default_rng(0)
    hard = rng.gamma(1.0, size=400)
    times = np.array([1.0, 2, 4, 8, 16])
    losses = hard[None, :, None] * np.exp(-times / 8) + 0.1 * rng.normal(size=(6, 400, 5))
    ranking = exposure.loss_trace_iqr(losses)
    members = rng.random((6, 400)) < 0.5
    assert exposure.precision(ranking, hard, members, share=0.05) > 0.5
    shuffled = rng.permuted(ranking, axis=1)
    assert exposure.precision(shuffled, hard, members, share=0.05) < 0.2


def test_ranks_are_shared_by_those_that_no_value_tells_apart():
    rank, tied = exposure.ranks(np.array([0.5, 0.9, 0.5, 0.9, -np.inf]), np.array([2.0, 1, 2, 3, 0]))
    assert rank.tolist() == [3, 2, 3, 1, 5]
    assert tied.tolist() == [2, 1, 2, 1, 1]
