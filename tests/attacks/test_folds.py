import numpy as np
import pytest

from jaxsnn_mia.attacks import folds
from tests.attacks import planted

S, N = 8, 300
KEEP = planted.pairs(S, N)
PARTNERS = np.arange(S) ^ 1
LABELS = np.random.default_rng(7).integers(0, 3, N)


def test_partners_share_a_fold_and_folds_are_even():
    valid = np.arange(24) != 5
    fold = folds.pair_folds(24, np.arange(24) ^ 1, valid, 4, 0)
    np.testing.assert_array_equal(fold[::2], fold[1::2])
    np.testing.assert_array_equal(np.flatnonzero(fold == -1), [4, 5])
    assert sorted(np.bincount(fold[fold >= 0])) == [4, 6, 6, 6]
    assert (fold != folds.pair_folds(24, np.arange(24) ^ 1, valid, 4, 1)).any()
    alone = folds.pair_folds(7, None, None, 3, 0)
    assert sorted(np.bincount(alone)) == [2, 2, 3]
    np.testing.assert_array_equal(np.sort(folds.pair_folds(6, np.arange(6) ^ 1, None, 4, 0)), [0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": 1}, "at least 2, got 1"),
        ({"valid_s": np.arange(S) < 3}, "at least 2 usable pairs of shadows, got 1 of 8"),
        ({"partner_s": np.roll(np.arange(S), 1)}, "must name pairs"),
        ({"partner_s": np.arange(S - 1)}, "must hold 8 shadows"),
        ({"partner_s": -np.arange(S)}, r"in \[0, 8\)"),
    ],
)
def test_bad_folds_are_refused_with_the_reason(change, message):
    with pytest.raises(ValueError, match=message):
        folds.pair_folds(**{"n_shadows": S, "partner_s": PARTNERS, "valid_s": None, "folds": 4, "seed": 0, **change})


@pytest.mark.parametrize("at_most", [10_000, 101])
@pytest.mark.parametrize("keep", [KEEP, planted.without_pairs(S, N, 0)])
def test_rows_are_balanced_within_every_example_and_never_repeat(keep, at_most):
    learn, among = np.array([0, 1, 4, 5, 6]), np.flatnonzero(LABELS == 1)
    s, n = folds.balanced_rows(keep, learn, among, at_most, np.random.default_rng(0))
    matches = np.minimum(keep[learn][:, among].sum(0), (~keep[learn][:, among]).sum(0)).sum()
    assert len(s) == 2 * min(matches, at_most // 2)
    assert len(set(zip(s, n, strict=True))) == len(s)
    assert set(s) <= set(learn)
    assert set(n) <= set(among)
    member = keep[s, n]
    np.testing.assert_array_equal(np.bincount(n[member], minlength=N), np.bincount(n[~member], minlength=N))


def test_one_shadow_gives_as_many_members_as_others():
    s, n = folds.balanced_rows(KEEP, np.array([3]), np.arange(N), 100, np.random.default_rng(0))
    assert len(np.unique(n)) == 100
    assert KEEP[s, n].sum() == 50
    assert set(s) == {3}
