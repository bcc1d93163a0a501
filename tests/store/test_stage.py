import errno
import json
import subprocess
import sys

import numpy as np
import pytest

from jaxsnn_mia.store.files import StoreError, TransientError, disk_full, going_on, may_pass, read_array, write_array
from jaxsnn_mia.store.stage import STAGE_VERSION, Stage, is_done, run, run_together
from jaxsnn_mia.store.workdir import check_config, is_locked, lock, write_config


def make(path):
    write_array(path / "a.npy", np.arange(5))


def demo(tmp_path, **inputs):
    return Stage("metrics", tmp_path, inputs)


def test_a_finished_stage_is_not_run_again(tmp_path, monkeypatch):
    runs = []

    def work(path):
        runs.append(path)
        make(path)
        return {"rows": 5}

    stage = demo(tmp_path, x=1)
    assert run(stage, work) == run(demo(tmp_path, x=1), work) == stage.path
    assert len(runs) == 1
    about = json.loads((stage.path / "manifest.json").read_text())
    assert (about["stage"], about["inputs"], about["rows"]) == (stage.path.name, {"x": 1}, 5)
    assert about["seconds"] >= 0
    assert demo(tmp_path, x=2).path != stage.path
    monkeypatch.setitem(STAGE_VERSION, "metrics", STAGE_VERSION["metrics"] + 1)
    assert demo(tmp_path, x=1).path != stage.path


def test_one_call_makes_all_stages_that_are_missing(tmp_path):
    stages, calls = [demo(tmp_path, x=x) for x in range(3)], []

    def make_all(missing):
        calls.append([stage.inputs["x"] for stage in missing])
        for stage in missing:
            make(stage.path)

    run(stages[1], make)
    for _ in range(2):
        assert run_together(stages, make_all) == [stage.path for stage in stages]
    assert calls == [[0, 2]]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "manifest"])
def test_a_damaged_artefact_is_found_and_said(tmp_path, damage, caplog):
    folder = run(demo(tmp_path), make)
    file = folder / ("manifest.json" if damage == "manifest" else "a.npy")
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "flipped":
        content[-3] ^= 1
        file.write_bytes(content)
    else:
        file.write_bytes(content[: len(content) // 2])
    assert not is_done(folder)
    assert file.name in caplog.text
    assert "done again" in caplog.text
    run(demo(tmp_path), make)
    assert is_done(folder)


def test_a_failed_stage_is_not_done(tmp_path):
    with pytest.raises(RuntimeError):
        run(demo(tmp_path), lambda path: (_ for _ in ()).throw(RuntimeError()))
    assert not demo(tmp_path).is_done


def test_a_full_disk_is_a_clear_error_and_leaves_the_old_file(tmp_path, monkeypatch):
    make(tmp_path)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match="disk is full"), disk_full(tmp_path):
        raise ValueError("RESOURCE_EXHAUSTED: write failed: No space left on device")
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(StoreError, match=r"disk is full.*survives.*again"):
        write_array(tmp_path / "a.npy", np.zeros(3))
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), np.arange(5))
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


def test_pickle_is_refused(tmp_path):
    np.save(tmp_path / "p.npy", np.array([{}]))
    with pytest.raises(ValueError, match=r"[Pp]ython objects|allow_pickle"):
        read_array(tmp_path / "p.npy")


def test_another_config_is_refused_with_the_difference(tmp_path):
    check_config(tmp_path, {"train": {"lr": 0.1}}, ())
    write_config(tmp_path, {"train": {"lr": 0.1}, "attacks": {"names": ["lira"]}})
    check_config(tmp_path, {"train": {"lr": 0.1}, "attacks": {"names": ["rmia"]}}, ("attacks",))
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(StoreError, match=r"train\.lr is 0\.1 there and 0\.2 here"):
        check_config(tmp_path, {"train": {"lr": 0.2}, "attacks": {"names": ["rmia"]}}, ("attacks",))
    assert (tmp_path / "config.json").read_text() == before


def test_a_second_process_is_refused_and_the_lock_dies_with_its_holder(tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from jaxsnn_mia.store.workdir import lock
with lock(Path({str(tmp_path)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StoreError, match=rf"in use by process {holder.pid}"), lock(tmp_path):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert not is_locked(tmp_path)
    with lock(tmp_path):
        assert is_locked(tmp_path)


def test_what_the_machine_does_may_pass_and_what_was_asked_for_does_not(tmp_path):
    with pytest.raises(TransientError, match=r"Input/output error.*run the same command again"), going_on():
        raise OSError(errno.EIO, "Input/output error", "epoch-000003")
    with pytest.raises(TransientError, match="disk is full"), disk_full(tmp_path):
        raise OSError("6800 requested and 3040 written")  # numpy, without a number
    for error, passes in (
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (TransientError("the disk is full"), True),
        (PermissionError(errno.EACCES, "Permission denied"), False),
        (FileNotFoundError(errno.ENOENT, "No such file"), False),
        (StoreError("another config"), False),
        (ValueError("train.lr"), False),
    ):
        assert may_pass(error) == passes


def test_a_manifest_that_was_changed_does_not_count(tmp_path, caplog):
    folder = run(demo(tmp_path), make)
    path = folder / "manifest.json"
    held = json.loads(path.read_text())
    for changed in ({**held, "files": {}}, {**held, "seconds": 9.0}, [], None):
        path.write_text(json.dumps(changed))
        caplog.clear()
        assert not is_done(folder)
        assert "manifest.json is damaged" in caplog.text
        path.write_text(json.dumps(held))
        assert is_done(folder)
    path.write_text(json.dumps({name: value for name, value in held.items() if name != "digest"}))
    assert is_done(folder)  # of an earlier version


def test_nothing_hidden_and_nothing_half_written_is_listed(tmp_path):
    def leaves(path):
        make(path)
        for name in (".writing-0a1b/epoch-000001/a", "epoch-000002.orbax-checkpoint-tmp/a", ".b.npy.12ab.tmp"):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text("left by a kill")

    folder = run(demo(tmp_path), leaves)
    assert list(json.loads((folder / "manifest.json").read_text())["files"]) == ["a.npy"]
