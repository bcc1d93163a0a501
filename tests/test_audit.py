"""Arrays from elsewhere: the same numbers as the attacks themselves, the report, and errors that say what is wrong."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxsnn_mia import attacks, audit, metrics
from jaxsnn_mia.settings import Metrics
from tests.attacks import planted
from tests.runs import ROOT

S, N, C, Z = 12, 200, 3, 150
KEEP = planted.pairs(S, N)
QUICK = Metrics(fprs=(0.05,), replicates_auc=50, replicates_tpr=20)


def logits(labels, member, models, seed=0):
    rng = np.random.default_rng(seed)
    out = rng.normal(size=(models, len(labels), C)) + 0.8 * rng.normal(size=(1, len(labels), C))
    out[:, np.arange(len(labels)), labels] += 1 + 1.5 * member
    return out.astype(np.float32)


LABELS = np.random.default_rng(1).integers(C, size=N)
LABELS_Z = np.random.default_rng(2).integers(C, size=Z)
LOGITS = logits(LABELS, KEEP, S)
MODELS = audit.Models(LOGITS, LABELS, logits(LABELS_Z, np.zeros((S, Z)), S, 3), LABELS_Z)


def by_name(rows, metric="auc"):
    return {row["attack"]: row for row in rows if row["metric"] == metric}


def test_the_numbers_are_those_of_the_attacks_and_the_report_is_there(tmp_path):
    possible = audit.able(MODELS, separate=False)
    assert {"rmia", "attack_p", "shokri", "watson", "entropy"} <= set(possible)
    assert not {"quantile", "steps", "combine"} & set(possible)  # they need more than logits
    rows = audit.run(MODELS, KEEP, tmp_path, names=("loss", "entropy", "lira", "rmia", "attack_p"), settings=QUICK)
    assert by_name(rows, "train_accuracy")[""]["value"] > 0.6
    rows = by_name(rows)
    phi = attacks.signals.logit_confidence(LOGITS[:, :, None], LABELS.astype(np.int32))
    scores = attacks.lira.score(phi, KEEP, partner_s=np.arange(S) ^ 1)
    assert rows["lira"]["value"] == pytest.approx(metrics.auc(scores, KEEP), abs=1e-6)
    assert rows["lira"]["value"] > 0.7
    assert rows.keys() == {"loss", "entropy", "lira", "rmia", "attack_p", "strongest"}
    assert "its complementary model" in (tmp_path / "report.html").read_text()


def test_a_second_audit_in_a_workdir_is_its_own_and_that_of_a_run_is_left_alone(tmp_path):
    first = by_name(audit.run(MODELS, KEEP, tmp_path, names=("loss",), settings=QUICK))
    again = MODELS._replace(outputs=logits(LABELS, np.zeros(KEEP.shape), S))
    assert by_name(audit.run(again, KEEP, tmp_path, names=("loss",), settings=QUICK)) != first
    (tmp_path / "config.json").write_text('{"config": {"train": {}}}')
    with pytest.raises(ValueError, match="holds a run of another kind"):
        audit.run(MODELS, KEEP, tmp_path, names=("loss",), settings=QUICK)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_separate_targets_are_reported_without_what_they_cannot_tell(tmp_path, count):
    member = np.random.default_rng(count).random((count, N)) < 0.5
    targets = audit.Models(logits(LABELS, member, count, 7), LABELS)
    audit.run(MODELS, KEEP, tmp_path, targets=targets, member_kn=member, names=("loss", "lira"), settings=QUICK)
    page = (tmp_path / "report.html").read_text()
    assert "Left out with a target: nothing: the targets are no references." in page
    assert "AUC nan" not in page


def test_one_target_whose_references_never_saw_the_examples_meets_the_offline_attacks(tmp_path):
    member = np.random.default_rng(4).random((1, N)) < 0.5
    targets = audit.Models(logits(LABELS, member, 1, 7), LABELS)
    models = audit.Models(logits(LABELS, np.zeros((S, N)), S, 9), LABELS)
    nobody = np.zeros((S, N), bool)
    rows = by_name(audit.run(models, nobody, tmp_path, targets=targets, member_kn=member, settings=QUICK))
    assert {"loss", "lira_offline", "attack_r", "watson"} <= rows.keys()
    assert not {"lira", "lira_pooled", "bavaria_offline", "sablayrolles"} & rows.keys()
    assert rows["lira_offline"]["value"] > 0.68
    phi, own = (attacks.signals.logit_confidence(m.outputs[:, :, None], LABELS) for m in (models, targets))
    one_sided = attacks.lira.score(phi, nobody, mode="offline", variance="shrinkage", target_phi_kna=own)
    assert rows["lira_offline"]["value"] == pytest.approx(metrics.auc(one_sided, member), abs=1e-6)
    assert "attacks that need any are left out" in (tmp_path / "report.html").read_text()
    with pytest.raises(ValueError, match=r"\['lira'\] need more than these arrays"):
        audit.run(models, nobody, tmp_path, targets=targets, member_kn=member, names=("lira",), settings=QUICK)


def test_examples_with_too_few_models_are_left_out_and_counted(tmp_path):
    keep = np.argsort(np.random.default_rng(0).random((S, N)), axis=0) < S // 2
    keep[:, [3, 60]], keep[:, 150] = True, np.arange(S) == 4
    rows = by_name(audit.run(MODELS, keep, tmp_path / "all", names=("loss", "lira"), settings=QUICK))
    rest = np.delete(np.arange(N), [3, 60, 150])
    alone = audit.Models(LOGITS[:, rest], LABELS[rest])
    want = by_name(audit.run(alone, keep[:, rest], tmp_path / "rest", names=("loss", "lira"), settings=QUICK))
    assert {name: row["value"] for name, row in rows.items()} == {name: row["value"] for name, row in want.items()}
    words = "3 of 200 examples, of which there are too few IN or OUT models."
    assert words in (tmp_path / "all" / "report.html").read_text()
    assert "too few" not in (tmp_path / "rest" / "report.html").read_text()


@pytest.mark.long
def test_without_names_all_attacks_run_that_the_arrays_are_enough_for(tmp_path):
    rows = by_name(audit.run(MODELS, KEEP, tmp_path, settings=QUICK))
    assert rows.keys() == {*audit.able(MODELS, separate=False), "strongest"}


@pytest.mark.long
def test_separate_targets_are_held_against_all_models(tmp_path):
    member = np.random.default_rng(5).random((2, N)) < 0.5
    targets = audit.Models(logits(LABELS, member, 2, 7), LABELS, logits(LABELS_Z, np.zeros((2, Z)), 2, 8), LABELS_Z)
    rows = by_name(audit.run(MODELS, KEEP, tmp_path, targets=targets, member_kn=member, settings=QUICK))
    phi, own = (attacks.signals.logit_confidence(m.outputs[:, :, None], LABELS) for m in (MODELS, targets))
    want = metrics.auc(attacks.lira.score(phi, KEEP, target_phi_kna=own), member)
    assert rows["lira"]["value"] == pytest.approx(want, abs=1e-6)
    assert "rmia" in rows
    assert "shokri" not in rows
    assert rows["rmia"]["n_shadows"] == 2
    without = by_name(audit.run(MODELS, KEEP, tmp_path, targets=targets._replace(population=None), member_kn=member,
                                settings=QUICK))  # fmt: skip
    assert "rmia" not in without


@pytest.mark.long
def test_losses_alone_rank_as_the_confidences_they_come_from(tmp_path):
    phi = attacks.signals.logit_confidence(LOGITS[:, :, None], LABELS)
    loss = np.logaddexp(0.0, -np.asarray(phi[:, :, 0], np.float64))
    rows = by_name(audit.run(audit.Models(loss, None), KEEP, tmp_path, settings=QUICK))
    scores = attacks.lira.score(phi, KEEP, partner_s=np.arange(S) ^ 1)
    assert rows["lira"]["value"] == pytest.approx(metrics.auc(scores, KEEP), abs=1e-4)
    assert "entropy" not in rows


def test_a_keep_without_pairs_leaves_one_random_model_out(tmp_path):
    keep = np.argsort(np.random.default_rng(0).random((S, N)), axis=0) < S // 2
    assert audit.partners(keep) is None
    rows = by_name(audit.run(MODELS, keep, tmp_path, names=("loss", "lira"), settings=QUICK))
    assert set(rows) == {"loss", "lira", "strongest"}
    assert "one random model of the other side" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (MODELS._replace(outputs=LOGITS[0, 0]), {}, r"expected logits .*got shape \(3,\)"),
        (MODELS._replace(labels_n=LABELS + 1), {}, r"labels must be in \[0, 2\], got 1 to 3"),
        (MODELS._replace(labels_n=LABELS[:5]), {}, r"labels must be integers \[200\], got int64 \(5,\)"),
        (MODELS._replace(outputs=np.full_like(LOGITS, np.nan)), {}, "NaN or infinite"),
        (audit.Models(-np.ones((S, N)), None), {}, "losses are at least 0"),
        (MODELS, {"keep_sn": KEEP.astype(int)}, r"must be boolean \(12, 200\), got int64"),
        (MODELS, {"keep_sn": KEEP[:, :9]}, r"must be boolean \(12, 200\), got bool \(12, 9\)"),
        (MODELS, {"names": ("steps",)}, r"\['steps'\] need more than these arrays"),
        (MODELS, {"member_kn": KEEP}, "pass both or neither"),
        (MODELS, {"keep_sn": np.ones((S, N), bool)}, "no example has 3 OUT models and an IN model; .* one has is 0"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, models, options, message):
    with pytest.raises(ValueError, match=message):
        audit.run(models, **{"keep_sn": KEEP, "workdir": tmp_path, "settings": QUICK, **options})


def command(folder: Path, **paths):
    flags = [f"--{name}={value}" for name, value in paths.items()]
    run = [sys.executable, str(ROOT / "experiments/audit_logits.py"), f"--workdir={folder / 'out'}", *flags]
    return subprocess.run(run, capture_output=True, text=True, cwd=folder)


@pytest.mark.long
def test_the_command_reads_npy_npz_and_csv_and_fails_in_one_line(tmp_path):
    np.save(tmp_path / "logits.npy", LOGITS)
    np.savez(tmp_path / "more.npz", labels=LABELS, keep=KEEP)
    np.savetxt(tmp_path / "keep.csv", KEEP, fmt="%d", delimiter=",")
    given = {"logits": "logits.npy", "labels": "more.npz:labels", "keep": "keep.csv", "attacks": "loss,lira"}
    done = command(tmp_path, **given, fprs="0.05")
    assert done.returncode == 0, done.stderr
    assert "its complementary model" in done.stdout
    assert "TPR @ 5 % FPR" in done.stdout
    assert (tmp_path / "out/report.html").exists()
    for change, message in (
        ({"labels": "more.npz"}, "name one by more.npz:NAME"),
        ({"keep": "absent.npy"}, "--keep: absent.npy is not there"),
    ):
        done = command(tmp_path, **(given | change))
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
