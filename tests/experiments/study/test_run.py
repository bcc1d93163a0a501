"""Every table of the study runs, goes on where it was stopped, and says what it cost."""

import pytest

from experiments.study import as_released, conditions, run, sheet, tables
from jaxsnn_mia.pipeline import run as pipeline_run
from jaxsnn_mia.pipeline import train as pipeline_train
from jaxsnn_mia.pipeline.run import run_variant
from jaxsnn_mia.store.files import write_json
from jaxsnn_mia.training.loop import train_all
from tests.experiments.study import untrained


def smoke(tmp_path, table, *flags):
    run.main([table, "--scale=smoke", f"--workdir={tmp_path / 'work'}", f"--results={tmp_path}", *flags])
    return sheet.read(tmp_path / f"{table}.csv")


OWN = """
from jaxsnn_mia.kernels import surrogate

def gentle(alpha=0.5, **options):
    return surrogate.arctan(alpha, **options)
"""


@pytest.mark.long
@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=pytest.mark.long)])
def test_the_whole_study_runs_as_a_smoke(trained, tmp_path, monkeypatch):
    """Every table on iris at settings that say nothing, tables and figures, and a surrogate of one's own. By default
    nothing is trained: random numbers stand for the results."""
    if not trained:
        monkeypatch.setattr(pipeline_run, "run_pipeline", untrained.run_pipeline)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/own_of_study.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path / "own")
    smoke(tmp_path, "all", "--surrogates=arctan,own_of_study:gentle")
    assert {row["table"] for row in sheet.read(tmp_path / "cost.csv")} == set(run.TABLES)
    quantized = sheet.read(tmp_path / "quantization.csv")
    assert {(r["family"], r["mode"], r["bits_weight"]) for r in quantized} == {
        (family, mode, bits)
        for family in ("ann", "snn")
        for mode, bits in (("", "32"), ("qat", "16"), ("ptq", "16"), ("ptq", "8"))
    }
    curves = sheet.read(tmp_path / "curves.csv")
    ends = {r["attack"] for r in curves if r["epoch"] == "3"}
    assert {r["attack"] for r in curves if r["epoch"] == "1"} == {"", "lira"} < ends
    tables.write(tmp_path)
    text = (tmp_path / "README.md").read_text()
    for part in ("Verdicts", "Quantization", "Surrogates, recurrent", "Ablation", "Every attack"):
        assert f"## {part}" in text
    assert "**not judged**" in text  # on one data set of five
    assert "| own_of_study:gentle |" in text


@pytest.mark.long
def test_a_sweep_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    """A death in the second of three runs: the same rows as without, and no model is trained twice."""

    def widths(scope):  # three runs that share their programs
        for bits in (8, 4, 2):
            searched = conditions.searched("iris", "ann", conditions.READOUTS[0])
            yield f"iris-{bits}", conditions.merged(searched, {"sweep": {"bits": (bits,)}})

    monkeypatch.setitem(run.TABLES, "rates", widths)
    whole = smoke(tmp_path / "whole", "rates")
    one, seen = run_variant, []

    def dies(name, *rest):
        seen.append(name)
        if len(seen) == 2:  # in the second run
            raise RuntimeError("killed")
        return one(name, *rest)

    monkeypatch.setattr(pipeline_run, "run_variant", dies)
    with pytest.raises(RuntimeError, match="killed"):
        smoke(tmp_path, "rates")
    assert 0 < len(sheet.read(tmp_path / "rates.csv")) < len(whole)
    monkeypatch.setattr(pipeline_run, "run_variant", one)
    trained, train = [], train_all

    def counted(members, share):
        trained.extend(member.folder.parent.name for member in members)
        train(members, share)

    monkeypatch.setattr(pipeline_train, "train_all", counted)
    assert smoke(tmp_path, "rates") == whole
    assert len(trained) == 1  # that of the third run
    trained.clear()
    assert smoke(tmp_path, "rates") == whole
    assert not trained


def test_what_a_run_cost_counts_each_pass_once(tmp_path):
    """Two variants trained as one ensemble, each with two signals of one pass."""
    machine = {"device": "2 x cpu", "jax": "0"}
    manifests = {"data-0": {"seconds": 1.0}}
    for variant in ("a", "b"):
        manifests[f"{variant}/train-0"] = {"seconds": 10.0, "members": ["a", "b"], **machine}
        manifests[f"{variant}/signals-phi"] = {"seconds": 3.0}
        manifests[f"{variant}/signals-correct"] = {"seconds": 2.0}
        manifests[f"{variant}/metrics-0"] = {"seconds": 0.5}
    for stage, manifest in manifests.items():
        write_json(tmp_path / stage / "manifest.json", manifest)
    config = {"splits": {"n_shadows": 12}, "train": {"epochs": 3}}
    write_json(tmp_path / "config.json", {"config": config})
    assert run.spent(tmp_path) == {
        "models": 24, "model_epochs": 72, "train_seconds": 10.0, "seconds": 10 + 2 * 3 + 2 * 0.5 + 1, **machine,
    }  # fmt: skip


@pytest.mark.long
def test_a_larger_smoke_on_two_data_sets(tmp_path):
    """Two data sets, the released protocol beside the tables, and the same rows again."""
    found = []
    for _ in range(2):
        smoke(tmp_path, "all", "--datasets=iris,wine")
        as_released.main([f"--workdir={tmp_path / 'released'}", f"--results={tmp_path}", "--datasets=iris,wine",
                          "--seeds=2", "--hidden=8"])  # fmt: skip
        found.append({path.name: path.read_bytes() for path in tmp_path.glob("*.csv")})
    assert found[0] == found[1]
    assert set(found[0]) == {f"{name}.csv" for name in (*run.TABLES, "as_released", "cost")}
    tables.write(tmp_path)
    assert "## As released, and each confounder" in (tmp_path / "README.md").read_text()
    assert {row["dataset"] for row in sheet.read(tmp_path / "curves.csv")} == {"iris", "wine"}
