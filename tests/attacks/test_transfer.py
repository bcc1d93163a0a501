"""The label-only attack by what fools other models: a slow loop, without a leak, planted, and refusals."""

import numpy as np
import pytest

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import difficulty
from tests.attacks import planted

S, N = 16, 400
KEEP, PARTNERS = planted.pairs(S, N), np.arange(S) ^ 1


def survival(leak, seed=0):
    """In steps of a sixteenth, as a ladder of sizes gives it; the half of a model decides how far all of it goes."""
    rng = np.random.default_rng(seed)
    far = 0.4 + 0.15 * rng.normal(size=(2, N))[np.arange(S) // 2 % 2]
    values = far + 0.1 * rng.normal(size=(S, N)) + leak * KEEP
    return (np.clip(np.round(16 * values), 0, 16) / 16).astype(np.float32)[..., None]


def test_is_the_slow_loop_over_the_models_of_a_half():
    valid = np.arange(S) != 5
    got = difficulty.transfer(survival(0.1), KEEP, partner_s=PARTNERS, valid_s=valid)
    values = survival(0.1)[..., 0].astype(np.float64)
    half = np.arange(S) // 2 % 2
    for s in range(S):
        if s in (4, 5):
            assert np.isnan(got[s]).all()
            continue
        for n in range(0, N, 37):
            others = [o for o in range(S) if half[o] == half[s] and o // 2 not in (s // 2, 2) and not KEEP[o, n]]
            assert got[s, n] == pytest.approx(values[s, n] - values[others, n].mean(), abs=1e-6)


def test_without_a_leak_the_auc_is_one_half_and_a_leak_is_found():
    error = 1 / np.sqrt(3 * N * S / 2)
    assert abs(metrics.auc(difficulty.transfer(survival(0.0), KEEP, partner_s=PARTNERS), KEEP) - 0.5) < 3 * error
    found = metrics.auc(difficulty.transfer(survival(0.1), KEEP, partner_s=PARTNERS), KEEP)
    assert found > metrics.auc(survival(0.1)[..., 0], KEEP) + 0.03 > 0.6


def test_the_models_of_the_other_half_play_no_part():
    values = survival(0.1)
    other = values.copy()
    other[np.arange(S) // 2 % 2 == 1] = 0.0
    first = np.arange(S) // 2 % 2 == 0
    got, changed = (difficulty.transfer(x, KEEP, partner_s=PARTNERS)[first] for x in (values, other))
    np.testing.assert_array_equal(got, changed)


@pytest.mark.parametrize("partner_s", [None, np.roll(np.arange(S), S // 2)])
def test_shadows_without_pairs_in_a_row_are_refused(partner_s):
    with pytest.raises(ValueError, match="`partner_s` must be s \\^ 1"):
        difficulty.transfer(survival(0.0), KEEP, partner_s=partner_s)
