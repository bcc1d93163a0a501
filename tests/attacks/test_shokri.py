import numpy as np
import pytest

from jaxsnn_mia import metrics
from jaxsnn_mia.attacks import shokri
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
LONG = pytest.mark.long
SLOW = ("mlp", "forest")
MODELS = list(shokri.MODELS)


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


@pytest.mark.parametrize(
    "model", ["logistic", "boosting", *[pytest.param(m, marks=LONG) for m in ("mlp", "forest", "svc")]]
)
@pytest.mark.parametrize("paired", [pytest.param(True, marks=LONG), False])
def test_without_a_leak_the_auc_is_one_half(model, paired):
    """Features that name the example: who learns how many of the others trained on it has .36 without pairs."""
    keep = KEEP if paired else planted.without_pairs(S, N, 1)
    noise = np.random.default_rng(4).normal(size=(S + 1, N, 4))
    features = {"membrane": 3 * noise[:1] + 0.3 * noise[1:]}
    score = shokri.score(features, keep, LABELS, partner_s=PARTNERS if paired else None, model=model)
    assert abs(metrics.auc(score, keep) - 0.5) < 3 * ERROR


# what a classifier that must find out that the odds rise with x loses on 1,800 rows
@pytest.mark.parametrize("model", [pytest.param(m, marks=LONG if m in SLOW else ()) for m in MODELS])
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
    [
        *[pytest.param(m, {}, marks=LONG if m in SLOW else ()) for m in MODELS],
        ("svc", {"per_class": True}),
        ("svc", {"shadows": 1}),
    ],
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
