"""Canaries and poison: who is a coin, who trains in every model, and what a canary is."""

import jax
import numpy as np
import pytest

from jaxsnn_mia.data import canaries, splits

C, COUNT, NATURAL = 5, 60, 80
KEY = jax.random.key(0)
ALWAYS, CANDIDATE = splits.ALWAYS, splits.CANDIDATE


def table():
    """x [400, 6] with a binary and a constant column; rows 0 to 39 are twenty pairs of duplicates."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6)).astype(np.float32)
    x[:, 0], x[:, 1] = rng.random(400) < 0.3, 7
    x[1:40:2] = x[:40:2]
    return x, rng.integers(C, size=400).astype(np.int32)


X, Y = table()
ROLE = np.where(np.arange(400) < 330, CANDIDATE, splits.POPULATION).astype(np.uint8)


def plant(kind="mislabelled", *, x=X, role=ROLE, key=KEY, **options):
    return canaries.plant(key, x, Y, role, C, **{"count": COUNT, "natural": NATURAL, "kind": kind, **options})


@pytest.mark.parametrize("kind", canaries.KINDS)
def test_some_rows_are_coins_and_all_other_candidates_train_always(kind):
    made = plant(kind)
    coin = made.role_n == CANDIDATE
    assert (coin.sum(), made.canary_n.sum(), len(made.x)) == (COUNT + NATURAL, COUNT, 400)
    assert coin[made.canary_n].all()
    np.testing.assert_array_equal(np.flatnonzero(coin | (made.role_n == ALWAYS)), np.arange(330))
    np.testing.assert_array_equal(made.role_n[330:], ROLE[330:])
    untouched = ~made.canary_n
    np.testing.assert_array_equal(made.x[untouched], X[untouched])
    np.testing.assert_array_equal(made.y[untouched], Y[untouched])
    assert not coin[:40].any()  # a duplicate that trains always would make its non-members members
    assert (made.x.dtype, made.y.dtype) == (np.float32, np.int32)


def test_a_mislabelled_row_has_any_label_but_its_own():
    made = plant()
    np.testing.assert_array_equal(made.x, X)
    shift = (made.y - Y)[made.canary_n] % C
    assert set(shift) == {1, 2, 3, 4}


def test_an_unchanged_row_is_unchanged():
    made = plant("unchanged")
    np.testing.assert_array_equal(made.x, X)
    np.testing.assert_array_equal(made.y, Y)


def test_a_duplicate_has_a_row_of_its_own_that_trains_always_and_has_another_label():
    made = plant("duplicate-of-class")
    twins = []
    for row, label in zip(made.x[made.canary_n], made.y[made.canary_n], strict=True):
        (same,) = np.flatnonzero((made.x == row).all(1) & ~made.canary_n)
        twins.append(same)
        assert made.role_n[same] == ALWAYS
        assert made.y[same] != label
    assert len(set(twins)) == COUNT


def test_noise_lies_in_the_range_of_the_data():
    made = plant("noise")
    drawn = made.x[made.canary_n]
    assert set(drawn[:, 0]) == {0, 1}
    assert set(drawn[:, 1]) == {7}
    assert all(np.isin(column, X[:330, d]).all() for d, column in enumerate(drawn.T))
    assert set(made.y[made.canary_n]) == set(range(C))
    assert abs(np.corrcoef(drawn[:, 2], X[made.canary_n, 2])[0, 1]) < 0.5
    images = np.random.default_rng(0).integers(0, 200, (400, 3, 3, 1)).astype(np.uint8)
    made = plant("noise", x=images)
    assert made.x.dtype == np.uint8
    assert made.x[made.canary_n].max() < 200


@pytest.mark.parametrize("kind", canaries.KINDS)
def test_poison_is_copies_with_one_wrong_label_that_train_always(kind):
    plain, made = plant(kind), plant(kind, poison=3)
    for before, after in zip(plain, made, strict=True):
        np.testing.assert_array_equal(after[:400], before)
    assert (made.role_n[400:] == ALWAYS).all()
    assert not made.canary_n[400:].any()
    x, y = made.x[400:].reshape(COUNT, 3, 6), made.y[400:].reshape(COUNT, 3)
    assert (y == y[:, :1]).all()
    targets = {row.tobytes(): label for row, label in zip(made.x[made.canary_n], made.y[made.canary_n], strict=True)}
    assert all(copy.tobytes() in targets for copies in x for copy in copies)
    assert all(targets[copies[0].tobytes()] != labels[0] for copies, labels in zip(x, y, strict=True))
    assert len({copies[0].tobytes() for copies in x}) == COUNT


def test_canaries_depend_on_the_key_alone():
    one, same, other = plant(), plant(), plant(key=jax.random.key(1))
    np.testing.assert_array_equal(one.canary_n, same.canary_n)
    np.testing.assert_array_equal(one.y, same.y)
    assert (one.canary_n != other.canary_n).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "wrong"}, r"`splits\.canary_kind` must be one of .*, got 'wrong'"),
        ({"count": 211}, r"the 290 candidates without an exact duplicate, got 211 canaries, 80 natural rows\. Set"),
        ({"kind": "duplicate-of-class", "count": 106}, r"got 106 canaries, 80 natural rows and 106 rows that they are"),
        ({"kind": "noise", "x": np.arange(400)[:, None] % 399.0}, r"the data does not hold, got \d+ of 60 rows"),
    ],
)
def test_canaries_that_cannot_be_made_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        plant(**change)


def test_rows_that_train_always_stand_behind_the_candidates():
    keep = np.array([[True, False], [False, True]])
    assert splits.with_always(keep, 0) is keep
    idx, mask = splits.training_rows(splits.with_always(keep, 2))
    np.testing.assert_array_equal(idx, [[0, 2, 3], [1, 2, 3]])
    assert mask.all()
