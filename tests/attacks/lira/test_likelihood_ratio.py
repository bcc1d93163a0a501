import jax
import numpy as np
import pytest

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import lira, references
from jaxsnn_mia.attacks.lira import hierarchical, likelihood_ratio
from jaxsnn_mia.attacks.lira import variance as spread
from tests.attacks import loops, planted
from tests.attacks.lira.cases import EVERY, KEEP, MEDIAN, PARTNERS, PHI, SETTINGS, given

LONG = pytest.mark.long  # mostly what takes long to compile
STEPS = np.round(PHI * 0.06 / 0.25).astype(np.float32) * np.float32(0.25)  # many models agree exactly
LOOPS = {
    "fixed": (loops.lira_fixed, {"variance": "fixed"}),
    "shrinkage": (loops.lira_shrinkage, {"variance": "shrinkage"}),
    "median": (loops.lira_median, MEDIAN),
}
OFFLINE = pytest.param("offline", marks=LONG)


@pytest.mark.parametrize("mode", ["online", OFFLINE])
@pytest.mark.parametrize("variance", ["pooled", "per_example"])
def test_vectorised_scores_equal_the_float64_loop(mode, variance):
    got = lira.score(PHI, KEEP, partner_s=PARTNERS, mode=mode, variance=variance)
    want = loops.lira(PHI, KEEP, mode, pooled=variance == "pooled")
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["pairs", "alone"])
@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *[(kind, "online") for kind in LOOPS],
        ("shrinkage", "offline"),
        pytest.param("fixed", "offline", marks=LONG),
        pytest.param("median", "offline", marks=LONG),
    ],
)
def test_every_spread_equals_its_loop_whoever_is_compared(kind, mode, name):
    """A diverged shadow and its partner get NaN, as in the loop."""
    setting, phi, _ = given(name)
    loop, options = LOOPS[kind]
    got = lira.score(phi, setting.keep, mode=mode, **setting.options, **options)
    np.testing.assert_allclose(got, loops.each(loop(mode), phi, setting), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("kind", ["shrinkage", *[pytest.param(k, marks=LONG) for k in ("fixed", "median")]])
def test_every_spread_equals_its_loop_for_separate_targets(kind):
    setting, phi, targets = given("separate")
    loop, options = LOOPS[kind]
    got = lira.score(phi, setting.keep, target_phi_kna=targets, **setting.options, **options)
    np.testing.assert_allclose(got, loops.each(loop("online"), phi, setting, targets), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("variance", ["shrinkage", "hierarchical"])
def test_the_same_settings_are_compiled_once(variance):
    compiled = (
        likelihood_ratio._score, likelihood_ratio._sums, likelihood_ratio._moments, hierarchical._score,
        hierarchical._moments,
    )  # fmt: skip
    score = lira.score(PHI, KEEP, partner_s=PARTNERS, variance=variance)
    sizes = [program._cache_size() for program in compiled]
    lira.score(PHI + 1, KEEP, partner_s=PARTNERS, variance=variance)
    again = lira.score(PHI, KEEP.copy(), partner_s=list(PARTNERS), mode="".join(["on", "line"]), variance=variance)
    np.testing.assert_array_equal(again, score)
    assert [program._cache_size() for program in compiled] == sizes


@pytest.mark.parametrize("options", EVERY)
def test_large_offsets_do_not_cancel(options):
    shifted = (PHI + 1000).astype(np.float32)
    near = (shifted.astype(np.float64) - 1000).astype(np.float32)  # exact
    scores = [lira.score(x, KEEP, partner_s=PARTNERS, **options) for x in (shifted, near)]
    np.testing.assert_allclose(*scores, rtol=1e-5, atol=1e-5)


def test_the_published_log_density():
    # IN = {-1, 1}: mean 0, variance 1, so -log N(1; 0, 1) = 1.418939
    side = (np.full((1, 1, 1), 2.0), np.zeros((1, 1, 1)), np.full((1, 1, 1), 2.0))
    sigma = np.sqrt(spread.of_sides("per_example", (side, side), None, None)[0])
    density = jax.jit(likelihood_ratio.norm.logpdf)(np.float64(1), side[1], sigma)
    assert float(-density[0, 0, 0]) == pytest.approx(1.418939, abs=1e-6)


@pytest.mark.parametrize("options", [*EVERY, {"compat": "lira2021"}])
def test_swapping_in_and_out_negates_the_online_score(options):
    score = lira.score(PHI, KEEP, partner_s=PARTNERS, **options)
    np.testing.assert_allclose(lira.score(PHI, ~KEEP, partner_s=PARTNERS, **options), -score, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [*EVERY, {"compat": "lira2021"}])
def test_permuting_examples_permutes_the_scores_and_a_constant_changes_nothing(options):
    order = np.random.default_rng(0).permutation(30)
    score = lira.score(PHI, KEEP, partner_s=PARTNERS, **options)
    np.testing.assert_allclose(
        lira.score(PHI[:, order], KEEP[:, order], partner_s=PARTNERS, **options), score[:, order], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(lira.score(PHI + 1, KEEP, partner_s=PARTNERS, **options), score, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"variance": "pooled"},
        *[pytest.param(o, marks=LONG) for o in ({"variance": "shrinkage"}, {"location": "median"})],
    ],
)
def test_blocks_and_memory_maps_change_nothing(options, monkeypatch, tmp_path):
    phi = planted.uneven(KEEP, A=2, differ=3.0)  # some below the floor
    np.save(tmp_path / "phi.npy", phi)
    mapped = np.load(tmp_path / "phi.npy", mmap_mode="r")
    whole = lira.score(phi, KEEP, partner_s=PARTNERS, **options)
    monkeypatch.setattr(references, "BLOCK_BYTES", 10 * 8 * 12 * 2)  # 10 of 30 examples
    monkeypatch.setattr(references, "FEW_BLOCKS", 1)
    monkeypatch.setattr(references.os, "cpu_count", lambda: 1)  # else each thread compiles the same
    np.testing.assert_allclose(lira.score(mapped, KEEP, partner_s=PARTNERS, **options), whole, rtol=1e-6, atol=1e-6)


@LONG
@pytest.mark.parametrize("options", [{"variance": "pooled"}, {"variance": "per_example"}, MEDIAN])
def test_a_planted_leak_is_found_near_the_optimum(options):
    keep = planted.pairs(64, 1000)
    score = lira.score(planted.phi(keep, leak=1.0), keep, partner_s=np.arange(64) ^ 1, **options)
    assert 0.73 < metrics.auc(score, keep) < 0.765  # the likelihood ratio with known parameters has .760


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({"variance": "per_example"}, "online"),
        ({"location": "median"}, "online"),
        pytest.param({"location": "median"}, "offline", marks=LONG),
    ],
)
def test_the_floor_is_the_least_deviation(options, mode):
    floor, setting = 0.25 / np.sqrt(12), SETTINGS["pairs"]._replace(usable=np.ones(12, bool))
    score = lira.score(STEPS, KEEP, partner_s=PARTNERS, sigma_floor=floor, mode=mode, **options)

    def floored(values):
        middle = np.mean if "variance" in options else np.median
        deviations = [np.std(v) if "variance" in options else 1.4826 * np.median(np.abs(v - middle(v))) for v in values]
        assert min(deviations) < 1e-9
        return np.maximum(deviations, floor) ** 2, middle

    def of(x, inside, outside):
        (v_in, middle), (v_out, _) = map(floored, (inside, outside))
        return loops.likelihood_ratio(x, inside, outside, mode, (v_in, v_out), middle)

    want = loops.each(loops.mean_over_queries(of), STEPS, setting)
    np.testing.assert_allclose(score, want, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("options", [*EVERY, {"compat": "lira2021"}])
def test_models_that_say_the_same_of_everything_betray_nothing(options):
    score = lira.score(np.ones_like(PHI), KEEP, partner_s=PARTNERS, **options)
    np.testing.assert_array_equal(score, 0)


def test_a_diverged_shadow_takes_its_partner_out():
    """Neither of them is looked at, whatever it holds."""
    valid = np.arange(12) != 3
    broken, far = PHI.copy(), PHI.copy()
    broken[3], far[[2, 3]] = np.nan, 1e3
    score, same = (lira.score(phi, KEEP, partner_s=PARTNERS, valid_s=valid) for phi in (broken, far))
    np.testing.assert_array_equal(np.isnan(score).all(1), np.isin(np.arange(12), [2, 3]))
    np.testing.assert_array_equal(score, same)


@pytest.mark.long
def test_a_diverged_shadow_leaves_the_rest_as_they_are_without_it():
    broken, rest = PHI.copy(), np.delete(np.arange(12), [2, 3])
    broken[3] = np.nan
    score = lira.score(broken, KEEP, partner_s=PARTNERS, valid_s=np.arange(12) != 3)
    alone = lira.score(PHI[rest], KEEP[rest], partner_s=PARTNERS[:10])
    np.testing.assert_allclose(score[rest], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_separate_targets_are_compared_with_all_references():
    targets = planted.phi(KEEP, A=2, leak=1.0, seed=5)[:3]
    got = lira.score(PHI, KEEP, target_phi_kna=targets, variance="per_example")
    logs = []
    for side in (KEEP, ~KEEP):
        references_sna = np.where(side[..., None], PHI, np.nan).astype(np.float64)
        logs.append(loops.log_normal(targets, np.nanmean(references_sna, 0), np.nanstd(references_sna, 0)))
    np.testing.assert_allclose(got, (logs[0] - logs[1]).mean(-1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep_sn": KEEP.astype(int)}, "boolean"),
        ({"keep_sn": KEEP[:, :5]}, r"\[S, N\] like `phi_sna` \(12, 30, 2\), got \(12, 5\)"),
        ({"phi_sna": np.full_like(PHI, np.nan)}, "finite"),
        ({"phi_sna": PHI[..., 0]}, r"\[S, N, A\]"),
        ({"mode": "both"}, "'both'"),
        ({"variance": "all"}, "'all'"),
        ({"location": "mode"}, "'mode'"),
        ({"compat": "lira"}, "'lira'"),
        ({"location": "median", "variance": "pooled"}, "for location='median', got 'pooled'"),
        ({"compat": "lira2021", "variance": "shrinkage"}, "'fixed' and 'per_example', got 'shrinkage'"),
        ({"target_phi_kna": PHI[:, :5]}, r"`target_phi_kna` must be \[K, 30, 2\], got \(12, 5, 2\)"),
        ({"keep_sn": np.ones_like(KEEP)}, "at least 3 IN and 3 OUT"),
        ({"partner_s": np.roll(np.arange(12), 1)}, "complementary"),
        ({"valid_s": np.arange(12) < 4}, "at least 3 IN"),
    ],
)
def test_bad_arrays_are_refused_with_the_reason(change, message):
    with pytest.raises(ValueError, match=message):
        lira.score(**{"phi_sna": PHI, "keep_sn": KEEP, "partner_s": PARTNERS, **change})
