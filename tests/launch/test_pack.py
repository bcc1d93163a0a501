"""An artefact holds what a reader needs, with hashes, and no checkpoint."""

import json
import zipfile

import pytest

from launch import pack


def test_an_artefact_is_whole_small_and_checked(small_run, tmp_path, capsys):
    out = tmp_path / "run.zip"
    pack.main([str(small_run), f"--out={out}"])
    with zipfile.ZipFile(out) as archive:
        names = set(archive.namelist())
        assert archive.read("results.csv") == (small_run / "results.csv").read_bytes()
        said = json.loads(archive.read(pack.HASHES))
    assert {"config.json", "results.csv", "report.html", "summary.json"} <= names
    assert any("/metrics-" in f"/{name}" and name.endswith("replicates.npz") for name in names)
    assert any(name.endswith("shadows.jsonl") for name in names)
    assert not any("group-" in name or "signals-" in name for name in names)
    assert said.keys() == names - {pack.HASHES}
    first = out.read_bytes()
    pack.main([str(small_run), f"--out={out}"])
    assert out.read_bytes() == first
    pack.main([f"--check={out}"])
    assert "every file is as it was packed" in capsys.readouterr().out
    with zipfile.ZipFile(out) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, b"changed" if name == "results.csv" else content)
    with pytest.raises(SystemExit):
        pack.main([f"--check={out}"])
    assert "other content than when it was packed: results.csv." in capsys.readouterr().err


def test_what_is_no_finished_run_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        pack.main([str(tmp_path)])
    assert stopped.value.code == 2
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path} holds no finished run: summary.json is missing. Run it up to its report.\n"
    )
