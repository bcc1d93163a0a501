import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import lira, references
from jaxsnn_mia.attacks.lira import likelihood_ratio
from jaxsnn_mia.attacks.lira import variance as spread
from tests.attacks import loops, planted

LONG = pytest.mark.long  # mostly what takes long to compile
KEEP = planted.pairs(12, 30)
PHI = planted.phi(KEEP, A=2, leak=1.0)
PARTNERS = np.arange(12) ^ 1
STEPS = np.round(PHI * 0.06 / 0.25).astype(np.float32) * np.float32(0.25)  # many models agree exactly
SETTINGS = planted.settings()
SIZES = {8: 16_384, 16: 16_384, 64: 1000, 256: 500}  # examples of simulations; those of test_null where they can be
LOOPS = {
    "fixed": (loops.lira_fixed, {"variance": "fixed"}),
    "shrinkage": (loops.lira_shrinkage, {"variance": "shrinkage"}),
    "median": (loops.lira_median, {"location": "median", "sigma_floor": 1e-9}),
}
MEDIAN = LOOPS["median"][1]
EVERY = [{"variance": variance} for variance in spread.VARIANCES[1:]] + [MEDIAN]
BLOCKED = [{"variance": "shrinkage"}, pytest.param({"location": "median"}, marks=LONG)]


def given(name, A=2):
    """(setting, phi with NaN where a shadow has diverged, separate targets or None)."""
    setting = SETTINGS[name]
    phi = planted.uneven(setting.keep, A=A, differ=0.8, inside=0.6)
    targets = planted.uneven(setting.keep, A=A, seed=9)[:3] if setting.partner_sn is None else None
    return setting, setting.diverged(phi), targets


@pytest.mark.parametrize("mode", likelihood_ratio.MODES)
@pytest.mark.parametrize("variance", ["pooled", "per_example"])
def test_vectorised_scores_equal_the_float64_loop(mode, variance):
    got = lira.score(PHI, KEEP, partner_s=PARTNERS, mode=mode, variance=variance)
    want = loops.lira(PHI, KEEP, mode, pooled=variance == "pooled")
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["pairs", "alone"])
@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        pytest.param(k, m, marks=LONG if (k, m) == ("median", "offline") else ())
        for k in LOOPS
        for m in likelihood_ratio.MODES
    ],
)
def test_every_spread_equals_its_loop_whoever_is_compared(kind, mode, name):
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


def test_the_loop_of_the_shrunk_variances_meets_every_case():
    found = {}
    for name in SETTINGS:
        setting, phi, targets = given(name)
        of_name = found.setdefault(name, [])
        loops.each(loops.lira_shrinkage("online", found=of_name), phi, setting, targets)
    shared, own = np.concatenate(list(found.values())).T
    assert ((shared > 0.5) & (shared < 10)).any()
    assert (own < 10).any()
    assert (own == loops.ALIKE).any()


def test_the_strength_of_shrinkage_is_read_off_a_sample(monkeypatch):
    phi = planted.uneven(KEEP, A=2, differ=0.8, inside=0.6)
    monkeypatch.setattr(likelihood_ratio, "SAMPLE", phi.size // 3)
    setting = planted.Setting(KEEP, np.broadcast_to(PARTNERS[:, None], KEEP.shape), *[np.ones(12, bool)] * 2, PARTNERS)
    got = lira.score(phi, KEEP, partner_s=PARTNERS, variance="shrinkage")
    want = loops.each(loops.lira_shrinkage("online", step=3), phi, setting)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)
    monkeypatch.undo()
    assert np.abs(got - lira.score(phi, KEEP, partner_s=PARTNERS, variance="shrinkage")).max() > 0.01


def test_the_inverse_of_trigamma():
    y = np.logspace(-5, 2.5, 40)
    np.testing.assert_allclose(scipy.special.polygamma(1, spread.trigamma_inverse(y)), y, rtol=1e-8)
    assert (spread.trigamma_inverse(np.array([-1.0, 0.0])) > 0.99 * spread.MOST_FREEDOM).all()


def test_planted_degrees_of_freedom_are_found():
    """Variances of examples as 8 / chi2(8), of 7 models on each side."""
    rng = np.random.default_rng(0)
    spread_n1 = 8 / rng.chisquare(8, (20_000, 1))
    ones = np.ones((1, 20_000, 1))
    sides = [(7 * ones, 0 * ones, (spread_n1 * rng.chisquare(6, (20_000, 1)))[None]) for _ in range(2)]
    pools = [spread.Pool(np.full((1, 1, 1), 8 / 6), None)] * 2
    shared, own = spread.prior(sides, pools)
    assert shared.item() == pytest.approx(8, rel=0.1)
    assert own.item() > 100  # no side has a deviation of its own


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("variance", ["fixed", "per_example"])
@pytest.mark.parametrize("mode", likelihood_ratio.MODES)
def test_compat_is_the_reference_evaluator(mode, variance, name):
    setting, phi, targets = given(name)
    options = {"mode": mode, "variance": variance, "target_phi_kna": targets}
    got = lira.score(phi, setting.keep, compat="lira2021", **options, **setting.options)
    want = loops.each(loops.lira2021(mode, variance), phi, setting, targets)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(np.argsort(got, axis=1), np.argsort(want.astype(np.float32), axis=1))


def test_compat_takes_as_many_models_as_the_scarcest_example_has():
    setting, phi, _ = given("separate")
    far = phi.copy()  # the last IN model of an example with more than the fewest
    n = int(np.argmax((setting.keep & setting.valid[:, None]).sum(0)))
    far[np.flatnonzero(setting.keep[:, n] & setting.valid)[-1], n] = 1e6
    scores = [
        lira.score(x, setting.keep, compat="lira2021", target_phi_kna=phi[:2], **setting.options) for x in (phi, far)
    ]
    np.testing.assert_array_equal(*scores)


def test_compat_scores_members_higher():
    keep = planted.pairs(16, 400)
    for mode, least in (("online", 0.65), ("offline", 0.55)):
        phi = planted.phi(keep, leak=2.0 if mode == "offline" else 1.0)
        score = lira.score(phi, keep, partner_s=np.arange(16) ^ 1, compat="lira2021", mode=mode)
        assert metrics.auc(score, keep) > least


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
    density = likelihood_ratio.norm.logpdf(np.float64(1), side[1], sigma)
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


@pytest.mark.parametrize("options", BLOCKED)
def test_blocks_and_memory_maps_change_nothing(options, monkeypatch, tmp_path):
    phi = planted.uneven(KEEP, A=2, differ=3.0)  # some below the floor
    np.save(tmp_path / "phi.npy", phi)
    mapped = np.load(tmp_path / "phi.npy", mmap_mode="r")
    whole = lira.score(phi, KEEP, partner_s=PARTNERS, **options)
    monkeypatch.setattr(references, "BLOCK_BYTES", 10 * 8 * 12 * 2)  # 10 of 30 examples
    monkeypatch.setattr(references, "FEW_BLOCKS", 1)
    monkeypatch.setattr(references.os, "cpu_count", lambda: 1)  # else each thread compiles the same
    np.testing.assert_allclose(lira.score(mapped, KEEP, partner_s=PARTNERS, **options), whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"variance": "pooled"}, {"variance": "per_example"}, pytest.param(MEDIAN, marks=LONG)]
)
def test_a_planted_leak_is_found_near_the_optimum(options):
    keep = planted.pairs(64, SIZES[64])
    score = lira.score(planted.phi(keep, leak=1.0), keep, partner_s=np.arange(64) ^ 1, **options)
    assert 0.73 < metrics.auc(score, keep) < 0.765  # the likelihood ratio with known parameters has .760


def aucs(phi, keep):
    partner = np.arange(len(keep)) ^ 1
    variances = ("shrinkage", "pooled", "per_example")
    return [metrics.auc(lira.score(phi, keep, partner_s=partner, variance=v), keep) for v in variances]


@pytest.mark.parametrize("inside", [1.0, 0.7])
@pytest.mark.parametrize("S", [8, 16, 64, pytest.param(256, marks=LONG)])
def test_shrinkage_loses_to_no_other_variance_where_examples_differ(S, inside):
    keep = planted.pairs(S, SIZES[S])
    shrunk, pooled, own = np.mean([aucs(planted.uneven(keep, inside=inside, seed=s), keep) for s in range(2)], 0)
    assert shrunk >= max(pooled, own) - 0.001
    if S in (16, 64):  # with fewer it is almost the pooled variance, with more almost each example's own
        assert shrunk > max(pooled, own)


@pytest.mark.parametrize(("S", "step"), [(8, 0.25), (8, 1.0), (16, 1.0)])
def test_shrinkage_loses_to_no_other_variance_where_logits_come_in_steps(S, step):
    """Models that agree exactly have no log variance: counted as one of -69, a few of them undo the shrinkage."""
    keep = planted.pairs(S, SIZES[S])
    phi = np.round(planted.uneven(keep, differ=0.0) / step) * step
    shrunk, pooled, own = aucs(phi.astype(np.float32), keep)
    assert shrunk >= max(pooled, own) - 0.001


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


def test_a_diverged_shadow_takes_its_partner_out_and_leaves_the_rest_alone():
    broken = PHI.copy()
    broken[3] = np.nan
    valid = np.arange(12) != 3
    score = lira.score(broken, KEEP, partner_s=PARTNERS, valid_s=valid)
    assert np.isnan(score[[2, 3]]).all()
    rest = np.delete(np.arange(12), [2, 3])
    np.testing.assert_allclose(
        score[rest], lira.score(PHI[rest], KEEP[rest], partner_s=PARTNERS[:10]), rtol=1e-5, atol=1e-6
    )


def test_separate_targets_are_compared_with_all_references():
    targets = planted.phi(KEEP, A=2, leak=1.0, seed=5)[:3]
    got = lira.score(PHI, KEEP, target_phi_kna=targets, variance="per_example")
    inside = np.where(KEEP[..., None], PHI, np.nan).astype(np.float64)
    outside = np.where(~KEEP[..., None], PHI, np.nan).astype(np.float64)
    want = sum(
        sign * loops.log_normal(targets, np.nanmean(side, 0), np.nanstd(side, 0))
        for sign, side in ((1, inside), (-1, outside))
    ).mean(-1)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


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
