import jax
import numpy as np
import pytest

from jaxsnn_mia.data import splits

LABELS = np.arange(100) % 4


@pytest.mark.parametrize("rows", splits.ROWS)
def test_shadows_come_in_complementary_pairs(rows):
    keep = splits.make(jax.random.key(0), LABELS, 16, rows=rows)
    np.testing.assert_array_equal(keep[1::2], ~keep[::2])
    np.testing.assert_array_equal(keep.sum(0), 8)
    np.testing.assert_array_equal(keep[splits.partners(16)], ~keep)
    if rows == "exact":
        np.testing.assert_array_equal(keep.sum(1), 50)
    else:
        assert len(set(keep.sum(1))) > 2


def test_every_example_is_equally_likely_a_member_of_an_even_row():
    keep = np.concatenate([splits.make(jax.random.key(k), LABELS, 200)[::2] for k in range(5)])
    assert np.abs(keep.mean(0) - 0.5).max() < 5 * 0.5 / np.sqrt(500)


def test_duplicates_share_a_column():
    unit = np.arange(100)
    unit[50:60], unit[70:73] = 3, 8
    keep = splits.make(jax.random.key(0), LABELS, 16, unit_n=unit)
    for group in (3, 8):
        assert (keep[:, unit == group] == keep[:, unit == group][:, :1]).all()
    np.testing.assert_array_equal(keep.sum(1), 50)
    assert not (keep[0] == keep[2]).all()


def test_splits_depend_on_the_key_alone():
    one, same, other = (splits.make(jax.random.key(k), LABELS, 8) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_shadows": 7}, "even and at least 6, got 7"),
        ({"n_shadows": 4}, "even and at least 6, got 4"),
        ({"rows": "half"}, "'half'"),
        ({"labels_n": np.append(np.zeros(97, int), [1, 1, 1])}, "class 1 needs at least 2 members and 2 non-members"),
    ],
)
def test_bad_splits_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        splits.make(jax.random.key(0), **{"labels_n": LABELS, "n_shadows": 8, **change})


def test_roles_keep_duplicates_and_test_rows_together():
    unit = np.repeat(np.arange(200), 2)
    test = np.arange(400) >= 380
    test[0] = True  # so its duplicate, row 1, is no candidate
    role = splits.roles(jax.random.key(0), unit, population=0.2, validation=0.1, test_n=test)
    np.testing.assert_array_equal(role[::2], role[1::2])
    assert role[1] == splits.TEST
    shares = [np.mean(role[role != splits.TEST] == r) for r in (splits.CANDIDATE, splits.POPULATION, splits.VALIDATION)]
    np.testing.assert_allclose(shares, [0.7, 0.2, 0.1], atol=0.01)


def test_training_rows_are_padded_and_masked():
    keep = np.array([[True, False, True, True], [False, True, False, False]])
    idx, mask = splits.training_rows(keep)
    np.testing.assert_array_equal(idx, [[0, 2, 3], [1, 1, 1]])
    np.testing.assert_array_equal(mask, [[1, 1, 1], [1, 0, 0]])


def test_a_class_with_one_example_on_a_side_is_refused():
    labels, keep = np.array([0, 0, 0, 0, 1, 1, 1]), np.zeros((2, 7), bool)
    keep[0, [0, 1, 4]] = True
    keep[1] = ~keep[0]
    with pytest.raises(ValueError, match=r"class 1 needs at least 2 members and 2 non-members .* got 1 on a side \(3"):
        splits.check_classes(keep, labels)
    splits.check_classes(keep[:, :4], labels[:4])
