"""Whether the same examples are exposed again: in halves of the models, and over seeds."""

import numpy as np

from jaxsnn_mia.metrics import exposure
from jaxsnn_mia.report import stability
from tests.report import audits
from tests.report.audits import S


def test_stability_between_halves_and_over_seeds():
    (line,) = stability.halves(audits.read("leaks"))
    phi, pair = audits.logits(2.0).signal("phi")[:, :, 0], np.arange(S) // 2
    both = [exposure.per_example(phi, audits.KEEP, pair % 2 == half) for half in (0, 1)]
    rank, overlap = exposure.stability(*both)
    assert (line["rank correlation"], line["overlap of the top 1 %"]) == (f"{rank:.2f}", f"{overlap:.2f}")
    read = audits.read("leaks", "private")
    (over,) = stability.over_seeds({"a-seed0-b": read["leaks"], "a-seed1-b": read["private"]})
    assert (over["variant"], over["seeds"]) == ("a-b", "2")
    assert over["rank correlation"] == "n/a"  # nobody knows which examples these are
