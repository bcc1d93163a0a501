"""Means over seeds: of the variants that differ in the seed alone, with Student's intervals."""

import numpy as np

from jaxsnn_mia.report import seeds
from tests.report import audits


def test_means_over_seeds_have_students_intervals():
    read = audits.read("leaks", "private")
    made = seeds.rows({"a-seed0-b": read["leaks"], "a-seed1-b": read["private"], "c": read["leaks"]}, 0.95)
    by_measure = {(row["attack"], row["metric"]): row for row in made}
    assert {row["variant"] for row in made} == {"a-b"}
    for attack in ("lira", "strongest"):
        for metric in ("auc", "tpr@0.05"):
            row = by_measure[attack, metric]
            low, high = sorted(one.measured.row(attack, metric)["value"] for one in read.values())
            half = 12.706 * (high - low) / 2  # t of one degree of freedom, of two values
            mean = (low + high) / 2
            got = [row["value"], row["low"], row["high"]]
            np.testing.assert_allclose(got, [mean, max(mean - half, 0), min(mean + half, 1)], rtol=1e-4)
    lines = seeds.table(made)
    assert [(line["variant"], line["seeds"], line["attack"]) for line in lines] == [
        ("a-b", "2", "lira"), ("a-b", "2", "strongest"),
    ]  # fmt: skip
    assert lines[0]["AUC"].startswith(f"{by_measure['lira', 'auc']['value']:.3f} [")
    assert "TPR @ 5 % FPR" in lines[0]


def test_a_measure_that_one_seed_lacks_is_left_out():
    read = audits.read("leaks", "private")
    fewer = {**read["private"].summary}
    fewer["rows"] = [row | ({"value": None} if row["metric"] == "tpr@0.05" else {}) for row in fewer["rows"]]
    variants = {"a-seed0": read["leaks"], "a-seed1": read["private"]._replace(summary=fewer)}
    made = seeds.rows(variants, 0.95)
    assert {row["metric"] for row in made if row["attack"] == "lira"} == {"auc"}
    assert seeds.rows({"a-seed0": read["leaks"]}, 0.95) == []
