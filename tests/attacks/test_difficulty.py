import numpy as np
import pytest

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import difficulty, references
from tests.attacks import loops, planted

SETTINGS = planted.settings()
KEEP = planted.pairs(12, 30)
PARTNERS = np.arange(12) ^ 1
PHI = planted.phi(KEEP, A=2, leak=1.0)
ATTACKS = {"watson": loops.watson, "sablayrolles": loops.sablayrolles, "attack_r": loops.attack_r}


def attack(name, phi, keep, **options):
    return getattr(difficulty, name)(phi, keep, **options)


@pytest.mark.parametrize("who", SETTINGS)
@pytest.mark.parametrize("name", ATTACKS)
def test_the_scores_equal_the_float64_loop(name, who):
    """In steps of .5, so that many confidences are equal."""
    setting = SETTINGS[who]
    phi = setting.diverged(np.round(2 * planted.phi(setting.keep, A=2, leak=1.0)) / 2)
    targets = None
    if setting.partner_sn is None:
        targets = np.round(2 * planted.phi(setting.keep, A=2, leak=1.0, seed=5))[:3] / 2
        targets[1] = phi[1]  # ties with references
    got = attack(name, phi, setting.keep, target_phi_kna=targets, **setting.options)
    want = loops.each(ATTACKS[name], phi, setting, targets)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    if name == "attack_r":
        assert np.nanmin(got) >= 0
        assert np.nanmax(got) <= 1


def test_equal_confidences_are_one_half():
    np.testing.assert_array_equal(difficulty.attack_r(np.ones_like(PHI), KEEP, partner_s=PARTNERS), 0.5)


def test_the_order_of_the_confidences_alone_decides():
    got, of_cubes = (difficulty.attack_r(x, KEEP, partner_s=PARTNERS) for x in (PHI, PHI**3))
    np.testing.assert_array_equal(got, of_cubes)


@pytest.mark.parametrize("name", ATTACKS)
def test_losses_are_stable_where_a_softmax_saturates(name):
    far = (PHI * 100).clip(-400, 400)
    score = attack(name, far, KEEP, partner_s=PARTNERS)
    assert np.isfinite(score).all()
    want = loops.each(ATTACKS[name], far, SETTINGS["pairs"]._replace(usable=np.ones(12, bool)))
    np.testing.assert_allclose(score, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ATTACKS)
def test_permuting_examples_permutes_the_scores(name):
    order = np.random.default_rng(0).permutation(30)
    score = attack(name, PHI, KEEP, partner_s=PARTNERS)
    permuted = attack(name, PHI[:, order], KEEP[:, order], partner_s=PARTNERS)
    np.testing.assert_allclose(permuted, score[:, order], rtol=1e-6, atol=1e-6)


def test_the_threshold_half_way_does_not_care_which_side_is_which():
    score, swapped = (difficulty.sablayrolles(PHI, keep, partner_s=PARTNERS) for keep in (KEEP, ~KEEP))
    np.testing.assert_allclose(score, swapped, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_planted_leak_is_found(name):
    score = attack(name, PHI, KEEP, partner_s=PARTNERS)
    assert metrics.auc(score, KEEP) > 0.6


@pytest.mark.long
def test_blocks_and_memory_maps_change_nothing(monkeypatch, tmp_path):
    np.save(tmp_path / "phi.npy", PHI)
    mapped = np.load(tmp_path / "phi.npy", mmap_mode="r")
    whole = difficulty.attack_r(PHI, KEEP, partner_s=PARTNERS)
    monkeypatch.setattr(references, "BLOCK_BYTES", 10 * 8 * 12 * 2)  # 10 of 30 examples
    monkeypatch.setattr(references, "FEW_BLOCKS", 1)
    monkeypatch.setattr(references.os, "cpu_count", lambda: 1)
    np.testing.assert_array_equal(difficulty.attack_r(mapped, KEEP, partner_s=PARTNERS), whole)


@pytest.mark.parametrize("name", ATTACKS)
def test_bad_arrays_are_refused_with_the_reason(name):
    with pytest.raises(ValueError, match="finite"):
        attack(name, np.full_like(PHI, np.nan), KEEP, partner_s=PARTNERS)
    with pytest.raises(ValueError, match="and 3 OUT models, got 2 IN and 2 OUT"):
        attack(name, PHI, KEEP, partner_s=PARTNERS, valid_s=np.arange(12) < 4)
