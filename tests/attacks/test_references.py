import itertools

import jax
import numpy as np
import pytest

from jaxsnn_mia.attacks import references
from tests.attacks import planted

S, N, A = 12, 30, 2
SETTINGS = planted.settings()
moments = jax.jit(references.moments)
PHI = planted.phi(SETTINGS["pairs"].keep, A=A)


def prepared(setting, phi=PHI, targets=None):
    return references.prepare(setting.diverged(phi), setting.keep, "phi_sna", targets_kna=targets, **setting.options)


@pytest.mark.parametrize("who", SETTINGS)
def test_moments_are_those_of_the_models_that_are_left(who):
    """Of every target and example, without the target and its partner."""
    setting = SETTINGS[who]
    targets = PHI[:3] if who == "separate" else None
    against = prepared(setting, targets=targets)
    (sides,) = references.over_blocks(lambda part: jax.device_get(moments(*against.block(part))), [slice(0, N)])
    for s, n in itertools.product(np.flatnonzero(setting.usable), range(N)):
        left = setting.usable.copy()
        if who != "separate":
            left[[s, setting.partner_sn[s, n]]] = False
        row = 0 if who == "separate" else s
        for (count, mean, squares), side in zip(sides, (setting.keep[:, n], ~setting.keep[:, n]), strict=True):
            values = PHI[left & side, n].astype(np.float64)
            assert count[0, n, 0] == len(values)
            np.testing.assert_allclose(mean[row, n], values.mean(0), rtol=1e-9)
            np.testing.assert_allclose(squares[row, n], values.var(0) * len(values), rtol=1e-6)


def test_without_pairs_the_partner_is_a_usable_model_of_the_other_side():
    setting = SETTINGS["alone"]
    partner_sn = references.partners(setting.keep, None, setting.usable)
    other_side = np.take_along_axis(setting.keep, partner_sn, 0)
    assert (other_side != setting.keep)[setting.usable].all()
    assert setting.usable[partner_sn[setting.usable]].all()
    assert (partner_sn != partner_sn[:1]).any()
    again = references.partners(setting.keep, None, setting.usable, seed=1)
    assert (again != partner_sn).any()


def test_scores_come_in_the_order_of_the_examples_whatever_the_blocks(monkeypatch):
    against = prepared(SETTINGS["pairs"])
    monkeypatch.setattr(references, "FEW_BLOCKS", 0)
    seen = []

    def index(block, targets, part):
        seen.append(part)
        assert block[0].shape == targets.shape == (S, part.stop - part.start, A)
        assert block[0].dtype == np.float64
        return np.arange(part.start, part.stop)[None] + 100 * np.arange(S)[:, None]

    for size in (1, 7, 30):
        seen.clear()
        monkeypatch.setattr(references, "BLOCK_BYTES", size * 8 * S * A)
        scores = against.scores(index)
        assert len(seen) == -(-N // size)
        usable = SETTINGS["pairs"].usable
        want = np.arange(N)[None] + 100 * np.arange(S)[:, None]
        np.testing.assert_array_equal(scores[usable], want[usable])
        assert np.isnan(scores[~usable]).all()
        assert scores.dtype == np.float32


def test_few_blocks_are_one():
    against = prepared(SETTINGS["pairs"])
    assert against.slices() == [slice(0, N)]


def test_too_few_models_of_a_side_are_refused_with_the_example():
    keep = SETTINGS["pairs"].keep.copy()
    keep[:, 5] = np.arange(S) < 2
    everyone = np.ones(S, bool)
    with pytest.raises(ValueError, match="at least 3 IN and 3 OUT models, got 2 IN and 10 OUT for example 5"):
        references.check_counts(keep, everyone, *references.fewest(inside=True, separate=False))
    for inside, separate in ((True, True), (False, False), (False, True)):
        references.check_counts(keep, everyone, *references.fewest(inside, separate))
