"""The command of the released attack: what is finished, what dies, which rates, which flags."""

import csv

import numpy as np
import pytest

from experiments.study import as_released as study
from experiments.study import released_attack as attack
from experiments.study import sheet

SMALL = attack.Settings({"ann": 1e-3, "snn": 1e-3}, hidden=16, shadows=12)


@pytest.fixture
def counted(monkeypatch):
    """Blocks that cost nothing, and a list of those that were asked for."""
    calls = []

    def block(d, family, replaced, seeds, s):
        calls.append((family, replaced, list(seeds)))
        numbers = [(seed, 0.5 + 0.01 * seed, 1.0, 0.9, 9, 9, 2) for seed in seeds]
        return [dict(zip(attack.NUMBERS, row, strict=True)) for row in numbers]

    monkeypatch.setattr(attack, "block", block)
    return calls


def test_duplicates_are_dropped_and_images_refused(tmp_path):
    d = study.table("iris")
    assert len(d.x) == 149 == len(np.unique(d.x, axis=0))
    np.savez(tmp_path / "images.npz", x=np.zeros((6, 4, 4, 1), np.uint8), y=np.arange(6) % 2)
    with pytest.raises(ValueError, match="must be tables of float features, got npz:"):
        study.table(f"npz:{tmp_path / 'images.npz'}")


def test_what_is_finished_is_not_computed_again(counted, tmp_path):
    path = study.add(tmp_path, "iris", range(2), SMALL)
    assert len(counted) == 2 * len(attack.REPLACED)
    before = path.read_bytes(), path.stat().st_mtime_ns
    study.add(tmp_path, "iris", range(2), SMALL)
    assert len(counted) == 2 * len(attack.REPLACED)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    counted.clear()
    study.add(tmp_path, "iris", range(4), SMALL)
    assert [seeds for *_, seeds in counted] == [[2, 3]] * 2 * len(attack.REPLACED)
    study.add(tmp_path, "wine", range(2), SMALL)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == study.COLUMNS
    keys = {(r["dataset"], r["family"], r["replaced"], r["seed"]) for r in rows}
    assert len(keys) == len(rows) == 2 * len(attack.REPLACED) * (4 + 2)
    with pytest.raises(study.StoreError, match="epochs is 20 there and 3 here"):
        study.add(tmp_path, "iris", range(4), SMALL._replace(epochs=3))


def test_a_run_that_dies_leaves_what_it_finished(counted, tmp_path, monkeypatch):
    whole = attack.block

    def dies(d, family, *rest):
        if family == "snn":
            raise RuntimeError("killed")
        return whole(d, family, *rest)

    monkeypatch.setattr(attack, "block", dies)
    with pytest.raises(RuntimeError, match="killed"):
        study.add(tmp_path, "iris", range(2), SMALL)
    rows = sheet.read(tmp_path / "as_released.csv")
    assert {row["family"] for row in rows} == {"ann"}
    monkeypatch.setattr(attack, "block", whole)
    counted.clear()
    study.add(tmp_path, "iris", range(2), SMALL)
    assert {family for family, *_ in counted} == {"snn"}
    assert len(sheet.read(tmp_path / "as_released.csv")) == 2 * len(rows)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--datasets=irs"], "`data.name` must be one of"),
        (["--datasets=iris", "--rates=1e-3"], "must be two numbers, ANN,SNN, got '1e-3'"),
        (["--datasets=iris", "--rates=1e-3,fast"], "got '1e-3,fast'"),
    ],
)
def test_bad_flags_are_one_line_and_exit_code_2(flags, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(study.os, "cpu_count", lambda: 4)  # the devices that there are: no backend starts twice
    with pytest.raises(SystemExit) as stopped:
        study.main([*flags, "--seeds=1", f"--workdir={tmp_path}"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_rates_are_those_that_the_search_chose(tmp_path):
    found = [
        {"dataset": "iris", "family": family, "readout": readout, "lr": lr, "metric": "validation_accuracy",
         "value": 1 - abs(lr - best)}
        for family, readout, best in (
            ("ann", "", 1e-3), ("snn", "membrane_last", 3e-3), ("snn", "leaky_integrator", 1e-2)
        )
        for lr in (1e-3, 3e-3, 1e-2)
    ]  # fmt: skip
    sheet.write(tmp_path / "rates.csv", found, sheet.COLUMNS)
    want = {"ann": 1e-3, "membrane_last": 3e-3, "leaky_integrator": 1e-2}
    assert study.chosen_rates("", "iris", tmp_path) == want
    assert study.chosen_rates("1e-3,2e-3", "iris", tmp_path) == {"ann": 1e-3, "snn": 2e-3}
