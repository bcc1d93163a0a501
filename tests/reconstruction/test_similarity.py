import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.reconstruction import similarity
from jaxsnn_mia.reconstruction.similarity import ssim

RNG = np.random.default_rng(0)


def pairs(image, data_range, n=4):
    """Images from equal to unrelated, and a bright flat one, [n, D] each."""
    a = RNG.random((n, *image)) * data_range
    a[-1] = 0.9 * data_range + 0.01 * a[-1]
    share = np.linspace(0, 1, n).reshape(-1, 1, 1, 1)
    b = (1 - share) * a + share * RNG.random((n, *image)) * data_range
    b[-1] = a[-1] + 0.01 * b[-1]
    return (x.reshape(n, -1).astype(np.float32) for x in (a, b))


def ssim_by_loops(a, b, image, data_range, window):
    a, b = (x.astype(np.float64).reshape(image) for x in (a, b))
    c1, c2, values = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2, []
    for c in range(image[2]):
        for i in range(image[0] - window + 1):
            for j in range(image[1] - window + 1):
                p, q = (x[i : i + window, j : j + window, c].reshape(-1) for x in (a, b))
                covariance = np.cov(p, q)
                similar = (2 * p.mean() * q.mean() + c1) * (2 * covariance[0, 1] + c2)
                values.append(similar / ((p.mean() ** 2 + q.mean() ** 2 + c1) * (np.trace(covariance) + c2)))
    return np.mean(values)


CASES = [
    ((7, 8, 1), 1.0, 7),
    *[pytest.param(*case, marks=pytest.mark.long) for case in (((12, 9, 1), 1.0, 7), ((10, 12, 3), 255.0, 7))],
    ((7, 7, 2), 2.0, 3),
]


@pytest.mark.parametrize(("image", "data_range", "window"), CASES)
def test_ssim_is_that_of_a_slow_loop(image, data_range, window):
    a, b = pairs(image, data_range)
    expected = [ssim_by_loops(x, y, image, data_range, window) for x, y in zip(a, b, strict=True)]
    assert np.ptp(expected) > 0.1
    found = ssim(a, b, image, data_range, window)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found[0], 1.0, atol=1e-6)
    np.testing.assert_allclose(ssim(b, a, image, data_range, window), found, atol=1e-6)


@pytest.mark.parametrize(("image", "data_range", "window"), CASES)
def test_ssim_is_that_of_scikit_image(image, data_range, window):
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    a, b = pairs(image, data_range)
    expected = [
        metrics.structural_similarity(
            x.astype(np.float64).reshape(image), y.astype(np.float64).reshape(image),
            data_range=data_range, win_size=window, channel_axis=-1,
        )
        for x, y in zip(a, b, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(ssim(a, b, image, data_range, window), expected, atol=1e-6)


@pytest.mark.long
def test_any_leading_axes_jitted_or_mapped_are_the_same():
    image = (8, 7, 1)
    a, b = pairs(image, 1.0, 6)
    flat = ssim(a, b, image, 1.0)
    nested = ssim(a.reshape(2, 3, -1), b.reshape(2, 3, -1), image, 1.0)
    np.testing.assert_allclose(nested, np.asarray(flat).reshape(2, 3), atol=1e-6)
    alone = ssim(a[1], b[1], image, 1.0)
    assert alone.shape == ()
    np.testing.assert_allclose(alone, flat[1], atol=1e-6)
    mapped = jax.jit(jax.vmap(lambda a, b, data_range: ssim(a, b, image, data_range)))(a, b, jnp.ones(6))
    np.testing.assert_allclose(mapped, flat, atol=1e-6)


def test_what_has_no_ssim_is_refused():
    x = np.zeros((2, 36), np.float32)
    with pytest.raises(ValueError, match=r"sides 7 or more, got \(6, 6, 1\). Shrink `window`"):
        ssim(x, x, (6, 6, 1), 1.0)
    with pytest.raises(ValueError, match="odd int of at least 3, got 4"):
        ssim(x, x, (6, 6, 1), 1.0, 4)
    with pytest.raises(ValueError, match="odd int of at least 3, got 1"):
        ssim(x, x, (6, 6, 1), 1.0, 1)
    with pytest.raises(ValueError, match=r"must be \[..., 40\]"):
        ssim(x, x, (5, 8, 1), 1.0, 3)
    with pytest.raises(ValueError, match="got \\(2, 36\\) and \\(1, 36\\)"):
        ssim(x, x[:1], (6, 6, 1), 1.0, 3)


def test_mse_is_the_mean_over_the_last_axis():
    a, b = RNG.random((3, 4, 5)).astype(np.float32), RNG.random((3, 4, 5)).astype(np.float32)
    expected = [
        [sum((x - y) ** 2 for x, y in zip(a[i, j], b[i, j], strict=True)) / 5 for j in range(4)] for i in range(3)
    ]
    np.testing.assert_allclose(similarity.mse(jnp.asarray(a), jnp.asarray(b)), expected, rtol=1e-5)


def test_the_nearest_allowed_row_is_found():
    x_td, rows_nd = RNG.random((7, 49)).astype(np.float32), RNG.random((40, 49)).astype(np.float32)
    allowed_tn = RNG.random((7, 40)) < 0.3
    allowed_tn[5] = False
    rows_nd[10], allowed_tn[2, 10], allowed_tn[3, 10] = x_td[2], True, False  # a perfect find
    x_td[3] = x_td[2]  # which is not allowed to another
    distance_t, row_t = similarity.nearest(x_td, rows_nd, allowed_tn)
    value_t, similar_t = similarity.nearest_ssim(x_td, rows_nd, allowed_tn, (7, 7, 1), 1.0)
    assert (row_t[2], distance_t[2], similar_t[2]) == (10, 0.0, 10)
    assert (row_t[5], distance_t[5], similar_t[5], value_t[5]) == (-1, np.inf, -1, -np.inf)
    assert row_t.dtype == similar_t.dtype == jnp.int32
    for t in (0, 1, 2, 3, 4, 6):
        rows = np.flatnonzero(allowed_tn[t])
        errors = [((x_td[t].astype(np.float64) - rows_nd[n]) ** 2).mean() for n in rows]
        assert row_t[t] == rows[np.argmin(errors)]
        np.testing.assert_allclose(distance_t[t], min(errors), rtol=1e-5)
        values = [ssim_by_loops(x_td[t], rows_nd[n], (7, 7, 1), 1.0, 7) for n in rows]
        assert similar_t[t] == rows[np.argmax(values)]
        np.testing.assert_allclose(value_t[t], max(values), atol=1e-6)
    with pytest.raises(ValueError, match=r"\[targets, N\], got \(7, 49\), \(40, 49\) and \(7, 39\)"):
        similarity.nearest(x_td, rows_nd, allowed_tn[:, :39])


def test_a_planted_leak_shows_in_the_gap_and_none_does_not():
    rng = np.random.default_rng(1)
    member, other, noise = rng.normal(size=(3, 2000, 20))
    guess = 0.5 * member + noise  # a reconstruction that half knows the member
    found = similarity.mse(guess, other) - similarity.mse(guess, member)
    np.testing.assert_allclose(found.mean(), 1.0, atol=5 * found.std() / np.sqrt(2000))  # (1 + .25 + 1) - (.25 + 1)
    found = similarity.mse(noise, other) - similarity.mse(noise, member)
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(2000)
