from statistics import NormalDist

import jax
import numpy as np
import pytest

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import population, quantile
from tests.attacks import planted

S, N, Z, D = 4, 600, 3000, 3
KEEP = planted.pairs(S, N)
VALID = np.arange(S) != 2
SLOPE = np.array([2.0, -1.0, 0.0])  # the last input is the same for all
LEVELS = (0.5, 0.25, 0.1, 0.05, 0.02)
ERROR = 1 / np.sqrt(3 * N * VALID.sum() / 2)  # standard error of a mean AUC over the valid targets, at most


def confidences(x, leak=0.0, seed=0):
    """float32 [S, len(x), 1]: linear in the input, with unit noise of the target's own."""
    noise = np.random.default_rng(seed).normal(size=(S, len(x)))
    return (x @ SLOPE + noise + leak).astype(np.float32)[..., None]


X = np.random.default_rng(1).normal(size=(N, D)).astype(np.float32)
X_POPULATION = np.random.default_rng(2).normal(size=(Z, D)).astype(np.float32)
X[:, 2] = X_POPULATION[:, 2] = 7.0
PHI = confidences(X, KEEP, seed=3)
PHI_POPULATION = confidences(X_POPULATION, seed=4)
ARRAYS = {"phi_sna": PHI, "x_nd": X, "phi_sza": PHI_POPULATION, "x_zd": X_POPULATION}
BOTH = {"phi_sna": np.concatenate([PHI, confidences(X, seed=3)], 1), "x_nd": np.concatenate([X, X])}
QUICK = {"levels": LEVELS, "hidden": (32,), "steps": 300}  # enough for linear quantiles; one program for all tests


@pytest.fixture(scope="module")
def fitted():
    """(regressors of the valid targets, scores [S, 2N] of examples with a leak and of the same ones without). The other
    target has diverged."""
    kept, fit = [], quantile.fit

    def keep(*args, **options):
        kept.append(fit(*args, **options))
        return kept[-1]

    broken = PHI_POPULATION.copy()
    broken[~VALID] = np.nan
    with pytest.MonkeyPatch.context() as patch, jax.numpy_dtype_promotion("strict"):
        patch.setattr(quantile, "fit", keep)
        score = quantile.score(**{**ARRAYS, **BOTH, "phi_sza": broken}, valid_s=VALID, **QUICK)
    (regressors,) = kept
    return regressors, score


@pytest.fixture
def regressors(fitted):
    return fitted[0]


@pytest.mark.long
def test_the_realised_fpr_of_the_held_out_population_is_the_nominal_one(regressors):
    held = regressors.held_z
    assert held.sum() == Z // 5
    fpr = quantile.realised_fpr(quantile.quantiles(regressors, X_POPULATION[held]), PHI_POPULATION[VALID][:, held, 0])
    assert fpr.shape == (VALID.sum(), len(LEVELS))
    nominal = np.array(LEVELS)
    # the share above a known quantile in the held-out part, and the quantile's own error from the rest
    error = np.sqrt(nominal * (1 - nominal) / VALID.sum() * (1 / held.sum() + 1 / (~held).sum()))
    assert (np.abs(fpr.mean(0) - nominal) < 3 * error).all()


def test_quantiles_are_those_of_the_gaussian_and_never_cross(regressors):
    got = quantile.quantiles(regressors, X)
    want = (X @ SLOPE)[:, None] + np.array([NormalDist().inv_cdf(1 - level) for level in LEVELS])
    assert np.sqrt(np.mean((got - want) ** 2)) < 0.25  # the noise is 1, the spread of the inputs' part 2.2
    far = quantile.quantiles(regressors, 100 * X)
    for quantiles in (got, far):
        assert (np.diff(quantiles, axis=-1) > 0).all()


def test_realised_fpr_counts_what_is_above():
    quantiles = np.array([[[0.0, 1.0], [2.0, 3.0], [0.0, 5.0], [1.0, 2.0]]])
    np.testing.assert_array_equal(quantile.realised_fpr(quantiles, np.array([[0.5, 4.0, 4.0, 1.0]])), [[0.75, 0.25]])


def test_depth_interpolates_the_log_rate_and_goes_on_beyond():
    quantiles = np.tile(np.array([0.0, 1.0, 3.0], np.float32), (6, 1))
    levels = np.array([0.5, 0.1, 0.01], np.float32)
    phi = np.array([0.0, 1.0, 3.0, 2.0, 5.0, -1.0], np.float32)
    two, five, ten = np.log(2), np.log(5), np.log(10)
    want = [two, ten, 2 * ten, 1.5 * ten, 3 * ten, two - five]
    np.testing.assert_allclose(jax.jit(quantile.depth)(quantiles, phi, levels), want, rtol=1e-5)


def test_pinball_is_lowest_at_the_quantiles():
    x, pinball = np.arange(100, dtype=np.float32), jax.jit(quantile.pinball)
    levels = np.array([0.3, 0.1], np.float32)

    def loss(low, high):
        return float(pinball(np.tile(np.array([low, high], np.float32), (100, 1)), x, levels))

    best = loss(69.5, 89.5)
    assert best < min(loss(67.5, 89.5), loss(71.5, 89.5), loss(69.5, 87.5), loss(69.5, 91.5))
    # one value: 3 above at 1 - .25 = .75, in units of sqrt(.75 x .25)
    one = pinball(np.zeros((100, 2), np.float32), np.full(100, 3, np.float32), np.full(2, 0.25, np.float32)) / 2
    assert float(one) == pytest.approx(3 * 0.75 / np.sqrt(0.75 * 0.25), rel=1e-6)


@pytest.mark.long
def test_inputs_that_say_nothing_give_the_marginal_quantiles():
    phi = PHI_POPULATION[VALID][..., 0]
    got = quantile.fit(phi, np.zeros((Z, D)), **QUICK)
    learnt = quantile.quantiles(got, np.zeros((1, D)))[:, 0]
    want = np.quantile(phi, 1 - np.array(LEVELS), axis=1).T
    # standard error of a sample quantile, sqrt(f (1 - f) / Z) / density, at its largest: the level .02
    np.testing.assert_allclose(learnt, want, atol=4 * 2.45 * np.sqrt(0.02 * 0.98 / Z) / 0.048)


def test_steps_that_the_held_out_fifth_does_not_confirm_are_not_kept(regressors):
    """There confidences fall with the input, elsewhere they rise: every step makes the loss of the fifth larger."""
    held, levels = regressors.held_z, np.array(LEVELS)
    phi = np.where(held, -1, 1) * PHI_POPULATION[VALID][..., 0]
    got = quantile.quantiles(quantile.fit(phi, X_POPULATION, **QUICK), X[:1])[:, 0]
    np.testing.assert_allclose(got, np.quantile(phi[:, ~held], 1 - levels, axis=1).T, rtol=1e-4, atol=1e-4)


def test_a_planted_leak_is_found_near_the_optimum(fitted):
    score = fitted[1][VALID, :N]
    assert score.dtype == np.float32
    phi, keep = PHI[VALID], KEEP[VALID]
    assert metrics.auc(population.loss(phi), keep) < 0.65
    optimum = metrics.auc(phi[..., 0] - X @ SLOPE, keep)
    assert optimum == pytest.approx(0.76025, abs=3 * ERROR)
    assert optimum - 0.015 < metrics.auc(score, keep) < optimum + 0.01


def test_without_a_leak_the_auc_is_one_half_and_scores_are_rates(fitted):
    score = fitted[1][VALID, N:]
    assert abs(metrics.auc(score, KEEP[VALID]) - 0.5) < 3 * ERROR
    for level in LEVELS[:3]:
        error = np.sqrt(level * (1 - level) / VALID.sum() * (1 / N + 1 / Z))
        assert abs(np.mean(score > -np.log(level)) - level) < 4 * error


def valid(**changes):
    """Scores of the valid targets."""
    given = {**ARRAYS, "phi_sna": PHI[VALID], "phi_sza": PHI_POPULATION[VALID], **QUICK}
    return quantile.score(**{**given, **changes})


def test_order_and_scale_of_the_confidences_play_no_part(fitted):
    order, score = np.random.default_rng(0).permutation(N), fitted[1][VALID, :N]
    moved = valid(phi_sna=3 * PHI[VALID][:, order] + 5, phi_sza=3 * PHI_POPULATION[VALID] + 5, x_nd=X[order])
    np.testing.assert_allclose(moved, score[:, order], rtol=1e-2, atol=1e-2)


@pytest.mark.long
def test_another_seed_has_other_weights_and_batches(fitted):
    assert np.abs(valid(seed=1) - fitted[1][VALID, :N]).max() > 0.1


def test_a_diverged_target_leaves_the_rest_alone(fitted):
    _, score = fitted
    assert np.isnan(score[~VALID]).all()
    np.testing.assert_array_equal(score[VALID], valid(phi_sna=BOTH["phi_sna"][VALID], x_nd=BOTH["x_nd"]))


def test_the_default_levels_end_where_the_population_does():
    assert len(quantile.check_levels(None, 10_000)) == 12
    few = quantile.check_levels(None, 200)
    assert few.min() * 200 >= 10 > quantile.DEFAULT_LEVELS[len(few)] * 200
    np.testing.assert_allclose(quantile.check_levels(None, 10_000)[[0, -1]], [0.5, 0.001])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": (0.5, 0.001)}, r"at least 10 / Z = 0.00333 for a population of 3000, got 0.001"),
        ({"levels": (0.1, 0.5)}, "falling rates"),
        ({"levels": (0.5,)}, "at least 2"),
        ({"levels": (1.0, 0.5)}, r"in \(0, 1\)"),
        ({"steps": 0}, "at least 1, got 0"),
        ({"phi_sza": PHI_POPULATION[:, :30], "x_zd": X_POPULATION[:30]}, "larger population, got 30"),
        ({"x_nd": X[:5]}, r"must be \[S, N, A\], \[N, D\]"),
        ({"x_zd": X_POPULATION[:, :2]}, "Flatten the inputs"),
        ({"phi_sna": PHI[..., 0]}, r"must be \[S, N, A\]"),
        ({"phi_sza": np.full_like(PHI_POPULATION, np.nan)}, "`phi_sza` must be finite"),
        ({"x_nd": np.full_like(X, np.inf)}, "`x_nd` must be finite"),
    ],
)
def test_bad_arguments_are_refused_with_the_reason(change, message):
    with pytest.raises(ValueError, match=message):
        quantile.score(**{**ARRAYS, **change})
