"""The metrics of an audit: every row is what the metrics say of its arrays, and every file has what the page reads."""

import csv
import json

import numpy as np
import pytest

from jaxsnn_mia import metrics
from jaxsnn_mia.metrics import bootstrap
from jaxsnn_mia.report import rows, tables
from jaxsnn_mia.settings import Metrics
from tests.attacks import planted

S, N = 8, 200
KEEP = planted.pairs(S, N)
SETTINGS = Metrics(fprs=(0.2, 0.1), priors=(0.2,), replicates_auc=30, replicates_tpr=20, level=0.9, seed=3)
SAMPLE = {"seed": 3, "valid_s": np.arange(S) < 6}


@pytest.fixture(scope="module")
def audit():
    """Two attacks on four pairs, the last of which diverged; two examples are duplicates."""
    rng = np.random.default_rng(0)
    return rows.Audit(
        name="digits-ann",
        labels={"dataset": "digits", "family": "ann", "bits_weight": 32, "lr": 0.01, "epoch": 40},
        settings=SETTINGS,
        keep_sn=KEEP,
        usable_s=np.arange(S) < 6,
        pair_s=np.arange(S) // 2,
        unit_n=np.minimum(np.arange(N), N - 2),
        correct_sn=rng.random((S, N)) < np.where(KEEP, 0.9, 0.6),
        correct_test=None,
        scores={"loss": rng.normal(size=(S, N)) + 0.2 * KEEP, "lira": rng.normal(size=(S, N)) + KEEP},
        diverged=1,
        correct_validation=rng.random((S, 10)) < 0.5,
        confidence_sn=rng.normal(size=(S, N)) + KEEP,
        data="abc",
    )


def test_the_rows_of_an_attack_are_its_metrics(audit):
    found, drawn = rows.attack_rows(audit, "lira")
    by_metric = {row["metric"]: row for row in found}
    scores, unit, pair = audit.scores["lira"], audit.unit_n, audit.pair_s
    assert list(by_metric) == ["auc", "tpr@0.2", "ppv@0.2@0.2", "deployed_tpr@0.2", "tpr@0.1", "ppv@0.1@0.2",
                               "deployed_tpr@0.1", "balanced_accuracy"]  # fmt: skip
    assert by_metric["auc"]["value"] == metrics.auc(scores[:6], KEEP[:6])
    auc_r = bootstrap.auc_replicates(scores, KEEP, unit, pair, replicates=30, **SAMPLE)
    tpr_rf = bootstrap.tpr_replicates(scores, KEEP, unit, pair, (0.2, 0.1), replicates=20, **SAMPLE)
    for metric, drawn_r in (("auc", auc_r), ("tpr@0.2", tpr_rf[:, 0]), ("tpr@0.1", tpr_rf[:, 1])):
        np.testing.assert_array_equal(drawn[metric], drawn_r)
        row = by_metric[metric]
        assert (row["low"], row["high"]) == bootstrap.interval(row["value"], drawn_r, 3, 0.9)
        assert row["low"] < row["value"] < row["high"]
        assert row["level"] == 0.9
    tpr, realised = metrics.tpr_at_fpr(scores[:6], KEEP[:6], 0.1)
    assert (by_metric["tpr@0.1"]["value"], by_metric["tpr@0.1"]["realised_fpr"]) == (tpr, realised)
    assert by_metric["ppv@0.1@0.2"]["value"] == metrics.ppv(tpr, realised, 0.2)
    assert by_metric["auc"]["pooled_non_members"] == 6 * N // 2
    assert by_metric["auc"]["distinct_non_members"] == N - 1


def test_accuracies_are_means_over_usable_targets(audit):
    found, drawn = rows.accuracy_rows(audit)
    values = {row["metric"]: row["value"] for row in found}
    train, other = (np.mean([audit.correct_sn[s][side[s]].mean() for s in range(6)]) for side in (KEEP, ~KEEP))
    want = {"train_accuracy": train, "test_accuracy": other, "gap": train - other}
    want["validation_accuracy"] = audit.correct_validation[:6].mean()
    assert values == pytest.approx(want)
    np.testing.assert_array_equal(drawn["gap"], drawn["train_accuracy"] - drawn["test_accuracy"])
    tested, _ = rows.accuracy_rows(audit._replace(correct_test=np.ones((S, 5))))
    assert {row["metric"]: row["value"] for row in tested}["test_accuracy"] == 1
    assert rows.accuracy_rows(audit._replace(correct_sn=None)) == ([], {})


def test_what_a_trace_of_losses_names_is_a_row(audit, monkeypatch):
    monkeypatch.setattr(rows, "TOP", 0.3)  # with six models exposures have few values
    assert rows.trace_rows(audit) == []
    exposed = rows.exposure.per_example(audit.confidence_sn, KEEP, audit.usable_s)
    losses = exposed[None, :, None] * np.array([3.0, 1.0, 0.0])[None, None] * np.ones((S, 1, 1))
    (row,) = rows.trace_rows(audit._replace(losses_snt=losses))
    assert (row["attack"], row["metric"]) == ("", "lt_iqr_precision@0.3")
    assert row["value"] > 0.5
    (row,) = rows.trace_rows(audit._replace(losses_snt=-losses + 3))
    assert row["value"] > 0.5  # the range, whatever its sign
    (row,) = rows.trace_rows(audit._replace(losses_snt=losses[:, ::-1]))
    assert row["value"] < 0.4


def test_the_strongest_attack_is_named(audit):
    assert {row["chosen"] for row in rows.strongest_rows(audit)} == {"lira"}
    assert [row["metric"] for row in rows.strongest_rows(audit)] == ["auc", "tpr@0.2", "tpr@0.1"]
    assert rows.strongest_rows(audit._replace(scores={"loss": audit.scores["loss"]})) == []


def test_the_files_have_what_the_page_reads(audit, tmp_path):
    rows.compute_metrics(tmp_path, audit)
    with (tmp_path / "results.csv").open() as file:
        written = list(csv.DictReader(file))
    assert tuple(written[0]) == tables.COLUMNS == (
        "variant", "dataset", "family", "bits_weight", "bits_activation", "bits_state", "surrogate", "encoding", "T",
        "attack", "metric", "value", "low", "high", "level", "realised_fpr", "n_shadows", "n_examples", "seed",
        "chosen", "quantized", "mode", "readout", "reset", "lr", "slope", "epoch",
    )  # fmt: skip
    assert {row["variant"] for row in written} == {"digits-ann"}
    assert {(row["n_shadows"], row["n_examples"], row["lr"], row["T"]) for row in written} == {
        ("6", str(N), "0.01", "")
    }
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [(row["attack"], row["metric"]) for row in summary["rows"]] == [
        (row["attack"], row["metric"]) for row in written
    ]
    assert (summary["shadows"], summary["diverged"], summary["candidates"]) == (S, 1, N)
    assert summary["distinct_examples"] == N - 1
    with np.load(tmp_path / "replicates.npz") as drawn:
        assert {"lira auc", "lira tpr@0.1", "loss auc", "test_accuracy", "gap"} <= set(drawn.files)
    with np.load(tmp_path / "examples.npz") as examples:
        assert set(examples.files) == {"auc", "caught", "members", "halves"}
    with np.load(tmp_path / "roc.npz") as curves:
        assert curves["lira"][:, -1].tolist() == [1, 1]
        assert (np.diff(curves["lira"]) >= 0).all()


def test_what_is_compared_and_what_is_paired_have_hashes(audit, tmp_path):
    def keys(name, **changes):
        rows.compute_metrics(tmp_path / name, audit._replace(**changes))
        summary = json.loads((tmp_path / name / "summary.json").read_text())
        return summary["splits"], summary["drawn"]

    same = keys("same")
    assert keys("scores", scores={"lira": audit.scores["loss"]}) == same
    for name, change in {"data": {"data": "abd"}, "keep": {"keep_sn": ~KEEP}}.items():
        assert not set(keys(name, **change)) & set(same)
    one_less = keys("one less", usable_s=np.arange(S) < 4)
    assert one_less[0] == same[0]
    assert one_less[1] != same[1]
