"""Many curves are several figures, marks say what they are, and a histogram counts every score."""

import re

import numpy as np
import pytest

from jaxsnn_mia.report import figures
from tests.report import audits
from tests.report.audits import KEEP


def test_many_curves_are_several_figures():
    assert [len(part) for part in figures.in_several(dict.fromkeys(range(16)))] == [7, 7, 2]
    assert figures.in_several({}) == []


def test_marks_say_what_they_are():
    fpr = np.array([0.0, 0.005, 0.01, 0.5, 1.0])
    figure = figures.log_log_roc("a", {"l<ira": np.stack([fpr, np.array([0.0, 0.2, 0.25, 0.9, 1.0])])})
    said = re.findall(r"<title>(.*?)</title>", figure.svg)
    assert said == [
        "l&lt;ira: 25.00 % of members at 1 % false positives", "l&lt;ira: 25.00 % of members at 10 % false positives",
    ]  # fmt: skip
    assert "tip:" not in figure.svg


def test_a_histogram_counts_every_score_of_members_and_of_others():
    counts = audits.read("leaks")["leaks"].histograms["lira"]
    scores = audits.lira(2.0)
    assert counts[1].sum() == KEEP.sum()
    assert counts[2].sum() == (~KEEP).sum()
    width = counts[0, 1] - counts[0, 0]
    middle = 20
    low, high = counts[0, middle], counts[0, middle] + width
    inside = (scores >= low) & (scores < high)
    assert counts[1:, middle].tolist() == [inside[KEEP].sum(), inside[~KEEP].sum()]
    assert counts[0, 0] == pytest.approx(np.percentile(scores, 0.5))
    figure = figures.score_histogram("a", "lira", counts)
    assert f"of members score {low:.3g} to {high:.3g}" in figure.svg
    assert len(figure.csv.splitlines()) == 1 + 2 * counts.shape[1]
