"""Privacy against accuracy: a figure per data set, a curve per family, and the front."""

import numpy as np
import pytest

from jaxsnn_mia.report import tradeoff


def rows(bits):
    for dataset in ("digits", "iris"):
        for family in ("ann", "snn"):
            for width in bits:
                common = {"variant": f"{dataset}-{family}-{width}", "dataset": dataset, "family": family,
                          "bits": width, "quantized": "both"}  # fmt: skip
                yield {**common, "attack": "", "metric": "test_accuracy", "value": 0.99, "low": 0.9, "high": 1.0}
                for attack in ("loss", "lira"):
                    yield {**common, "attack": attack, "metric": "auc", "value": 0.6, "low": 0.55, "high": 0.66}


def test_a_figure_per_data_set_and_a_curve_per_family_over_bit_widths():
    found = tradeoff.privacy_against_accuracy(list(rows((2, 8, 32))))
    assert [f.caption.partition(":")[0] for f in found] == ["digits", "iris"]
    for needle in ("2 bits", "8 bits", "float", "ann", "snn", "AUC of lira", "Pareto front"):
        assert needle in found[1].svg
    assert "weights and activations" in found[1].caption
    assert "AUC of loss" not in found[1].svg
    assert len(found[1].csv.splitlines()) == 1 + 6


def test_a_single_point_is_no_front_and_each_point_says_what_it_is():
    alone = [row for row in rows((32,)) if row["variant"] == "iris-ann-32"]
    (figure,) = tradeoff.privacy_against_accuracy(alone)
    assert "Pareto" not in figure.svg
    assert "left is better" in figure.svg
    assert "<title>iris-ann-32: AUC 0.600 [0.550, 0.660], test error 1.00 %</title>" in figure.svg


def test_another_setting_in_the_sweep_is_a_curve_of_its_own():
    some = [dict(row) for row in rows((2, 32)) if row["dataset"] == "digits" and row["family"] == "ann"]
    both = []
    for row in some:
        for lr in ("0.001", "0.01"):
            both.append(row | {"variant": f"digits-ann-bits{row['bits']}-quantizeboth-lr{lr}"})
    (found,) = tradeoff.privacy_against_accuracy(both)
    assert "ann-lr0.001" in found.svg
    assert "ann-lr0.01<" in found.svg


def test_a_point_per_variant_where_the_width_is_one():
    found = tradeoff.privacy_against_accuracy(list(rows((32,))))
    assert "bits" not in found[0].svg
    assert "snn-32" in found[0].svg
    assert all("digits" in line for line in found[0].csv.splitlines()[1:])


def test_the_front_is_what_nothing_dominates():
    points = [tuple(point) for point in np.random.default_rng(0).integers(0, 50, size=(60, 2)).tolist()]
    want = {
        p for p in points
        if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points)
    }  # fmt: skip
    assert tradeoff.front(points) == sorted(want)
    assert len(want) > 2


def test_the_interval_of_an_error_is_that_of_the_accuracy_turned_around():
    found = tradeoff.error_of({"value": 0.9, "low": 0.8, "high": 1.0})
    assert found == pytest.approx({"value": 0.1, "low": 1e-4, "high": 0.2})  # a log axis cannot show 0
