import numpy as np
import pytest

from jaxsnn_mia.attacks.attribute import columns

RNG = np.random.default_rng(3)
Y = RNG.integers(4, size=60)


def test_a_discrete_column_has_its_sorted_values():
    values_v, code_n = columns.column(np.array([3, -1, 3, 7]))
    np.testing.assert_array_equal(values_v, [-1, 3, 7])
    np.testing.assert_array_equal(code_n, [1, 0, 1, 2])
    assert (values_v.dtype, code_n.dtype) == (np.float32, np.int64)
    assert len(columns.column(np.arange(32)).values_v) == 32


def test_bins_of_distinct_values_are_equally_full_and_represented_by_their_medians():
    values_n = RNG.permutation(np.arange(12.0)) ** 2
    values_v, code_n = columns.column(values_n, bins=4)
    np.testing.assert_array_equal(values_v, [1, 16, 49, 100])
    np.testing.assert_array_equal(code_n, np.sqrt(values_n) // 3)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("bins", range(2, 9))
def test_tied_values_share_a_bin_and_two_bins_are_left(sign, bins):
    values_n = sign * np.concatenate([np.zeros(90), np.arange(1.0, 11.0)])
    values_v, code_n = columns.column(values_n, bins)
    assert len(set(code_n[:90])) == 1
    assert 2 <= len(values_v) <= bins
    assert set(code_n) == set(range(len(values_v)))
    assert (np.diff(code_n[np.argsort(values_n)]) >= 0).all()
    np.testing.assert_array_equal(values_v, [np.median(values_n[code_n == v]) for v in range(len(values_v))])


@pytest.mark.parametrize(
    ("values", "bins", "match"),
    [
        (np.full(5, 2.0), 0, "at least 2 distinct values"),
        (np.full(5, 2.0), 3, "at least 2 distinct values"),
        (np.arange(33), 0, "at most 32 distinct"),
        (np.arange(5), 1, "`bins` must be 0"),
        (np.arange(5), -2, "`bins` must be 0"),
        ([1.0, np.nan], 0, "finite"),
        ([1.0, 1e300], 0, "finite"),
        ([[1.0], [2.0]], 0, r"\[N\]"),
    ],
)
def test_a_column_that_cannot_be_guessed_is_refused(values, bins, match):
    with pytest.raises(ValueError, match=match):
        columns.column(values, bins)


def test_queries_differ_in_the_column_alone():
    x_nd = np.arange(6.0).reshape(2, 3)
    got = columns.with_values(x_nd, 1, np.array([8, 9]))
    np.testing.assert_array_equal(got, [[[0, 8, 2], [0, 9, 2]], [[3, 8, 5], [3, 9, 5]]])
    assert got.dtype == np.float32
    for x, index, values in ((x_nd, 3, [1]), (x_nd, -1, [1]), (x_nd[0], 0, [1]), (x_nd, 0, [[1]])):
        with pytest.raises(ValueError, match="must be"):
            columns.with_values(x, index, values)


def labelled(count, seed):
    """(x without the column [count, 2], labels of 4 classes, codes): the code is more often 1 for labels 0 and 3, and
    always 2 where the first column is above 1."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(count, 2)), rng.integers(4, size=count)
    code = (rng.random(count) < np.array([0.9, 0.2, 0.2, 0.9])[y]).astype(int)
    return x, y, np.where(x[:, 0] > 1, 2, code)


def test_imputation_learns_from_the_other_columns_and_from_the_label_as_a_category():
    x_z, y_z, code_z = labelled(3000, 0)
    x, y, code = labelled(400, 1)
    got = columns.imputation(x_z, y_z, code_z, x, y, 3)
    np.testing.assert_allclose(got.sum(1), 1)
    assert got[x[:, 0] > 1.05, 2].min() > 0.9
    assert (got.argmax(1) == code).mean() > 0.84  # the best is .88
    nothing = np.zeros((3000, 0))
    alone = columns.imputation(nothing, y_z, code_z, nothing[:4], np.arange(4), 3)
    share = np.array([[np.mean(code_z[y_z == c] == v) for v in range(3)] for c in range(4)])
    np.testing.assert_allclose(alone, share, atol=0.02)


def test_values_that_the_population_lacks_get_the_smoothed_marginal():
    x_z, y_z, code_z = labelled(80, 0)
    x, y, _ = labelled(10, 1)
    whole = columns.imputation(x_z, y_z, code_z, x, y, 3)
    got = columns.imputation(x_z, y_z, np.array([0, 2, 3])[code_z], x, y, 5)
    np.testing.assert_allclose(got[:, [1, 4]], 1 / 85)
    np.testing.assert_allclose(got[:, [0, 2, 3]], whole * 83 / 85)
    one = columns.imputation(x_z, y_z, np.full(80, 1), x, np.full(10, 7), 3)
    np.testing.assert_allclose(one, np.broadcast_to([1 / 83, 81 / 83, 1 / 83], (10, 3)))


def test_imputation_depends_on_the_population_alone_and_is_the_same_again():
    x_z, y_z, code_z = labelled(200, 0)
    x, y, _ = labelled(50, 1)
    got = columns.imputation(x_z, y_z, code_z, x, y, 3)
    others, labels = np.concatenate([x[:20], 5 + x[20:]]), np.concatenate([y[:20], np.full(30, 9)])
    again = columns.imputation(x_z, y_z, code_z, others, labels, 3)
    np.testing.assert_array_equal(again[:20], got[:20])
    assert np.isfinite(again).all()
    assert np.abs(again[20:] - got[20:]).max() > 0.1


def test_the_numbers_of_the_labels_mean_nothing_and_an_unknown_one_goes_with_the_many():
    rng = np.random.default_rng(5)
    y_z, y, renamed = rng.integers(20, size=900), np.arange(20), rng.permutation(20)
    code_z = (rng.random(900) < 0.1 + 0.8 * rng.random(20)[y_z]).astype(int)
    got, again = (
        columns.imputation(np.zeros((900, 0)), a, code_z, np.zeros((20, 0)), b, 2)
        for a, b in ((y_z, y), (renamed[y_z], renamed[y]))
    )
    np.testing.assert_allclose(again, got, atol=1e-6)
    rare_z = np.arange(900) % 20 == 0
    got = columns.imputation(np.zeros((900, 0)), 1 - rare_z, rare_z * 1, np.zeros((3, 0)), np.array([0, 1, 9]), 2)
    np.testing.assert_allclose(got[0, 1], 1, atol=0.1)
    np.testing.assert_allclose(got[1:, 1], 0, atol=0.1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"x_z": np.zeros((0, 2)), "y_z": Y[:0], "code_z": Y[:0]}, "population"),
        ({"y_z": Y[:9]}, r"`y_z` and `code_z` \[Z\]"),
        ({"x_n": np.zeros((4, 3))}, "like `x_zd_without`"),
        ({"y_n": Y[:3]}, r"`y_n` \[N\]"),
        ({"x_n": np.full((4, 2), np.inf)}, "finite"),
        ({"code_z": np.full(10, 3)}, r"int in \[0, 3\)"),
        ({"code_z": np.full(10, 0.5)}, r"int in \[0, 3\)"),
    ],
)
def test_imputation_refuses(change, match):
    given = {
        "x_z": np.zeros((10, 2)),
        "y_z": Y[:10],
        "code_z": np.arange(10) % 3,
        "x_n": np.zeros((4, 2)),
        "y_n": Y[:4],
    }
    with pytest.raises(ValueError, match=match):
        columns.imputation(*(given | change).values(), 3)


def test_others_are_put_into_the_bins_of_the_population():
    rng = np.random.default_rng(0)
    values = rng.normal(size=200).astype(np.float32)
    column = columns.column(values, 4)
    np.testing.assert_array_equal(columns.binned(column, values, values), column.code_n)
    code = columns.binned(column, values, np.array([-99, 99, *column.values_v]))
    np.testing.assert_array_equal(code, [0, 3, 0, 1, 2, 3])
