import numpy as np
import pytest

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import folds, shokri
from tests.attacks import planted

S, N = 8, 300
KEEP = planted.pairs(S, N)
PARTNERS = np.arange(S) ^ 1
RNG = np.random.default_rng(7)
LABELS = RNG.integers(0, 3, N)
NOISE = RNG.normal(size=(S, N))
LEAK = NOISE + KEEP  # members N(1, 1), the others N(0, 1): no threshold and no classifier has more than AUC .76025
LOGITS = RNG.normal(size=(S, N, 3)).astype(np.float32) * 3
ERROR = 1 / np.sqrt(3 * N * S / 2)  # standard error of a mean AUC over S targets, at most


def balanced(seed):
    """Every example in exactly half of the shadows, without pairs."""
    sides = np.repeat(np.arange(S)[:, None] < S // 2, N, 1)
    return np.random.default_rng(seed).permuted(sides, axis=0)


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
@pytest.mark.parametrize("keep", [KEEP, balanced(0)])
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


def test_features_of_the_published_logits():
    logits = np.array([[[1.0, 2.0, -3.0]]])
    loss = shokri.FEATURES["loss"](logits, np.array([[1]]))
    assert float(loss[0, 0, 0]) == pytest.approx(np.log1p(np.exp(-0.981850)), abs=1e-6)  # phi is .981850
    odds = np.exp([2.0, 1.0, -3.0])
    np.testing.assert_allclose(shokri.FEATURES["sorted_softmax"](logits, None)[0, 0], odds / odds.sum(), rtol=1e-12)
    big = shokri.FEATURES["loss"](np.array([[1e4, 0.0]]), np.array([1]))
    assert float(big[0, 0]) == 1e4


def test_columns_are_those_of_the_rows():
    s, n = np.array([2, 0, 2]), np.array([5, 1, 9])
    got = shokri.columns({"logits": LOGITS, "rates": NOISE}, ("loss", "rates", "logits"), LABELS, s, n)
    want = [[shokri.loss(LOGITS[i, j], LABELS[j])[0], NOISE[i, j], *LOGITS[i, j]] for i, j in zip(s, n, strict=True)]
    np.testing.assert_allclose(got, want)


@pytest.mark.parametrize("model", shokri.MODELS)
@pytest.mark.parametrize("paired", [True, False])
def test_without_a_leak_the_auc_is_one_half(model, paired):
    """Features that name the example: who learns how many of the others trained on it has .36 without pairs."""
    keep = KEEP if paired else balanced(1)
    noise = np.random.default_rng(4).normal(size=(S + 1, N, 4))
    features = {"membrane": 3 * noise[:1] + 0.3 * noise[1:]}
    score = shokri.score(features, keep, LABELS, partner_s=PARTNERS if paired else None, model=model)
    assert abs(metrics.auc(score, keep) - 0.5) < 3 * ERROR


# what a classifier that must find out that the odds rise with x loses on 1,800 rows
@pytest.mark.parametrize("model", shokri.MODELS)
def test_a_planted_leak_is_found_near_the_optimum(model):
    optimum = metrics.auc(LEAK, KEEP)
    assert optimum == pytest.approx(0.76025, abs=3 * ERROR)
    score = shokri.score({"phi": LEAK}, KEEP, LABELS, partner_s=PARTNERS, model=model)
    assert score.dtype == np.float32
    lost = {"logistic": 0.001, "mlp": 0.01}.get(model, 0.03)
    assert optimum - lost < metrics.auc(score, KEEP) < optimum + 0.01


def test_logistic_scores_are_the_log_odds_of_the_gaussians():
    # log N(x; 1, 1) - log N(x; 0, 1) = x - 1/2
    keep = planted.pairs(8, 4000)
    x = np.random.default_rng(0).normal(size=keep.shape) + keep
    score = shokri.score({"phi": x}, keep, np.zeros(4000, int), partner_s=PARTNERS)
    np.testing.assert_allclose(score, x - 0.5, atol=0.25)


@pytest.mark.parametrize(
    ("model", "options"),
    [(model, {}) for model in shokri.MODELS] + [("svc", {"per_class": True}), ("svc", {"shadows": 1})],
)
def test_a_pairs_membership_does_not_reach_its_own_scores(model, options):
    other = KEEP.copy()
    other[[2, 3]] = KEEP[[3, 2]]
    scores = [
        shokri.score({"phi": LEAK}, keep, LABELS, partner_s=PARTNERS, model=model, max_rows=300, **options)
        for keep in (KEEP, other)
    ]
    np.testing.assert_array_equal(scores[0][[2, 3]], scores[1][[2, 3]])
    assert (scores[0][[0, 1]] != scores[1][[0, 1]]).any() or options == {"shadows": 1}


def test_a_diverged_shadow_takes_its_partner_out_and_teaches_nothing():
    broken = LEAK.copy()
    broken[5] = np.nan
    valid = np.arange(S) != 5
    score = shokri.score({"phi": broken}, KEEP, LABELS, partner_s=PARTNERS, valid_s=valid)
    assert np.isnan(score[[4, 5]]).all()
    assert np.isfinite(score[[0, 1, 2, 3, 6, 7]]).all()
    broken[4] = 1e3
    np.testing.assert_array_equal(score, shokri.score({"phi": broken}, KEEP, LABELS, partner_s=PARTNERS, valid_s=valid))


def test_permuting_examples_permutes_the_scores_where_all_rows_are_used():
    order = np.random.default_rng(0).permutation(N)
    features = {"phi": LEAK, "logits": LOGITS}
    moved = {name: values[:, order] for name, values in features.items()}
    score = shokri.score(features, KEEP, LABELS, partner_s=PARTNERS)
    got = shokri.score(moved, KEEP[:, order], LABELS[order], partner_s=PARTNERS)
    np.testing.assert_allclose(got, score[:, order], atol=2e-3)


def test_equal_features_tie():
    score = shokri.score({"phi": LEAK.round()}, KEEP, LABELS, partner_s=PARTNERS)
    assert len(np.unique(score[0])) == len(np.unique(LEAK[0].round()))


def test_each_class_has_its_own_model():
    """Members score higher in two classes and lower in the third: one model for all finds half of it."""
    sign = np.where(LABELS == 2, -1, 1)
    flipped = NOISE + KEEP * sign
    own = shokri.score({"phi": flipped}, KEEP, LABELS, partner_s=PARTNERS, per_class=True)
    common = shokri.score({"phi": flipped}, KEEP, LABELS, partner_s=PARTNERS)
    assert metrics.auc(own, KEEP) > 0.74
    assert metrics.auc(common, KEEP) < 0.65


def test_the_predecessors_attack_learns_from_one_shadow_and_the_whole_output():
    preset = shokri.PRESETS["predecessor"]
    logits = NOISE[..., None] * np.array([1.0, 0.0, 0.0]) + KEEP[..., None] * np.eye(3)[LABELS]
    score = shokri.score({"logits": logits}, KEEP, LABELS, partner_s=PARTNERS, **preset)
    assert metrics.auc(score, KEEP) > 0.9
    rng = np.random.default_rng(0)
    assert len(shokri.choose(np.arange(4, 8), PARTNERS, preset["shadows"], rng)) == 1
    three = shokri.choose(np.arange(2, 8), PARTNERS, 3, rng)
    assert three[1] == PARTNERS[three[0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "tree"}, "'tree'"),
        ({"names": ("rates",)}, r"of the given \('logits',\).*got 'rates'"),
        ({"names": ()}, "must not be empty"),
        ({"features": {"phi": LEAK}, "names": ("loss",)}, "where 'logits' are given, got 'loss'"),
        ({"features": {"phi": LEAK[:, :5]}}, r"'phi' must be \[8, 300\]"),
        ({"features": {"phi": np.full_like(LEAK, np.inf)}}, r"features\['phi'\]` must be finite"),
        ({"features": {"logits": LEAK}, "names": ("loss",)}, r"must be \[S, N, C\]"),
        ({"labels_n": LABELS + 1, "names": ("loss",)}, r"in \[0, C\)"),
        ({"labels_n": LABELS[:5]}, r"must be int \[300\]"),
        ({"keep_sn": KEEP.astype(int)}, "boolean"),
        ({"keep_sn": np.ones_like(KEEP)}, "complementary"),
        ({"shadows": 7}, r"in \[1, 6\]"),
        ({"max_rows": 8}, "at least 10 balanced rows, got 8. Raise"),
        ({"labels_n": np.where(np.arange(N) == 0, 9, LABELS), "per_class": True}, "got 6 for class 9"),
    ],
)
def test_bad_arguments_are_refused_with_the_reason(change, message):
    with pytest.raises(ValueError, match=message):
        shokri.score(
            **{"features": {"logits": LOGITS}, "keep_sn": KEEP, "labels_n": LABELS, "partner_s": PARTNERS, **change}
        )
