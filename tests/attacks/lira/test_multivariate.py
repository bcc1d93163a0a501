import numpy as np
import pytest

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import references
from jaxsnn_mia.attacks.lira import multivariate
from tests.attacks import loops, planted

SETTINGS = planted.settings()
KEEP = planted.pairs(12, 30)
PARTNERS = np.arange(12) ^ 1
MIXED = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0.3]], np.float32)  # of independent queries to correlated ones
PHI = planted.phi(KEEP, A=3, leak=1.0) @ MIXED


@pytest.mark.parametrize("who", SETTINGS)
@pytest.mark.parametrize("mode", multivariate.MODES)
@pytest.mark.parametrize("shrink", [0.1, *(pytest.param(s, marks=pytest.mark.long) for s in (0.0, 1.0))])
def test_the_scores_equal_the_float64_loop(shrink, mode, who):
    setting = SETTINGS[who]
    phi = setting.diverged(planted.uneven(setting.keep, A=3, inside=0.6) @ MIXED)
    targets = planted.phi(setting.keep, A=3, seed=5)[:3] @ MIXED if setting.partner_sn is None else None
    options = {"mode": mode, "shrink": shrink, "target_phi_kna": targets, **setting.options}
    got = multivariate.score(phi, setting.keep, **options)
    want = loops.each(loops.multivariate(mode, shrink), phi, setting, targets)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("mode", multivariate.MODES)
def test_with_one_query_it_is_lira_with_a_pooled_variance(mode):
    """Up to the ridge of 1e-4 of the variance."""
    one, options = PHI[..., :1], {"partner_s": PARTNERS, "mode": mode}
    got = multivariate.score(one, KEEP, **options)
    want = loops.lira(one, KEEP, mode, pooled=True)
    np.testing.assert_allclose(got, want, rtol=3e-4, atol=3e-4)


def test_noise_that_queries_share_is_taken_out():
    """A query without a leak tells of the noise in the one with it, which their mean keeps."""
    keep = planted.pairs(8, 4096)  # as in test_null: compiled once
    partner, shared = np.arange(8) ^ 1, 2 * np.random.default_rng(4).normal(size=(8, 4096, 1))
    phi = planted.phi(keep, A=3) + shared.astype(np.float32)
    phi[..., 0] += keep
    together = metrics.auc(multivariate.score(phi, keep, partner_s=partner), keep)
    each_for_itself = metrics.auc(multivariate.score(phi, keep, partner_s=partner, shrink=1.0), keep)
    assert each_for_itself + 0.03 < together
    moved = phi * np.float32([3, 1, 1]) + np.float32([0, 300, 0])
    got = metrics.auc(multivariate.score(moved, keep, partner_s=partner), keep)
    assert got == pytest.approx(together, abs=0.002)


def test_a_query_that_never_varies_shifts_all_scores_of_a_target_alike():
    """As the first time step of a spiking network, of which nothing is heard yet."""
    silent = PHI.copy()
    silent[..., 2] = -1.0
    got = multivariate.score(silent, KEEP, partner_s=PARTNERS, shrink=0.0)
    two = loops.each(loops.multivariate("online", 0.0), silent[..., :2], everyone())
    shift = (got - two).mean(1, keepdims=True)
    assert np.abs(shift).max() < 0.2
    np.testing.assert_allclose(got - shift, two, rtol=2e-3, atol=2e-3)  # the ridge is of the mean over all queries


def everyone():
    return SETTINGS["pairs"]._replace(usable=np.ones(12, bool))


def test_swapping_in_and_out_negates_permuting_permutes_a_constant_changes_nothing():
    order = np.random.default_rng(0).permutation(30)
    score = multivariate.score(PHI, KEEP, partner_s=PARTNERS)
    for other, want in (
        (multivariate.score(PHI, ~KEEP, partner_s=PARTNERS), -score),
        (multivariate.score(PHI[:, order], KEEP[:, order], partner_s=PARTNERS), score[:, order]),
        (multivariate.score(PHI + 1, KEEP, partner_s=PARTNERS), score),
    ):
        np.testing.assert_allclose(other, want, rtol=1e-4, atol=1e-4)
    far = (PHI + 1000).astype(np.float32)
    want = loops.each(loops.multivariate("online", 0.1), far, everyone())
    np.testing.assert_allclose(multivariate.score(far, KEEP, partner_s=PARTNERS), want, rtol=1e-5, atol=1e-5)


@pytest.mark.long
def test_blocks_and_memory_maps_change_nothing(monkeypatch, tmp_path):
    np.save(tmp_path / "phi.npy", PHI)
    mapped = np.load(tmp_path / "phi.npy", mmap_mode="r")
    whole = multivariate.score(PHI, KEEP, partner_s=PARTNERS)
    monkeypatch.setattr(references, "BLOCK_BYTES", 10 * 8 * 12 * 3)  # 10 of 30 examples
    monkeypatch.setattr(references, "FEW_BLOCKS", 1)
    monkeypatch.setattr(references.os, "cpu_count", lambda: 1)
    np.testing.assert_allclose(multivariate.score(mapped, KEEP, partner_s=PARTNERS), whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "both"}, "'both'"),
        ({"shrink": 1.5}, "0 <= shrink <= 1, got 'online', 1.5"),
        ({"phi_sna": np.full_like(PHI, np.nan)}, "finite"),
        ({"valid_s": np.arange(12) < 4}, "at least 3 IN"),
    ],
)
def test_bad_arguments_are_refused_with_the_reason(change, message):
    with pytest.raises(ValueError, match=message):
        multivariate.score(**{"phi_sna": PHI, "keep_sn": KEEP, "partner_s": PARTNERS, **change})
