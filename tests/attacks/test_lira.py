import numpy as np
import pytest

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import lira, lira2021
from jaxsnn_mia.attacks import variance as spread
from tests.attacks import loops, planted

KEEP = planted.pairs(8, 30)
PHI = planted.phi(KEEP, A=2, leak=1.0)
PARTNERS = np.arange(8) ^ 1


@pytest.mark.parametrize("mode", lira.MODES)
@pytest.mark.parametrize("variance", ["pooled", "per_example"])
def test_vectorised_scores_equal_the_float64_loop(mode, variance):
    got = lira.score(PHI, KEEP, partner_s=PARTNERS, mode=mode, variance=variance)
    want = loops.lira(PHI, KEEP, mode, pooled=variance == "pooled")
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_large_offsets_do_not_cancel():
    shifted = (PHI + 1000).astype(np.float32)
    got = lira.score(shifted, KEEP, partner_s=PARTNERS, variance="per_example")
    np.testing.assert_allclose(got, loops.lira(shifted, KEEP, "online", pooled=False), rtol=1e-5, atol=1e-6)


def test_the_published_log_density():
    # IN = {-1, 1}: mean 0, variance 1, so -log N(1; 0, 1) = 1.418939
    side = (np.full((1, 1, 1), 2.0), np.zeros((1, 1, 1)), np.full((1, 1, 1), 2.0))
    sigma = np.sqrt(spread.of_sides("per_example", (side, side), None, None)[0])
    assert float(-lira.log_normal(np.float64(1), side[1], sigma)[0, 0, 0]) == pytest.approx(1.418939, abs=1e-6)


def test_swapping_in_and_out_negates_the_online_score():
    score = lira.score(PHI, KEEP, partner_s=PARTNERS)
    np.testing.assert_allclose(lira.score(PHI, ~KEEP, partner_s=PARTNERS), -score, atol=1e-5)


def test_permuting_examples_permutes_the_scores_and_a_constant_changes_nothing():
    order = np.random.default_rng(0).permutation(30)
    score = lira.score(PHI, KEEP, partner_s=PARTNERS)
    np.testing.assert_allclose(
        lira.score(PHI[:, order], KEEP[:, order], partner_s=PARTNERS), score[:, order], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(lira.score(PHI + 1, KEEP, partner_s=PARTNERS), score, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variance", ["pooled", "per_example"])
def test_a_planted_leak_is_found_near_the_optimum(variance):
    keep = planted.pairs(64, 400)
    score = lira.score(planted.phi(keep, leak=1.0), keep, partner_s=np.arange(64) ^ 1, variance=variance)
    assert 0.73 < metrics.auc(score, keep) < 0.765  # the likelihood ratio with known parameters has .760


def test_a_diverged_shadow_takes_its_partner_out_and_leaves_the_rest_alone():
    broken = PHI.copy()
    broken[3] = np.nan
    valid = np.arange(8) != 3
    score = lira.score(broken, KEEP, partner_s=PARTNERS, valid_s=valid)
    assert np.isnan(score[[2, 3]]).all()
    rest = [0, 1, 4, 5, 6, 7]
    np.testing.assert_allclose(
        score[rest], lira.score(PHI[rest], KEEP[rest], partner_s=np.arange(6) ^ 1), rtol=1e-5, atol=1e-6
    )


def test_separate_targets_are_compared_with_all_references():
    targets = planted.phi(KEEP, A=2, leak=1.0, seed=5)[:3]
    got = lira.score(PHI, KEEP, target_phi_kna=targets, variance="per_example")
    inside = np.where(KEEP[..., None], PHI, np.nan).astype(np.float64)
    outside = np.where(~KEEP[..., None], PHI, np.nan).astype(np.float64)
    want = sum(
        sign * loops.log_normal(targets, np.nanmean(side, 0), np.nanstd(side, 0))
        for sign, side in ((1, inside), (-1, outside))
    ).mean(-1)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep_sn": KEEP.astype(int)}, "boolean"),
        ({"keep_sn": KEEP[:, :5]}, r"\[S, N\] like `phi_sna` \(8, 30, 2\), got \(8, 5\)"),
        ({"phi_sna": np.full_like(PHI, np.nan)}, "finite"),
        ({"phi_sna": PHI[..., 0]}, r"\[S, N, A\]"),
        ({"mode": "both"}, "'both'"),
        ({"keep_sn": np.ones_like(KEEP)}, "at least 3 IN and 3 OUT"),
        ({"partner_s": np.roll(np.arange(8), 1)}, "complementary"),
        ({"valid_s": np.arange(8) < 4}, "at least 3 IN"),
    ],
)
def test_bad_arrays_are_refused_with_the_reason(change, message):
    with pytest.raises(ValueError, match=message):
        lira.score(**{"phi_sna": PHI, "keep_sn": KEEP, "partner_s": PARTNERS, **change})
