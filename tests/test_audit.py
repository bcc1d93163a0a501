"""Arrays from elsewhere: the same numbers as the attacks themselves, the report, and errors that say what is wrong."""

import csv
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

from jaxsnn_mia import attacks, audit, metrics
from jaxsnn_mia.audit.able import lacks
from jaxsnn_mia.settings import Metrics
from jaxsnn_mia.store.files import StoreError
from jaxsnn_mia.store.workdir import lock
from tests.attacks import planted
from tests.runs import ROOT

pytestmark = pytest.mark.usefixtures("unpainted")
run_of_audit = importlib.import_module("jaxsnn_mia.audit.run")  # the package has a function of that name
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
    possible = audit.able(audit.understood(MODELS), False, audit.attackable(KEEP, False))
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


def test_another_audit_or_run_in_a_workdir_is_left_alone(tmp_path):
    first = audit.run(MODELS, KEEP, tmp_path, names=("loss",), settings=QUICK)
    again = audit.run(MODELS, KEEP, tmp_path, names=("loss", "lira"), settings=QUICK)  # more attacks on the same arrays
    assert by_name(again)["loss"]["value"] == by_name(first)["loss"]["value"]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file() and path.name != ".lock"}
    other = MODELS._replace(outputs=logits(LABELS, np.zeros(KEEP.shape), S))
    for models, options in (
        (other, {}),
        (MODELS, {"ids": np.arange(N) + 1}),
        (MODELS._replace(labels_n=1 - LABELS // 2), {}),
    ):
        with pytest.raises(StoreError, match=r"belongs to another config: .* nothing was overwritten"):
            audit.run(models, KEEP, tmp_path, names=("loss",), settings=QUICK, **options)
    with lock(tmp_path), pytest.raises(StoreError, match="is in use by"):
        audit.run(MODELS, KEEP, tmp_path, names=("loss",), settings=QUICK)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in before} == before
    (tmp_path / "config.json").write_text('{"config": {"train": {}}}')
    with pytest.raises(StoreError, match="belongs to another config"):
        audit.run(MODELS, KEEP, tmp_path, names=("loss",), settings=QUICK)


@pytest.mark.long
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
    with pytest.raises(ValueError, match="lira: it needs models that trained on the examples"):
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
    possible = audit.able(audit.understood(MODELS), False, audit.attackable(KEEP, False))
    of_one_query = {*possible} - {"lira_multivariate"}  # which is lira_pooled then
    assert rows.keys() == {*of_one_query, "strongest"}


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
    alone = targets._replace(population=None)
    without = by_name(audit.run(MODELS, KEEP, tmp_path / "without", targets=alone, member_kn=member, settings=QUICK))
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
        (MODELS._replace(outputs=LOGITS[0, 0]), {}, r"expected \[S, N, C\] .*got shape \(3,\)"),
        (MODELS._replace(labels_n=LABELS + 1), {}, r"models, labels: classes in \[0, 2\] are needed, got 1 to 3"),
        (MODELS._replace(labels_n=LABELS[:5]), {}, r"models, labels: expected whole numbers \[200\], got shape \(5,\)"),
        (MODELS._replace(outputs=np.full_like(LOGITS, np.nan)), {}, "models: NaN"),
        (audit.Models(-np.ones((S, N)) / 3, None), {}, "are no losses"),
        (MODELS, {"keep_sn": KEEP.astype(int)}, r"must be boolean \(12, 200\), got int64"),
        (MODELS, {"keep_sn": KEEP[:, :9]}, r"must be boolean \(12, 200\), got bool \(12, 9\)"),
        (MODELS, {"names": ("steps",)}, "steps: it needs phi_steps, which logits do not give. Possible: loss"),
        (MODELS, {"names": ("lirra",)}, "unknown attack 'lirra'; did you mean \"lira\""),
        (MODELS, {"names": ()}, "at least one attack is needed"),
        (MODELS, {"settings": Metrics(fprs=(1.5,))}, r"`metrics.fprs` must be in \(0, 1\), got 1.5"),
        (MODELS, {"settings": Metrics(seed=-1)}, "`metrics.seed` must be"),
        (MODELS, {"ids": np.arange(3)}, "ids: expected one of each of the 200 examples"),
        (MODELS._replace(population=None), {"names": ("rmia",)}, "rmia: it needs examples .* pass --population_logits"),
        (MODELS._replace(population=MODELS.population[:3]), {}, "population: expected 12 models, got 3"),
        (MODELS, {"member_kn": KEEP}, "pass both or neither"),
        (MODELS, {"keep_sn": np.ones((S, N), bool), "names": ("lira",)}, "lira: it needs reference models"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, models, options, message):
    with pytest.raises(ValueError, match=message):
        audit.run(models, **{"keep_sn": KEEP, "workdir": tmp_path, "settings": QUICK, **options})


FEW = ("loss", "lira", "entropy")


def values(folder, models, **options):
    rows = audit.run(models, KEEP, folder, settings=QUICK, **options)
    return {(row["attack"], row["metric"]): row["value"] for row in rows}


def test_every_form_of_the_same_answers_gives_the_same_table(tmp_path):
    want = values(tmp_path / "logits", MODELS._replace(population=None), names=FEW)
    forms = {"probabilities": softmax(LOGITS.astype(float), -1), "log_probabilities": log_softmax(LOGITS, -1)}
    for kind, form in forms.items():
        table = values(tmp_path / kind, audit.Models(form, LABELS, kind=kind), names=FEW)
        assert table == pytest.approx(want, abs=2e-3, nan_ok=True)
    with pytest.raises(ValueError, match="outputs=probabilities or outputs=logits"):
        values(tmp_path / "asked", audit.Models(forms["probabilities"], LABELS))
    assert not (tmp_path / "asked").exists()


def test_a_binary_model_of_one_probability(tmp_path):
    labels, two = (LABELS > 0) * 1, np.stack([np.zeros((S, N)), LOGITS[..., 0]], -1)
    want = values(tmp_path / "two", audit.Models(two, labels), names=FEW)
    one = audit.Models(expit(LOGITS[..., 0].astype(float)), labels, kind="probabilities")
    assert values(tmp_path / "one", one, names=FEW) == pytest.approx(want, abs=1e-3, nan_ok=True)


def test_labels_alone_meet_the_attacks_of_labels(tmp_path):
    said = LOGITS.argmax(-1).astype(np.uint8)
    rows = by_name(audit.run(audit.Models(said, LABELS, kind="labels"), KEEP, tmp_path, settings=QUICK))
    assert set(rows) == {"gap", "label_noise", "strongest"}
    assert rows["gap"]["value"] == pytest.approx(metrics.auc((said == LABELS) * 1.0, KEEP), abs=1e-6)
    several = np.stack([said, np.roll(said, 1, 0)], -1)
    rows = by_name(audit.run(audit.Models(several, LABELS, kind="labels"), KEEP, tmp_path / "two", settings=QUICK))
    right = (several == LABELS[:, None]).mean(-1)
    assert rows["label_noise"]["value"] == pytest.approx(metrics.auc(right, KEEP), abs=1e-6)


def test_one_model_alone_meets_the_attacks_without_references(tmp_path):
    table = softmax(LOGITS[0].astype(float), -1)
    rows = by_name(audit.run(audit.Models(table, LABELS, kind="probabilities"), KEEP[0], tmp_path, settings=QUICK))
    assert {"loss", "entropy", "gap"} <= rows.keys()
    assert not {"lira", "rmia", "watson", "shokri"} & rows.keys()
    phi = attacks.signals.logit_confidence(LOGITS[:1, :, None], LABELS)[:, :, 0]
    assert rows["loss"]["value"] == pytest.approx(metrics.auc(phi, KEEP[:1]), abs=1e-3)
    assert "lira, it needs reference models" in audit.how(tmp_path)


def test_the_default_set_leaves_out_and_names_what_cannot_run(tmp_path, monkeypatch):
    """Random halves without pairs: `rmia_tuned` needs pairs; without a population RMIA says what it needs; `watson` is
    made to fail. Random numbers stand for the scores."""

    def fake(name, asked):
        if name == "watson":
            raise ValueError("it is ill.")
        return np.random.default_rng(0).normal(size=asked.keep_sn.shape)

    monkeypatch.setattr(run_of_audit, "scores", fake)
    keep = np.argsort(np.random.default_rng(0).random((8, N)), axis=0) < 4
    losses = [-log_softmax(z[:8], -1) for z in (LOGITS, MODELS.population)]
    losses = [loss[:, np.arange(loss.shape[1]), y] for loss, y in zip(losses, (LABELS, LABELS_Z), strict=True)]
    models = audit.Models(losses[0], None, losses[1], kind="losses")
    rows = by_name(audit.run(models, keep, tmp_path, settings=QUICK))
    assert "rmia" in rows
    assert not {"rmia_tuned", "shokri", "lira_multivariate", "watson"} & rows.keys()
    said = audit.how(tmp_path)
    assert said in (tmp_path / "report.html").read_text()
    assert "watson, it is ill." in said
    assert "rmia_tuned, it needs complementary pairs of models" in said
    assert "shokri, it needs labels, logits, which losses do not give" in said
    alone = audit.understood(models._replace(population=None))
    assert lacks("rmia", alone, False, audit.attackable(keep, False), True).endswith("and --population_labels")


def test_the_records_have_their_owners_ids_and_the_scores_are_kept(tmp_path):
    ids = np.array([f"patient {n:03d}" for n in range(N)])
    twins = LOGITS.copy()
    twins[:, 1], keep = twins[:, 0], KEEP.copy()
    keep[:, 1], labels = keep[:, 0], LABELS.copy()
    labels[1] = labels[0]
    audit.run(audit.Models(twins, labels), keep, tmp_path, names=("lira",), settings=QUICK, ids=ids, title="Ward 7")
    kept = np.load(tmp_path / "scores.npz")
    phi = attacks.signals.logit_confidence(twins[:, :, None], labels)
    scores = attacks.lira.score(phi, keep, partner_s=np.arange(S) ^ 1)
    np.testing.assert_array_equal(kept["lira"], scores)
    np.testing.assert_array_equal(kept["member"], keep)
    with (tmp_path / "records.csv").open() as file:
        rows = list(csv.DictReader(file))
    contrast = {ids[n]: scores[keep[:, n], n].mean() - scores[~keep[:, n], n].mean() for n in range(N)}
    assert [row["id"] for row in rows[:1]] == [max(contrast, key=contrast.get)]
    for row in rows:
        assert float(row["score"]) == pytest.approx(contrast[row["id"]], rel=1e-4, abs=1e-5)
        assert int(row["rank"]) == 1 + sum(c > contrast[row["id"]] + 1e-9 for c in contrast.values())
    assert {row["tied"] for row in rows if row["id"] in ids[:2]} == {"2"}
    page = (tmp_path / "report.html").read_text()
    assert "<title>Ward 7" in page
    assert f"<td>{rows[0]['id']}</td>" in page


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
        ({"fprs": "a"}, "--fprs must be numbers"),
    ):
        done = command(tmp_path, **(given | change))
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
