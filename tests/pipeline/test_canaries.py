"""Runs with canaries: what every model trains on, what is attacked, and what is said of canaries and natural rows."""

import json

import numpy as np
import pytest

from jaxsnn_mia import config
from jaxsnn_mia.config.specs import privacy
from jaxsnn_mia.config.sweep import FOLLOWING
from jaxsnn_mia.data import splits
from jaxsnn_mia.pipeline import cost, trained
from jaxsnn_mia.pipeline.run import data_and_splits, run_pipeline
from jaxsnn_mia.pipeline.splits import make_keep
from jaxsnn_mia.report import audited, rows, tables
from jaxsnn_mia.settings import LATER, Config, Metrics, as_dict, recorded
from jaxsnn_mia.store.files import read_array
from jaxsnn_mia.store.workdir import check_config, write_config
from tests.attacks import planted
from tests.runs import small

M, NATURAL, POISON = 40, 60, 2
PLANTED = {"canaries": M, "natural": NATURAL, "poison": POISON, "rows": "iid"}
LEARNED, UNTRAINED = "breast_cancer-ann-lr0.03", "breast_cancer-ann-lr1e-09"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, unpainted):
    """Models that learn their rows by heart beside models that learn nothing, in one program."""
    folder = tmp_path_factory.mktemp("canaries")
    c = small(
        splits=PLANTED,
        train={"epochs": 20, "batch_size": 64, "snapshot_epochs": ()},
        attacks={"names": ("loss", "lira")},
        sweep={"lr": (0.03, 1e-9)},
        metrics={"fprs": (0.1,)},
        ensemble={"group_size": 8},
    )
    run_pipeline(c, folder)
    return folder


@pytest.fixture(scope="module")
def run(workdir):
    return trained.load(workdir, LEARNED)


def of(workdir, variant):
    summary = json.loads((workdir / "summary.json").read_text())["variants"][variant]
    return summary, {(row["attack"], row["metric"]): row for row in summary["rows"]}


def test_every_model_trains_on_its_coins_and_on_all_that_trains_always(run):
    role = np.asarray(read_array(run.paths["data"] / "role.npy"))
    x, y = (np.asarray(read_array(run.paths["data"] / f"{name}.npy")) for name in ("x", "y"))
    always = np.flatnonzero(role == splits.ALWAYS)
    assert run.keep.shape == (8, M + NATURAL) == (8, (role == splits.CANDIDATE).sum())
    np.testing.assert_array_equal(run.keep[1::2], ~run.keep[::2])
    idx_sr, mask_sr = run.inputs.rows
    all_x, all_y = run.inputs.data[:2]
    for s in range(8):
        own = idx_sr[s][mask_sr[s] > 0]
        assert len(own) == len(set(own)) == run.keep[s].sum() + len(always)
        np.testing.assert_array_equal(all_x[own[run.keep[s].sum() :]], x[always])
        np.testing.assert_array_equal(all_y[own[run.keep[s].sum() :]], y[always])
        np.testing.assert_array_equal(own[: run.keep[s].sum()], np.flatnonzero(run.keep[s]))
    poison = always[-M * POISON :]
    assert (poison >= len(x) - M * POISON).all()
    canary = {row.tobytes(): label for row, label in zip(run.x[run.canary_n], run.y[run.canary_n], strict=True)}
    assert all(canary[row.tobytes()] != label for row, label in zip(x[poison], y[poison], strict=True))
    assert (len(run.x), len(run.y), len(run.unit_n)) == (M + NATURAL,) * 3
    assert len(set(run.unit_n)) == M + NATURAL
    assert run.signal("phi").shape == (8, M + NATURAL, 1)


def test_canaries_leak_more_than_natural_rows_and_untrained_models_leak_nothing(workdir):
    summary, found = of(workdir, LEARNED)
    canaries, natural = found["lira", "canary_auc"], found["lira", "auc"]
    assert canaries["value"] > natural["value"] + 0.2
    assert canaries["low"] <= canaries["value"] <= canaries["high"]
    assert (canaries["n_examples"], natural["n_examples"], summary["candidates"]) == (M, NATURAL, M + NATURAL)
    assert found["strongest", "canary_auc"]["value"] > 0.8
    assert (summary["rows"][0]["metric"], found["", "test_accuracy"]["value"] > 0.85) == ("train_accuracy", True)
    assert ("loss", "canary_epsilon_one_run@1e-05") in found
    assert ("loss", "epsilon_one_run@1e-05") not in found
    _, nothing = of(workdir, UNTRAINED)
    for metric, count in (("canary_auc", M), ("auc", NATURAL)):
        deviation = np.sqrt((count + 1) / (3 * count**2) / 8)
        assert abs(nothing["loss", metric]["value"] - 0.5) < 4 * deviation


def test_the_numbers_of_a_group_are_those_of_its_rows(workdir, run):
    _, found = of(workdir, LEARNED)
    for metric, own in (("canary_auc", run.canary_n), ("auc", ~run.canary_n)):
        of_targets = [
            np.mean(score[keep & own][:, None] > score[~keep & own])
            + np.mean(score[keep & own][:, None] == score[~keep & own]) / 2
            for score, keep in zip(run.scores("lira"), run.keep, strict=True)
        ]
        assert found["lira", metric]["value"] == pytest.approx(np.mean(of_targets))
    correct = run.signal("correct")[:, :, 0]
    outside = [row[~keep & ~run.canary_n].mean() for row, keep in zip(correct, run.keep, strict=True)]
    assert found["", "test_accuracy"]["value"] == pytest.approx(np.mean(outside))


def test_the_report_shows_both_and_exposes_natural_rows(workdir, run):
    page = (workdir / "report.html").read_text()
    for needle in (
        '<section id="canaries"',
        "AUC, canaries",
        "TPR @ 10 % FPR, natural",
        "epsilon at least, a fifth guessed",
    ):
        assert needle in page
    with np.load(run.paths["metrics"] / "examples.npz") as examples:
        for name in ("auc", "caught"):
            np.testing.assert_array_equal(np.isnan(examples[name]), run.canary_n)
        assert examples["members"].shape == (M + NATURAL,)
    with np.load(run.paths["metrics"] / "replicates.npz") as drawn:
        assert {"lira canary_auc", "lira auc", "lira canary_tpr@0.1"} <= set(drawn.files)


@pytest.mark.parametrize("leaking", [True, False])
def test_a_leak_of_one_group_is_not_taken_for_that_of_the_other(leaking, tmp_path):
    keep, canary = planted.pairs(8, 300), np.arange(300) < 100
    scores = np.random.default_rng(0).normal(size=keep.shape) + 3 * (keep & (canary == leaking))
    audit = audited.Audit(
        "a", {"dataset": "a"}, Metrics(fprs=(0.05,), replicates_auc=20, replicates_tpr=20), keep, np.ones(8, bool),
        np.arange(8) // 2, np.arange(300), None, None, {"loss": scores}, coins=True, canary_n=canary,
        confidence_sn=scores,
    )  # fmt: skip
    rows.compute_metrics(tmp_path, audit)
    found = {row["metric"]: row["value"] for row in json.loads((tmp_path / "summary.json").read_text())["rows"]}
    assert (found["canary_auc"] > 0.9, found["auc"] > 0.9) == (leaking, not leaking)
    assert abs(found["auc" if leaking else "canary_auc"] - 0.5) < 0.06
    assert (found["canary_epsilon_one_run@1e-05"] > 0.5) == leaking
    (line,) = tables.canary_table(
        [{"variant": "a", **row} for row in json.loads((tmp_path / "summary.json").read_text())["rows"]]
    )
    assert line["AUC, canaries"].startswith(f"{found['canary_auc']:.3f} [")
    assert line["AUC, natural"].startswith(f"{found['auc']:.3f} [")


@pytest.mark.parametrize("rule", splits.ROWS)
def test_each_group_is_halved_by_coins_of_its_own(rule):
    c = config.from_dict({"splits": {"canaries": M, "n_shadows": 20, "rows": rule}})
    canary = np.random.default_rng(0).permutation(np.arange(2 * M) < M)
    labels = np.arange(2 * M)  # a class of one row each: other rows of it train always
    keep = make_keep(c, labels, labels, canary)
    np.testing.assert_array_equal(keep[1::2], ~keep[::2])
    if rule == "exact":
        np.testing.assert_array_equal(keep[:, canary].sum(1), M // 2)
        np.testing.assert_array_equal(keep[:, ~canary].sum(1), M // 2)
    of_canaries, of_natural = keep[::2][:, canary], keep[::2][:, ~canary]
    assert abs(np.corrcoef(of_canaries.ravel(), of_natural.ravel())[0, 1]) < 0.2
    with pytest.raises(ValueError, match=r"`splits\.natural`=3 rows are too few"):
        make_keep(c, labels[:43], labels[:43], np.arange(43) < M)


def test_without_canaries_a_run_is_recorded_as_before_they_could_be_set(tmp_path):
    before = as_dict(Config())
    for name in ("canaries", "canary_kind", "natural", "poison"):
        del before["splits"][name]
    for section, names in LATER.items():
        for name in names:
            del before[section][name]
    assert recorded(Config()) == before
    write_config(tmp_path, before)
    check_config(tmp_path, recorded(Config()), FOLLOWING)
    planted_run = config.from_dict({"splits": {"canaries": 8, "poison": 1}})
    assert recorded(planted_run)["splits"] | {"unit": "example"} == as_dict(planted_run)["splits"]


def test_more_canaries_than_rows_are_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(ValueError, match=r"got 200 canaries, 200 natural rows\. Set either lower"):
        data_and_splits(config.from_dict({"data": {"name": "iris"}, "splits": {"canaries": 200}}), tmp_path)


def test_a_dry_run_counts_the_rows_that_train_always():
    c = config.from_dict({"data": {"name": "iris"}, "splits": {"canaries": 10, "natural": 20, "poison": 3}})
    work = cost.synthetic_work(c)
    assert [len(array) for array in work.data] == [127 + 30] * 2
    np.testing.assert_array_equal(work.rows[1].sum(1), 127 - 15 + 30)
    assert cost.coins_of(c, 127) == 30


def test_privacy_is_spent_at_the_rate_of_all_rows():
    c = config.from_dict({"train": {"dp_clip": 1.0, "dp_noise": 1.0, "batch_size": 20}})
    keep = splits.with_always(planted.pairs(6, 40), 60)
    spent = privacy(c, keep)
    assert spent.rate == pytest.approx(20 / 80, rel=1e-5)  # 60 and half of 40
    assert privacy(c, planted.pairs(6, 40)).rate == 1


def test_private_training_takes_canaries_that_equal_a_row_that_trains_always(tmp_path):
    """Epsilon is that of one row, which is a coin, and no two coins are equal."""
    c = config.from_dict({
        "data": {"name": "wine"}, "train": {"dp_clip": 1.0, "dp_noise": 1.0},
        "splits": {"canaries": 8, "canary_kind": "duplicate-of-class", "poison": 1},
    })  # fmt: skip
    work = trained.load_inputs(c, data_and_splits(c, tmp_path))
    assert work.spec.private
    assert len(work.data[0]) == 152 + 8
