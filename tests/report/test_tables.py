"""Rows as CSV and as tables: columns, heads, and the attack that stands for all."""

import pytest

from jaxsnn_mia.report import tables

COMMON = {"variant": "digits-ann", "dataset": "digits", "level": 0.9, "low": 0.5, "high": 0.7}


def rows():
    yield COMMON | {"attack": "", "metric": "train_accuracy", "value": 1.0}
    yield COMMON | {"attack": "", "metric": "test_accuracy", "value": 0.9}
    for attack, value in (("loss", 0.6), ("lira", 0.65)):
        outside = {"pooled_non_members": 40, "distinct_non_members": 10}
        yield COMMON | {"attack": attack, "metric": "auc", "value": value, **outside}
        yield COMMON | {"attack": attack, "metric": "tpr@0.01", "value": 0.05, "realised_fpr": 0.008}
        yield COMMON | {"attack": attack, "metric": "tpr@0.001", "value": None, "realised_fpr": None}
        yield COMMON | {"attack": attack, "metric": "balanced_accuracy", "value": 0.55}
    yield COMMON | {"attack": "strongest", "metric": "auc", "value": 0.64, "chosen": "lira, loss"}
    yield COMMON | {"attack": "strongest", "metric": "tpr@0.01", "value": 0.0, "chosen": "lira"}
    yield COMMON | {"attack": "strongest", "metric": "tpr@0.001", "value": None, "chosen": "lira"}
    yield COMMON | {"attack": "inversion_black", "metric": "mse_gap", "value": 0.1}


def test_one_line_for_each_membership_attack():
    loss, lira = tables.table(list(rows()))
    assert lira == {
        "dataset": "digits", "model": "ann", "train acc": "1.000", "test acc": "0.900", "attack": "lira",
        "AUC [90 %]": "0.650 [0.500, 0.700]", "TPR @ 1 % FPR": "5.00 [50.00, 70.00] % (at 0.800 %)",
        "TPR @ 0.1 % FPR": "n/a", "bal. acc": "0.550", "non-members (distinct)": "40 (10)",
    }  # fmt: skip
    assert loss["attack"] == "loss"
    (line,) = tables.strongest_table(list(rows()))
    assert line == {
        "variant": "digits-ann",
        "AUC": "0.640 [0.500, 0.700] (lira, loss)",
        "TPR @ 1 % FPR": "0.00 % [50.00, 70.00] (lira)",
        "TPR @ 0.1 % FPR": "n/a",
    }
    assert tables.beyond_tables(list(rows())) == {
        "inversion black": [{"variant": "digits-ann", "mse gap": "0.100 [0.500, 0.700]"}]
    }


def test_the_headline_is_fixed_before_any_result():
    assert tables.attack_names(list(rows())) == ["loss", "lira"]
    assert tables.headline(["loss", "rmia", "attack_r", "lira"]) == "lira"
    assert tables.headline(["loss", "attack_r", "rmia"]) == "rmia"
    assert tables.headline(["attack_r", "loss"]) == "attack_r"
    assert tables.headline(["loss", "confidence"]) == "loss"


def test_what_is_not_known_is_empty_or_not_available():
    text = tables.as_csv([{"variant": "a", "value": float("nan"), "low": 1 / 3, "unknown": 1}])
    head, line = text.splitlines()
    assert dict(zip(head.split(","), line.split(","), strict=True)) == dict.fromkeys(tables.COLUMNS, "") | {
        "variant": "a", "value": "n/a", "low": "0.333333",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("epsilon", "said"),
    [
        (2.0, "a: (2, 1e-05)-differentially private, add or remove one row (noise 1.2, rate 0.1, 30 steps)"),
        (float("inf"), "not differentially private by any finite epsilon at delta 1e-05"),
    ],
)
def test_privacy_is_a_sentence(epsilon, said):
    row = {"variant": "a", "metric": "dp_epsilon", "value": epsilon, "delta": 1e-5, "noise": 1.2, "rate": 0.1,
           "steps": 30, "adjacency": "add or remove one row"}  # fmt: skip
    (line,) = tables.privacy_lines([row, row | {"metric": "dp_delta"}])
    assert said in line
