"""What the report says of private training."""

import json

import numpy as np
import pytest

from jaxsnn_mia.config.sweep import variants
from jaxsnn_mia.pipeline.run import run_pipeline
from jaxsnn_mia.pipeline.trained import load_inputs
from jaxsnn_mia.privacy import accounting
from jaxsnn_mia.report import tables
from jaxsnn_mia.report.rows import Audit, privacy_rows
from jaxsnn_mia.settings import Metrics
from tests.runs import small


@pytest.mark.long
def test_a_private_audit_reports_what_it_spent(tmp_path):
    c = small(
        train={"dp_clip": 1.0, "dp_epsilon": 3.0, "snapshot_epochs": ()},
        splits={"rows": "iid"},
        attacks={"names": ("loss",)},
        data={"duplicates": "drop"},
    )
    run_pipeline(c, tmp_path)
    ((variant, summary),) = json.loads((tmp_path / "summary.json").read_text())["variants"].items()
    rows = {row["metric"]: row for row in summary["rows"] if row["attack"] == ""}
    made = load_inputs(variants(c)[variant], paths_of(tmp_path, variant))
    spent = rows["dp_epsilon"]
    assert 2.9 < spent["value"] <= 3
    assert (spent["adjacency"], spent["delta"]) == ("add or remove one row", 1e-5)
    assert (spent["rate"], spent["steps"]) == (made.spec.rate, made.spec.epochs * made.spec.steps_per_epoch)
    assert rows["dp_noise"]["value"] == made.hyper.dp_noise > 0
    assert rows["dp_delta"]["value"] == 1e-5
    csv = (tmp_path / "results.csv").read_text()
    for needle in (f",dp_epsilon,{spent['value']:.6g},", ",dp_delta,1e-05,", "epsilon_one_run@1e-05"):
        assert needle in csv
    page = (tmp_path / "report.html").read_text()
    assert f"({spent['value']:.4g}, 1e-05)-differentially private, add or remove one row (noise" in page


def test_without_noise_the_report_claims_nothing():
    privacy = accounting.plan(20, 60, 60, 3, 2, delta=1e-5)
    audit = Audit("a", {}, Metrics(), *[np.zeros(0)] * 6, {}, privacy=privacy)
    (line,) = tables.privacy_lines([{"variant": "a", **row} for row in privacy_rows(audit)])
    assert line.startswith("a: not differentially private by any finite epsilon at delta 1e-05 (noise 0,")
    assert privacy_rows(audit._replace(privacy=None)) == tables.privacy_lines([]) == []


def paths_of(workdir, variant):
    (data,) = workdir.glob("data-*")
    (splits,) = workdir.glob("splits-*")
    (train,) = (workdir / variant).glob("train-*")
    return {"data": data, "splits": splits, "train": train}
