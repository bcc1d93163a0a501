import numpy as np
import pytest

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import references, rmia
from tests.attacks import loops, planted, population_loops

KEEP = planted.pairs(8, 30)
LOGP = planted.logp(planted.phi(KEEP, A=2, leak=1.0))
POPULATION = planted.logp(planted.phi(np.zeros((8, 40), bool), A=2, seed=3))
PARTNERS = np.arange(8) ^ 1
SETTINGS = planted.settings()
OWN_Z = np.where(np.arange(30) % 3 == 0, np.arange(30) // 2, -1)  # every third example is in the population


@pytest.mark.parametrize("mode", rmia.MODES)
@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_the_ecdf_equals_the_pair_matrix(mode, gamma):
    got = rmia.score(LOGP, KEEP, POPULATION, partner_s=PARTNERS, mode=mode, gamma=gamma)
    np.testing.assert_allclose(got, population_loops.rmia(LOGP, KEEP, POPULATION, mode, gamma), rtol=1e-5, atol=1e-6)


def given(name, A=2):
    """(setting, log confidences with NaN where a shadow has diverged, those of the population, of targets or None)."""
    setting = SETTINGS[name]
    nobody = np.zeros((12, 15), bool)
    logp, logp_z = planted.logp(planted.phi(setting.keep, A, leak=1.0)), planted.logp(planted.phi(nobody, A, seed=3))
    targets = None
    if setting.partner_sn is None:
        targets = [planted.logp(planted.phi(keep[:3], A, seed=5)) for keep in (setting.keep, nobody)]
    return setting, setting.diverged(logp), setting.diverged(logp_z), targets


def named(targets):
    return {} if targets is None else {"target_logp_kna": targets[0], "target_logp_kza": targets[1]}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("mode", rmia.MODES)
@pytest.mark.parametrize("vote", rmia.VOTES)
@pytest.mark.parametrize("own_z_n", [OWN_Z, pytest.param(None, marks=pytest.mark.long)])
def test_every_vote_equals_its_loop_whoever_is_compared(name, mode, vote, own_z_n, monkeypatch):
    monkeypatch.setattr(rmia, "PAIRS", 100)  # of the majority
    setting, logp, logp_z, targets = given(name)
    options = {"mode": mode, "gamma": 1.5, "vote": vote, "own_z_n": own_z_n}
    got = rmia.score(logp, setting.keep, logp_z, a=0.4, **options, **setting.options, **named(targets))
    want = population_loops.rmia_votes(logp, logp_z, setting, targets, a_t=np.full(12, 0.4), **options)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_with_one_query_the_majority_is_the_mean():
    options = {"partner_s": PARTNERS, "own_z_n": OWN_Z}
    got = rmia.score(LOGP[..., :1], KEEP, POPULATION[..., :1], vote="majority", **options)
    np.testing.assert_allclose(got, rmia.score(LOGP[..., :1], KEEP, POPULATION[..., :1], **options), rtol=1e-6)


def test_equal_ratios_are_beaten_by_a_factor_of_one_alone():
    for gamma, beaten in ((1.0, 40), (2.0, 0)):
        for vote in rmia.VOTES:
            options = {"partner_s": PARTNERS, "gamma": gamma, "vote": vote}
            score = rmia.score(np.zeros_like(LOGP), KEEP, np.zeros_like(POPULATION), **options)
            np.testing.assert_allclose(score, (beaten + 0.5) / 41, rtol=1e-6)


def test_the_stretch_is_tuned_on_other_pairs():
    keep, nobody = planted.pairs(8, 100), np.zeros((8, 60), bool)
    logp, logp_z = planted.logp(2 * planted.phi(keep, leak=1.0)), planted.logp(planted.phi(nobody, seed=3))
    partner_sn = np.broadcast_to(PARTNERS[:, None], keep.shape)

    def tuned(logp, logp_z):
        against = references.Against(logp, keep, partner_sn, np.ones(8, bool), logp)
        return rmia.tuned_a(against, logp_z, PARTNERS, "offline", 2.0)

    a_s = tuned(logp, logp_z)
    assert set(a_s) <= set(rmia.GRID)
    changed = 0
    for pair in range(4):
        own = [2 * pair, 2 * pair + 1]
        other_logp, other_z = logp.copy(), logp_z.copy()
        other_logp[own] *= 0.1
        other_logp[own] -= 3 * ~keep[own][..., None]
        other_z[own] -= 1
        of_others = tuned(other_logp, other_z)
        np.testing.assert_array_equal(of_others[own], a_s[own])
        changed += (of_others != a_s).sum()
    assert changed > 0


def test_the_tuned_stretch_is_the_best_of_the_other_pairs(monkeypatch):
    monkeypatch.setattr(rmia, "GRID", (0.0, 0.5, 1.0))
    setting, logp, logp_z, _ = given("pairs", A=3)
    fold_s = rmia.pair_folds(12, setting.partner_s, setting.usable, folds=4, seed=0)
    own, rest = np.flatnonzero(fold_s == 2), np.flatnonzero((fold_s >= 0) & (fold_s != 2))
    partner_sn = np.broadcast_to((np.arange(len(rest)) ^ 1)[:, None], (len(rest), 30))
    everyone = np.ones(len(rest), bool)
    others = planted.Setting(setting.keep[rest], partner_sn, everyone, everyone, partner_sn[:, 0])
    options = {"mode": "offline", "gamma": 2.0, "vote": "mean"}

    def mean_auc(a):
        scores = population_loops.rmia_votes(logp[rest], logp_z[rest], others, a_t=np.full(12, a), **options)
        return np.mean([loops.auc(score, keep) for score, keep in zip(scores, others.keep, strict=True)])

    best = max(rmia.GRID, key=mean_auc)
    assert best > 0
    got = rmia.score(logp, setting.keep, logp_z, a="tuned", **setting.options)
    of_best = rmia.score(logp, setting.keep, logp_z, a=best, **setting.options)
    np.testing.assert_allclose(got[own], of_best[own], rtol=1e-6, atol=1e-7)


@pytest.mark.long
def test_blocks_and_memory_maps_change_nothing(monkeypatch, tmp_path):
    np.save(tmp_path / "logp.npy", LOGP)
    mapped = np.load(tmp_path / "logp.npy", mmap_mode="r")
    whole = rmia.score(LOGP, KEEP, POPULATION, partner_s=PARTNERS, own_z_n=OWN_Z)
    monkeypatch.setattr(references, "BLOCK_BYTES", 10 * 8 * 8 * 2 // rmia.LARGE_BLOCK)  # 10 of 30 examples
    monkeypatch.setattr(references, "FEW_BLOCKS", 1)
    got = rmia.score(mapped, KEEP, POPULATION, partner_s=PARTNERS, own_z_n=OWN_Z)
    np.testing.assert_allclose(got, whole, rtol=1e-6, atol=1e-6)


def test_permuting_examples_or_the_population_and_a_diverged_shadow():
    order, order_z = np.random.default_rng(0).permutation(30), np.random.default_rng(1).permutation(40)
    score = rmia.score(LOGP, KEEP, POPULATION, partner_s=PARTNERS)
    permuted = rmia.score(LOGP[:, order], KEEP[:, order], POPULATION[:, order_z], partner_s=PARTNERS)
    np.testing.assert_allclose(permuted, score[:, order], rtol=1e-5, atol=1e-6)
    broken, broken_z = LOGP.copy(), POPULATION.copy()
    broken[3], broken_z[3] = np.nan, np.nan
    rest = np.delete(np.arange(8), [2, 3])
    got = rmia.score(broken, KEEP, broken_z, partner_s=PARTNERS, valid_s=np.arange(8) != 3)
    assert np.isnan(got[[2, 3]]).all()
    alone = rmia.score(LOGP[rest], KEEP[rest], POPULATION[rest], partner_s=PARTNERS[:6])
    np.testing.assert_allclose(got[rest], alone, rtol=1e-5, atol=1e-6)


def test_with_one_query_the_ranking_is_that_of_the_ratio():
    got = rmia.score(LOGP[..., :1], KEEP, POPULATION[..., :1], partner_s=PARTNERS)
    p = np.exp(LOGP[..., 0].astype(np.float64))
    for s in range(8):
        mean_out = [np.mean(loops.sides(p[:, n], KEEP[:, n], s, s ^ 1)[1]) for n in range(30)]
        ratio = p[s] / (1.3 * np.array(mean_out) + 0.7)
        np.testing.assert_array_equal(np.argsort(got[s]), np.argsort(ratio))


def test_a_planted_leak_is_found():
    keep = planted.pairs(32, 400)
    population = planted.logp(planted.phi(np.zeros((32, 200), bool), seed=3))
    score = rmia.score(planted.logp(planted.phi(keep, leak=1.0)), keep, population, partner_s=np.arange(32) ^ 1)
    assert metrics.auc(score, keep) > 0.68


def test_separate_targets_are_compared_with_all_references():
    targets, z = LOGP[:2] - 0.1, POPULATION[:2] - 0.1
    got = rmia.score(LOGP, KEEP, POPULATION, target_logp_kna=targets, target_logp_kza=z)
    p_out = np.where(~KEEP[..., None], np.exp(LOGP.astype(np.float64)), np.nan)
    r_x = np.exp(targets) / ((1.3 * np.nanmean(p_out, 0) + 0.7) / 2)
    r_z = np.exp(z) / ((1.3 * np.exp(POPULATION.astype(np.float64)).mean(0) + 0.7) / 2)
    wins = (r_x[:, :, None] >= 2 * r_z[:, None]).sum(2)
    tie = 0.5 + 0.5 * np.log(r_x) / (1 + np.abs(np.log(r_x)))
    np.testing.assert_allclose(got, ((wins + tie) / 41).mean(-1), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logp_sza": POPULATION[:, :0]}, "needs a population slice"),
        ({"logp_sza": POPULATION[:4]}, r"must be \[8, Z, 2\]"),
        ({"logp_sna": -LOGP}, r"`logp_sna` must be log confidences, at most 0, got .*Of losses pass the negative"),
        ({"logp_sza": np.exp(POPULATION)}, "`logp_sza` must be log confidences"),
        ({"gamma": 0.5}, "gamma >= 1"),
        ({"a": 1.5}, "0 <= a <= 1"),
        ({"a": "auto"}, "0 <= a <= 1 or 'tuned'; got 'offline', 'mean', 2.0, 'auto'"),
        ({"a": "tuned", "mode": "online"}, "needs mode='offline' and `partner_s`"),
        ({"a": "tuned", "partner_s": None}, "needs mode='offline' and `partner_s`"),
        ({"vote": "all"}, "'all'"),
        ({"own_z_n": np.arange(5)}, r"`own_z_n` must be \[30\], each in \[-1, 40\), got shape \(5,\)"),
        ({"own_z_n": np.full(30, 40)}, r"each in \[-1, 40\)"),
        ({"mode": "on"}, "'on'"),
        ({"target_logp_kna": LOGP}, "go together"),
        ({"target_logp_kna": LOGP[:2], "target_logp_kza": POPULATION}, r"of K = 2 targets, got \(8, 40, 2\)"),
    ],
)
def test_bad_arguments_are_refused_with_the_reason(change, message):
    with pytest.raises(ValueError, match=message):
        rmia.score(**{"logp_sna": LOGP, "keep_sn": KEEP, "logp_sza": POPULATION, "partner_s": PARTNERS, **change})
