"""What is written of finished shadows."""

import json

import numpy as np

from jaxsnn_mia.training.history import all_finite, valid_shadows, write_history

HISTORY = np.array([[[2.0, 0.25], [1.0, 0.5]], [[2.0, 0.5], [np.inf, 0.75]], [[3.0, 0.5], [2.0, 0.75]]])


def test_a_loss_or_a_parameter_that_is_not_finite_is_a_diverged_shadow(tmp_path, caplog):
    params = {"kernel": np.zeros((3, 2, 2)), "bias": np.zeros((3, 2))}
    params["bias"][2, 1] = np.nan
    finite = all_finite(params)
    assert finite.tolist() == [True, True, False]
    write_history(tmp_path, HISTORY, finite, np.array([2, 2, 1]))
    assert valid_shadows(tmp_path).tolist() == [True, False, False]
    assert "2 of 3 shadows diverged and are excluded with their pairs: [1, 2]" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "shadows.jsonl").read_text().splitlines()]
    assert lines[0] == {"id": 0, "status": "ok", "epochs": 2, "train_accuracy": 0.5, "loss": 1.0}
    assert [line["loss"] for line in lines] == [1.0, None, 2.0]
    with np.load(tmp_path / "history.npz") as history:
        assert sorted(history) == ["accuracy", "epochs", "loss"]
        np.testing.assert_array_equal(history["accuracy"], HISTORY[:, :, 1])


def test_a_third_column_is_that_of_the_validation_rows(tmp_path):
    write_history(tmp_path, np.ones((2, 3, 3)) * [1.0, 0.5, 0.25], np.ones(2, bool), np.array([3, 3]))
    with np.load(tmp_path / "history.npz") as history:
        assert (history["validation"] == 0.25).all()
    assert valid_shadows(tmp_path).all()
