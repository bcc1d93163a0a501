"""Headlines and differences: how much, at which rate, how sure, and what changes it."""

import numpy as np
import pytest
from scipy import stats

from jaxsnn_mia.metrics import comparisons
from jaxsnn_mia.report import answers
from tests.report import audits
from tests.report.audits import N, S


def test_a_sentence_says_how_much_at_which_rate_and_how_sure():
    read = audits.read("leaks", "private")
    leaks, private = (answers.answer(name, variant.measured) for name, variant in read.items())
    measured = read["leaks"].measured
    tpr, best = (measured.row(attack, "tpr@0.05") for attack in ("lira", "strongest"))
    assert best["low"] < best["value"] < best["high"]
    percent = f"{100 * best['value']:.1f} % ["
    assert f"At 5 % false positives, the strongest of 2 attacks finds {percent}" in leaks.sentence
    assert f"{best['value'] / best['realised_fpr']:.1f} times what guessing finds" in leaks.sentence
    assert f"(chosen on other models: {best['chosen']})" in leaks.sentence
    assert f"its AUC is {leaks.auc:.3f} [{leaks.low:.3f}, {leaks.high:.3f}]" in leaks.sentence
    assert f"(chosen on other models: {best['chosen']})" in leaks.sentence
    assert (best["chosen"] == "lira") == ("AUC of lira" not in leaks.sentence)
    rows = [row | {"chosen": "loss"} if row["attack"] == "strongest" else row for row in measured.rows]
    other = answers.answer("leaks", measured._replace(rows=rows)).sentence
    assert f"; lira finds {100 * tpr['value']:.1f} % [" in other
    assert f"; AUC of lira {measured.row('lira', 'auc')['value']:.3f} [" in other
    assert "cannot be told from guessing" in private.sentence
    assert leaks.percent(0.5) == 0
    assert leaks.percent(0.75) == 50


def test_the_risk_is_said_for_who_asks_about_members_seldom():
    """TPR .4 at FPR .05: of 10,000 people with 1,000 members 400 and 450 others are accused."""
    row = {"attack": "lira", "metric": "tpr@0.05", "value": 0.4, "realised_fpr": 0.05}
    said = answers.risk_in_words(answers.Measured([row], {}, 4, "", ""), "lira")
    assert said == (
        " Where 1 in 10 suspects is a member, 471 of 1,000 accused are members. Where 1 in 1,000 suspects is a member, "
        "8 of 1,000 accused are members. Of 1,000 members it finds 400."
    )
    none_seen = answers.Measured([row | {"realised_fpr": 0.0}], {}, 4, "", "")
    assert answers.risk_in_words(none_seen, "lira") == said  # not "1000 of 1,000"
    for nothing in ({"value": None}, {"value": 0.0}):
        assert answers.risk_in_words(answers.Measured([row | nothing], {}, 4, "", ""), "lira") == ""


def test_paired_differences_are_those_of_the_scores_themselves():
    read = audits.read("leaks", "private")
    (found,) = answers.differences({n: v.measured for n, v in read.items()}, [("leaks", "private")], 0.95)
    scores = [
        audits.lira(effect) for effect in (2.0, 0.0)
    ]  # fmt: skip
    shared = (audits.KEEP, np.arange(N), np.arange(S) // 2)
    want = comparisons.auc_difference(*scores, *shared, replicates=200, seed=0)
    assert found.auc[:3] == pytest.approx(want[:3], abs=1e-6)
    want = comparisons.tpr_difference(*scores, *shared, 0.05, replicates=100, seed=0)
    assert found.tpr[:3] == pytest.approx(want[:3], abs=1e-6)
    assert found.paired
    assert found.verdict == "leaks more"
    assert found.auc.p < 0.01
    (back,) = answers.differences({n: v.measured for n, v in read.items()}, [("private", "leaks")], 0.95)
    assert back.verdict == "leaks less"
    assert back.auc.difference == -found.auc.difference


def test_other_draws_are_not_paired_and_their_spreads_add_up():
    read = audits.read("leaks", "other")
    (found,) = answers.differences({n: v.measured for n, v in read.items()}, [("other", "leaks")], 0.95)
    assert not found.paired
    assert found.verdict == "cannot be told apart"
    spread = np.hypot(*(np.std(variant.drawn["lira auc"]) for variant in read.values()))
    pairs = min(variant.measured.pairs for variant in read.values())
    deviations = stats.t.ppf(0.975, pairs - 1) * np.sqrt(pairs / (pairs - 1))
    assert (found.auc.high - found.auc.low) / (2 * deviations) == pytest.approx(spread, rel=0.25)
    one = read["leaks"].measured  # the very replicates, of other examples by chance: they do not cancel
    (found,) = answers.differences({"a": one, "b": one._replace(draws="others")}, [("b", "a")], 0.95)
    spread = 2**0.5 * np.std(one.drawn["lira auc"])
    assert (found.auc.high - found.auc.low) / (2 * deviations) == pytest.approx(spread, rel=0.25)


def measured(auc, drawn_r):
    """A variant of 30 pairs with one attack."""
    rows = [{"attack": "lira", "metric": "auc", "value": auc}, {"attack": "lira", "metric": "tpr@0.05", "value": None}]
    return answers.Measured(rows, {"lira auc": drawn_r}, 30, "splits", "draws")


def test_what_stands_alone_does_not_stand_among_many():
    """A difference of 2.4 deviations: p is about .02, which is not below .05 / 4."""
    noise = np.random.default_rng(0).normal(0, 0.01, 2000)
    reference = measured(0.6, np.full(2000, 0.6))
    variants = {f"v{i}": measured(0.624, 0.624 + noise) for i in range(4)} | {"reference": reference}
    pairs = [(f"v{i}", "reference") for i in range(4)]
    (alone,) = answers.differences(variants, pairs[:1], 0.95)
    assert (alone.verdict, alone.tpr, alone.accuracy) == ("leaks more", None, None)
    among = answers.differences(variants, pairs, 0.95)
    assert {one.auc.p for one in among} == {alone.auc.p}
    assert 0.0125 < alone.auc.p < 0.05
    assert {one.verdict for one in among} == {"cannot be told apart"}


def test_equal_variants_cannot_be_told():
    found = {f"v{i}": audits.read("leaks")["leaks"].measured for i in range(4)}
    same = answers.differences(found, [(f"v{i}", "v0") for i in range(1, 4)], 0.95)
    assert {one.verdict for one in same} == {"cannot be told apart"}
    assert {one.auc.difference for one in same} == {0.0}


def test_by_deviation_is_the_t_test_of_the_replicates():
    rng = np.random.default_rng(0)
    drawn = rng.normal(0.3, 0.1, size=4000)
    assert comparisons.by_deviation(0.3, drawn, 30) == pytest.approx(0.0057, abs=0.0012)  # t of 3 with 29 degrees
    assert comparisons.by_deviation(0.0, drawn, 30) == pytest.approx(1.0)
    assert np.isnan(comparisons.by_deviation(0.0, np.zeros(9), 5))
    assert np.isnan(comparisons.by_deviation(0.3, np.full(9, np.nan), 5))
    assert comparisons.by_deviation(1.0, np.ones(9), 5) == 2 / 2**5


@pytest.mark.parametrize(
    ("value", "low", "high", "realised", "said"),
    [
        (0.3, 0.28, 0.32, 0.0, "6.0 times what guessing finds"),  # ties: no rate between 0 and 5 %
        (0.02, 0.01, 0.03, 0.049, "fewer than guessing finds"),
        (0.06, 0.04, 0.08, 0.049, "which cannot be told from guessing"),
    ],
)
def test_sentences_of_ties_and_of_less_than_guessing(value, low, high, realised, said):
    found = audits.read("leaks")["leaks"].measured
    tpr = {"value": value, "low": low, "high": high, "realised_fpr": realised}
    rows = [row | tpr if row["metric"].startswith("tpr@") else row for row in found.rows]
    assert said in answers.answer("a", found._replace(rows=rows)).sentence
