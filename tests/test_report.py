"""Figures of the report, from rows as the metrics stage writes them."""

from jaxsnn_mia.report import figures


def rows(bits):
    for dataset in ("digits", "iris"):
        for family in ("ann", "snn"):
            for width in bits:
                common = {"variant": f"{dataset}-{family}-{width}", "dataset": dataset, "family": family,
                          "bits": width, "quantized": "both"}  # fmt: skip
                yield {**common, "attack": "", "metric": "test_accuracy", "value": 1.0, "low": 0.9, "high": 1.0}
                for attack in ("loss", "lira"):
                    yield {**common, "attack": attack, "metric": "auc", "value": 0.6, "low": 0.55, "high": 0.66}


def test_a_curve_per_family_over_bit_widths():
    svg = figures.privacy_against_accuracy(list(rows((2, 8, 32))))
    for needle in ("2 bits", "8 bits", "float", "ann", "snn", "AUC of lira", "iris: weights and activations"):
        assert needle in svg
    assert "AUC of loss" not in svg


def test_another_setting_in_the_sweep_is_a_curve_of_its_own():
    some = [dict(row) for row in rows((2, 32)) if row["dataset"] == "digits" and row["family"] == "ann"]
    both = []
    for row in some:
        for lr in ("0.001", "0.01"):
            both.append(row | {"variant": f"digits-ann-bits{row['bits']}-quantizeboth-lr{lr}"})
    svg = figures.privacy_against_accuracy(both)
    assert "ann-lr0.001" in svg
    assert "ann-lr0.01<" in svg


def test_a_point_per_variant_and_attack_where_the_width_is_one():
    svg = figures.privacy_against_accuracy(list(rows((32,))))
    for needle in ("digits-ann-32", "iris-snn-32", "loss", "lira", "test accuracy"):
        assert needle in svg
    assert "bits" not in svg
