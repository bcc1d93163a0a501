"""Defences in whole runs: what is trained once serves them all, and labels give away what they did."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia import config
from jaxsnn_mia.pipeline import train as pipeline_train
from jaxsnn_mia.pipeline import trained
from jaxsnn_mia.pipeline.run import run_pipeline
from jaxsnn_mia.signals.defences import Defence, released
from jaxsnn_mia.signals.from_logits import logit_confidence


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"defence": {"round_digits": 7}}, r"`defence\.round_digits` must be in \[0, 6\], got 7\. 0 rounds nothing"),
        ({"defence": {"top_k": -1}}, r"`defence\.top_k` must be at least 0, got -1"),
        ({"defence": {"temperature": 0.5}}, r"`defence\.temperature` must be finite and at least 1, got 0\.5"),
        ({"train": {"mixup": -0.1}}, r"`train\.mixup` must be finite and at least 0, got -0\.1"),
        ({"defence": {"top_k": 2}, "sweep": {"top_k": (1, 3)}}, r"`defence\.top_k` must be left alone"),
    ],
)
def test_settings_that_defend_nothing_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config.from_dict(changes)


def test_hiding_one_class_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline_train, "run", None)
    with pytest.raises(
        ValueError, match=r"`defence\.top_k` must be in \[0, 1\] for wine, which holds 3 classes, got 2"
    ):
        run_pipeline(wine(defence={"top_k": 2}), tmp_path)


def wine(**changes):
    """Models that know their training rows by heart."""
    return config.from_dict(
        {
            "data": {"name": "wine"}, "splits": {"n_shadows": 16}, "model": {"family": "ann", "hidden": (32,)},
            "train": {"epochs": 40, "lr": 1e-2, "batch_size": 32}, "ensemble": {"group_size": 16},
            "metrics": {"replicates_auc": 20, "replicates_tpr": 20}, "signals": {"names": ("phi", "logits")},
            "attacks": {"names": ("lira", "gap")}, **changes,
        }
    )  # fmt: skip


@pytest.mark.long
def test_one_training_serves_all_defences_and_labels_give_away_what_they_did(tmp_path):
    """Rounding to one digit takes from LiRA what probabilities tell, and nothing from attacks on labels."""
    run_pipeline(wine(sweep={"round_digits": (0, 1)}), tmp_path, until="metrics")
    bare, defended = (tmp_path / f"wine-ann-round_digits{digits}" for digits in (0, 1))
    assert len(list(tmp_path.glob("*/train-*"))) == 1

    def stage(folder, name):
        (path,) = folder.glob(f"signals-*/{name}/candidates-00000.npy")
        return path

    assert stage(bare, "correct").parts[-3] == stage(defended, "correct").parts[-3]
    assert stage(bare, "phi").parts[-3] != stage(defended, "phi").parts[-3]
    logits, phi = np.load(stage(bare, "logits")), np.load(stage(defended, "phi"))
    (y,), (role,) = (list(map(np.load, tmp_path.glob(f"data-*/{name}.npy"))) for name in ("y", "role"))
    want = logit_confidence(released(jnp.asarray(logits), Defence(round_digits=1)), y[role == 0])
    np.testing.assert_allclose(phi, want, rtol=1e-4, atol=1e-4)

    rows = [row for path in tmp_path.glob("*/metrics-*/summary.json") for row in json.loads(path.read_text())["rows"]]
    auc = {(row["variant"], row["attack"]): row["value"] for row in rows if row["metric"] == "auc"}
    accuracy = {(row["variant"], row["metric"]): row["value"] for row in rows if row["attack"] == ""}
    assert auc[bare.name, "gap"] == auc[defended.name, "gap"] > 0.505
    for name in ("train_accuracy", "test_accuracy"):
        assert accuracy[bare.name, name] == accuracy[defended.name, name]
    assert auc[bare.name, "lira"] > 0.6
    assert auc[defended.name, "lira"] < auc[bare.name, "lira"] - 0.02


@pytest.mark.long
def test_another_defence_of_the_same_workdir_trains_nothing(tmp_path, monkeypatch):
    run_pipeline(wine(), tmp_path, until="signals")
    monkeypatch.setattr(pipeline_train, "train_all", None)
    run_pipeline(wine(defence={"top_k": 1, "temperature": 2.0}), tmp_path)
    run_pipeline(wine(), tmp_path)
    assert len(list(tmp_path.glob("*/signals-*/phi"))) == 2
    assert len(list(tmp_path.glob("*/signals-*/correct"))) == 1


@pytest.mark.long
def test_mixup_sweeps_as_one_ensemble_and_keeps_models_from_being_sure(tmp_path):
    """Which need not hold up LiRA: on these data it is stronger under mixup."""
    run_pipeline(wine(sweep={"mixup": (0.0, 0.5, 1.0)}), tmp_path, until="signals")
    (keep,) = (np.load(path) for path in tmp_path.glob("splits-*/keep.npy"))
    member = []
    for alpha in (0.0, 0.5, 1.0):
        (folder,) = (path.parent for path in tmp_path.glob(f"wine-ann-mixup{alpha}/signals-*/phi"))
        member.append(trained.read_signal({"signals/phi": folder}, "phi")[keep].mean())
        (manifest,) = tmp_path.glob(f"wine-ann-mixup{alpha}/train-*/manifest.json")
        assert len(json.loads(manifest.read_text())["members"]) == (2 if alpha else 1)
    assert member[0] > member[1] + 1 > member[2] + 1
