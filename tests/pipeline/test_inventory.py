"""What a workdir holds, and what --clean takes away."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxsnn_mia.pipeline import inventory
from jaxsnn_mia.store.files import StoreError, write_array, write_json
from jaxsnn_mia.store.stage import MANIFEST, Stage, is_done
from jaxsnn_mia.store.stage import run as run_stage
from jaxsnn_mia.store.workdir import lock
from jaxsnn_mia.training import claims as distributed

RUN = Path(__file__).parents[2] / "experiments/run.py"


def make(path):
    write_array(path / "a.npy", np.arange(500.0))


@pytest.fixture
def workdir(tmp_path):
    """A stage that all share, a finished and an unfinished one of a variant, what a kill leaves, other things."""
    run_stage(Stage("data", tmp_path, {"name": "iris"}), make)
    finished = run_stage(Stage("signals", tmp_path / "v", {}), make)
    train = Stage("train", tmp_path / "v", {}).path
    make(train / "group-00000")
    (train / "group-00000.claim").write_text("elsewhere 1 token\n")
    (finished / ".b.npy.tmp").write_bytes(bytes(1000))
    (tmp_path / "results.csv").write_text("kept")
    (tmp_path / "notes-0123456789ab").mkdir()
    (tmp_path / "w").symlink_to(tmp_path / "v")  # somebody's own
    return tmp_path


def dead(monkeypatch):
    monkeypatch.setattr(distributed, "STALE_SECONDS", -1.0)


def names(workdir):
    return {str(path.relative_to(workdir)) for path in workdir.rglob("*") if path.name != ".lock"}


def test_every_stage_is_listed(workdir):
    found = inventory.items(workdir)
    assert [(item.variant, item.path.name[:-13], bool(item.about)) for item in found] == [
        ("", "data", True), ("v", "train", False), ("v", "signals", True)]  # fmt: skip
    lines = inventory.as_text(found).splitlines()
    assert lines[1].split()[1:4] == ["iris", "finished", "0"]
    assert lines[2].split()[2] == "unfinished"
    assert lines[-1].startswith("3 stages, 1 unfinished, 0.01 MB")
    assert inventory.size(found[1].path) == (found[1].path / "group-00000/a.npy").stat().st_size + 18
    assert [inventory.age(s) for s in (59.0, 119.0, 120.0, 7200.0, 3 * 86400.0)] == [
        "59 seconds", "119 seconds", "2 minutes", "2 hours", "3 days"]  # fmt: skip


def test_an_unfinished_training_says_how_much_is_done(workdir):
    """Two groups of 40 epochs: one is at 30, of the other nothing is kept."""
    train = Stage("train", workdir / "v", {}).path
    write_json(train / "plan.json", {"groups": 2})
    write_json(workdir / "config.json", {"config": {"train": {"epochs": 40}}})
    for epoch in (10, 30):
        (train / "group-00000" / f"epoch-{epoch:06d}").mkdir()
    assert "38 % done" in inventory.as_text(inventory.items(workdir)).splitlines()[2]


@pytest.mark.parametrize("answer", ["", "n", "yesterday", EOFError])
def test_nothing_goes_without_a_yes(workdir, monkeypatch, capsys, answer):
    def reply(question):
        assert question == "remove these 2? [y/N] "
        if answer is EOFError:
            raise EOFError
        return answer

    dead(monkeypatch)
    monkeypatch.setattr("builtins.input", reply)
    before = names(workdir)
    inventory.clean(workdir)
    assert names(workdir) == before
    assert "would begin anew" in capsys.readouterr().out


def test_what_is_unfinished_goes_and_the_rest_stays(workdir, monkeypatch, capsys):
    dead(monkeypatch)
    monkeypatch.setattr("builtins.input", lambda _: "y")
    train, gone = next(workdir.glob("v/train-*")), 1000 + inventory.size(next(workdir.glob("v/train-*")))
    before = names(workdir)
    inventory.clean(workdir)
    assert before - names(workdir) == {
        str(path.relative_to(workdir))
        for path in (train, train / "group-00000", train / "group-00000/a.npy", train / "group-00000.claim",
                     next(workdir.glob("v/signals-*")) / ".b.npy.tmp")}  # fmt: skip
    assert capsys.readouterr().out.splitlines()[-1] == f"removed 2, {gone / 1e6:.2f} MB"
    assert all(item.about and is_done(item.path) for item in inventory.items(workdir))
    inventory.clean(workdir)
    assert "nothing to remove" in capsys.readouterr().out


def test_a_workdir_at_work_is_left_alone(workdir):
    before = names(workdir)
    with lock(workdir), pytest.raises(StoreError, match="is in use by process"):
        inventory.clean(workdir, agreed=True)
    with pytest.raises(StoreError, match=r"group-00000\.claim is held by 'elsewhere 1 token'"):
        inventory.clean(workdir, agreed=True)
    assert names(workdir) == before


@pytest.mark.long
def test_by_flags(workdir):
    next(workdir.glob("v/train-*/*.claim")).unlink()
    listed, cleaned = (
        subprocess.run([sys.executable, str(RUN), *flags, f"--workdir={workdir}"], capture_output=True, text=True)
        for flags in (["--list"], ["--clean", "--yes"])
    )
    assert (listed.returncode, cleaned.returncode) == (0, 0), listed.stderr + cleaned.stderr
    assert "3 stages, 1 unfinished" in listed.stdout
    assert "removed 2" in cleaned.stdout
    assert len(inventory.items(workdir)) == 2


def test_what_is_no_workdir_is_left_alone(workdir):
    """The folder of several runs, say: nothing of theirs is looked at."""
    (workdir.parent / "other").mkdir(exist_ok=True)
    for folder in (workdir.parent, workdir.parent / "other"):
        with pytest.raises(StoreError, match="there is no workdir"):
            inventory.clean(folder, agreed=True)


def test_a_manifest_that_cannot_be_read_is_an_error_and_no_reason_to_remove(workdir):
    (next((workdir / "v").glob("signals-*")) / MANIFEST).write_text("{")
    with pytest.raises(ValueError, match="Expecting"):
        inventory.clean(workdir, agreed=True)


def test_what_was_damaged_is_said_and_nothing_is_changed(workdir):
    assert inventory.verify(workdir) == []
    (array,) = workdir.glob("v/signals-*/a.npy")
    array.write_bytes(b"damaged")
    (manifest,) = workdir.glob("data-*/manifest.json")
    manifest.write_text(manifest.read_text().replace("iris", "wine"))
    write_json(workdir / "config.json", {"hash": "0", "config": {}})
    write_json(workdir / "summary.json", {"files": {}, "variants": {}, "digest": "0"})
    relative = [str(path.relative_to(workdir)) for path in (manifest, array)]
    assert inventory.verify(workdir) == [*relative, "config.json", "summary.json"]
    assert manifest.exists()
    with pytest.raises(StoreError, match="there is no workdir"):
        inventory.verify(workdir / "v" / "notes")
