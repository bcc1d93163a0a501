"""One report over several runs: their names, what is compared with what, what is refused."""

from pathlib import Path

import pytest

from experiments import compare
from jaxsnn_mia.report import reading, tables
from tests.report import audits


def folders(*names):
    return [audits.folder() / name for name in names]


def test_runs_are_compared_by_name(tmp_path, unpainted):
    assert compare.names_of([Path("a/x"), Path("b/x")]) == ["a x", "b x"]
    assert compare.names_of([Path("a/x"), Path("a/y")]) == ["x", "y"]
    compare.compare(folders("private", "leaks", "other"), tmp_path, "three")
    paths = {f"{folder.name}/audit": {"metrics": folder / "metrics"} for folder in folders("private", "leaks", "other")}
    pairs = [("leaks/audit", "private/audit"), ("other/audit", "private/audit")]
    assert compare.pairs_of(reading.read(paths), "private") == pairs
    assert {row["variant"] for row in tables.read(tmp_path)} == {"private/audit", "leaks/audit", "other/audit"}


def test_a_reference_has_the_same_name_or_splits_or_data():
    leaks, other = audits.read("leaks", "other").values()
    elsewhere = leaks._replace(summary={**leaks.summary, "splits": "others"})
    first = {"a/x": elsewhere, "a/y": other, "a/z": leaks}
    assert compare.reference_of("b/x", leaks, first, "a") == "a/x"  # the name
    assert compare.reference_of("b/w", leaks, first, "a") == "a/y"  # the first with its splits
    assert compare.reference_of("b/w", leaks, {"a/x": elsewhere}, "a") == "a/x"  # its data set
    unknown = leaks._replace(summary={**leaks.summary, "rows": [{**leaks.rows[0], "dataset": "iris"}]})
    assert compare.reference_of("b/w", unknown, first, "a") is None


def test_what_cannot_be_compared_is_said(tmp_path):
    with pytest.raises(ValueError, match="at least two different runs are needed"):
        compare.compare(folders("leaks", "leaks"), tmp_path, "")
    with pytest.raises(ValueError, match="--out must be another folder"):
        compare.compare(folders("leaks", "other"), *folders("leaks"), "")
    with pytest.raises(ValueError, match="holds no report of this version"):
        compare.compare([*folders("leaks"), tmp_path / "nothing"], tmp_path, "")
