"""Threats beyond membership through the pipeline: what is reconstructed, what is guessed, and what the report says.

Over 300 lines: the tests share one run with reconstructions, and the tests of a file run in one process.
"""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest

from experiments import threats
from jaxsnn_mia.config import sweep
from jaxsnn_mia.data.prepared import candidates
from jaxsnn_mia.pipeline import inversion as reconstructing
from jaxsnn_mia.pipeline import threat, trained
from jaxsnn_mia.pipeline.attribute import operands
from jaxsnn_mia.pipeline.inversion import scene
from jaxsnn_mia.pipeline.run import data_and_splits, run_pipeline
from jaxsnn_mia.reconstruction import evaluation
from tests.runs import small

pytestmark = pytest.mark.usefixtures("unpainted")
INVERSION = {
    "data": {"name": "digits", "rows": 300, "standardise": "range"},
    "sweep": {"dataset": (), "bits": (32, 4)},  # traced: what is compiled for one width serves the other
    "quantization": {"what": "both"},
    "model": {"family": "snn", "hidden": (16,), "time_steps": 3, "readout": "leaky_integrator"},
    "inversion": {
        "names": ("white_class", "black", "gradients_ratio"), "image": (8, 8, 1),
        "shadows": 4, "targets": 6, "restarts": 2, "steps": 20, "batch_sizes": (2,), "keep": 5,
    },
}  # fmt: skip
ATTRIBUTE = {"attribute": {"names": ("imputed", "confidence", "membership"), "column": "mean texture", "bins": 3}}


def rows_of(workdir):
    with (workdir / "results.csv").open() as file:
        return {(r["variant"], r["attack"], r["metric"]): r for r in csv.DictReader(file)}


@pytest.fixture(scope="module")
def inverted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("inverted")
    run_pipeline(small(**INVERSION), workdir)
    return workdir


@pytest.mark.long
def test_reconstructions_are_rows_and_pictures(inverted):
    found = rows_of(inverted)
    for variant in ("digits-snn-bits32", "digits-snn-bits4"):
        for way in ("black",):
            for name in ("mse", "feature", "dissimilarity"):
                member, other, gap = (
                    found[variant, f"inversion_{way}", f"{name}_{of}"] for of in ("member", "other", "gap")
                )
                assert float(gap["value"]) == pytest.approx(float(other["value"]) - float(member["value"]), abs=1e-5)
                assert float(gap["low"]) <= float(gap["value"]) <= float(gap["high"])
        # what a client sends of one example holds it in clear, whatever the neurons are
        assert found[variant, "inversion_gradients_ratio", "recovered@1"]["value"] == "1"
        assert float(found[variant, "inversion_gradients_ratio", "mse@1"]["value"]) < 1e-6
        assert (variant, "inversion_white_class", "nearest_mse_gap") in found
        assert (variant, "lira", "auc") in found  # and the attacks on membership stand where they stood
    text = (inverted / "report.html").read_text()
    assert "<h2>Beyond membership</h2>" in text
    assert "<h3>inversion white class</h3>" in text
    assert text.count("Targets above their reconstructions") == 2 * 3


@pytest.mark.long
def test_the_targets_are_what_the_rows_are_about(inverted):
    """Errors of each reconstruction again, by a loop, against the example with its role of member."""
    c = sweep.variants(small(**INVERSION))["digits-snn-bits32"]
    paths = data_and_splits(c, inverted)
    s = scene(c, paths["data"])
    x, _, unit = candidates(paths["data"])
    keep = np.load(paths["splits"] / "keep.npy")
    folder = next(
        path.parent for path in inverted.glob("digits-snn-bits32/inversion-*/rows.json") if "black" in path.read_text()
    )
    z, error = np.load(folder / "z.npy"), []
    assert z.shape == (4, 6, 64)
    assert len(set(unit[s.at_k])) == 6
    for side in (True, False):
        by_model = []
        for model in range(4):
            of = [k for k, n in enumerate(s.at_k) if keep[model, n] == side]
            low, span = s.box.low, s.box.span
            by_model.append(
                np.mean([((z[model, k] - (x[s.at_k[k]] - low) / span) ** 2).mean() for k in of]) if of else None
            )
        error.append(np.mean([e for e in by_model if e is not None]))
    found = rows_of(inverted)
    for value, name in zip(error, ("mse_member", "mse_other"), strict=True):
        assert float(found["digits-snn-bits32", "inversion_black", name]["value"]) == pytest.approx(value, rel=1e-4)


@pytest.mark.long
def test_a_second_run_reconstructs_nothing_again(inverted, monkeypatch):
    monkeypatch.setattr(reconstructing, "ask", None)
    before = (inverted / "results.csv").read_bytes()
    run_pipeline(small(**INVERSION), inverted)
    assert (inverted / "results.csv").read_bytes() == before


@pytest.mark.long
def test_variants_are_compared_in_pairs(inverted, capsys):
    lines = list(threats.table(inverted, ["digits-snn-bits4"]))
    gap = next(line for line in lines if line.startswith("| inversion black | mse gap | digits-snn-bits32 |"))
    found = rows_of(inverted)
    wide, few = (float(found[f"digits-snn-bits{b}", "inversion_black", "mse_gap"]["value"]) for b in (32, 4))
    assert f"| {wide - few:+.3g} [" in gap
    same = "| inversion gradients ratio | recovered@1 | digits-snn-bits32 | 1.0000 [1.0000, 1.0000] | +0 [+0, +0]: "
    assert f"{same}the same |" in lines
    assert "- inversion gradients ratio (recovered@1): 1 of 1 are the same." in lines
    # a stage of other settings beside them is not read
    for path in inverted.glob("digits-snn-bits32/inversion-*"):
        shutil.copytree(path, path.with_name("inversion-zzzzzzzzzzzz"), dirs_exist_ok=True)
        wrong = path.with_name("inversion-zzzzzzzzzzzz") / "rows.json"
        wrong.write_text(wrong.read_text().replace('"value": ', '"value": 9'))
    assert list(threats.table(inverted, ["digits-snn-bits4"])) == lines
    for about in inverted.glob("digits-snn-bits32/inversion-*/about.json"):
        about.write_text(about.read_text().replace('"models": [', '"models": [99, '))
    with pytest.raises(ValueError, match="other shadows diverged"):
        list(threats.table(inverted, ["digits-snn-bits4"]))
    with pytest.raises(SystemExit):
        threats.main([str(inverted), "--against=none"])
    assert "`--against` must be one of" in capsys.readouterr().err


def test_only_what_stands_against_all_comparisons_is_told(tmp_path):
    """Of two threats and three variants a planted difference is told; one of two deviations is not, though its own
    interval leaves 0 out."""
    rng = np.random.default_rng(0)
    drawn = 0.01 * rng.normal(size=(3, 1000))
    planted = {"bits32": (0.0, 0.0), "bits8": (0.2, 0.03), "bits4": (0.0, 0.0)}  # of "black", of "gradients"
    variants = {}
    for (variant, shifts), around in zip(planted.items(), drawn, strict=True):
        for way, metric, shift in zip(("black", "gradients"), ("mse_gap", "mse@1"), shifts, strict=True):
            path = tmp_path / variant / f"inversion-{way}"
            path.mkdir(parents=True)
            row = evaluation.Drawn(shift + around.mean(), shift + around, 8).row(metric, 0.95)
            threat.write(path, f"inversion_{way}", [row], np.arange(32), np.arange(4))
            ran = {"device": "2 x cpu", "python": "3", "jax": "0", "finished": "today"}
            (path / "manifest.json").write_text(json.dumps(ran))
            variants.setdefault(variant, {"beyond": []})["beyond"].append(path.name)
    (tmp_path / "summary.json").write_text(json.dumps({"variants": variants}))
    text = "\n".join(threats.table(tmp_path, []))
    assert "over the 4 comparisons" in text
    assert "- inversion black: 32 models of each variant, 4 targets; 2 x cpu, Python 3, jax 0, today" in text
    assert "- inversion black (mse gap): bits8 more than bits32 (+0.2 [" in text
    assert "- inversion gradients (mse@1): 2 of 2 comparisons cannot be told, their intervals between " in text
    low, high = (
        float(of) for of in text.split("| mse@1 | bits8 |")[1].split(": cannot")[0].split("[")[-1][:-1].split(",")
    )
    assert 0 < low < high
    both = "\n".join(threats.table(tmp_path, ["bits32", "bits4"]))
    assert "over the 6 comparisons" in both  # bits32 against bits4 and back is one
    assert "bits8 more than bits4" in both


@pytest.mark.long
def test_a_class_is_held_against_its_members_and_its_others(inverted):
    """The nearest example and the mean of the examples, of each side, by loops."""
    c = sweep.variants(small(**INVERSION))["digits-snn-bits32"]
    paths = data_and_splits(c, inverted)
    s, (x, y, _) = scene(c, paths["data"]), candidates(paths["data"])
    keep, rows_nd = np.load(paths["splits"] / "keep.npy"), s.box.inside(x)
    folder = next(
        path.parent
        for path in inverted.glob("digits-snn-bits32/inversion-*/rows.json")
        if "white_class" in path.read_text() and not path.parent.name.endswith("zzz")
    )
    z = np.load(folder / "z.npy")
    found = {row["metric"]: row["value"] for row in json.loads((folder / "rows.json").read_text())}
    for side, name in ((True, "member"), (False, "other")):
        nearest, mean = [], []
        for model, label in np.ndindex(z.shape[:2]):
            of = rows_nd[(y == label) & (keep[model] == side)]
            nearest.append(((of - z[model, label]) ** 2).mean(1).min())
            mean.append(((of.mean(0) - z[model, label]) ** 2).mean())
        assert found[f"nearest_mse_{name}"] == pytest.approx(np.mean(nearest), rel=1e-4)
        assert found[f"mean_mse_{name}"] == pytest.approx(np.mean(mean), rel=1e-4)
    assert found["mean_dissimilarity_gap"] == pytest.approx(
        found["mean_dissimilarity_other"] - found["mean_dissimilarity_member"]
    )


@pytest.mark.long
def test_a_search_through_the_first_layer_finds_a_single_example_of_a_spiking_network(tmp_path):
    """And the decoder sees as many classes of an answer as `keep` says."""
    how = {**INVERSION["inversion"], "names": ("gradients_layer", "black"), "batch_sizes": (1,), "steps": 150}
    made = {}
    for keep in (0, 1):
        c = small(**INVERSION | {"sweep": {"dataset": ()}, "quantization": {}, "inversion": {**how, "keep": keep}})
        run_pipeline(c, tmp_path / str(keep))
        found = rows_of(tmp_path / str(keep))
        assert float(found["digits-snn", "inversion_gradients_layer", "recovered@1"]["value"]) > 0.5
        folders = (tmp_path / str(keep)).glob("*/inversion-*/rows.json")
        made[keep] = np.load(next(path.parent / "z.npy" for path in folders if "black" in path.read_text()))
    assert np.abs(made[0] - made[1]).max() > 0.01


@pytest.mark.long
def test_total_variation_smooths_what_a_gradient_gives(tmp_path):
    """The search for a client's batch with a heavy prior ends in an image of less variation."""
    rough = {}
    for tv in (0.0, 10.0):
        how = {**INVERSION["inversion"], "names": ("gradients",), "tv": tv, "shadows": 2, "targets": 2}
        c = small(**INVERSION | {"sweep": {"dataset": ()}, "quantization": {}, "inversion": how})
        run_pipeline(c, tmp_path / str(tv))
        z = np.load(next((tmp_path / str(tv)).glob("*/inversion-*/z2.npy"))).reshape(2, 2, 8, 8)
        rough[tv] = np.abs(np.diff(z, axis=2)).mean() + np.abs(np.diff(z, axis=3)).mean()
    assert rough[10.0] < 0.7 * rough[0.0]


@pytest.mark.long
def test_spikes_are_reconstructed_where_the_input_is_spikes(tmp_path):
    c = small(**INVERSION | {
        "sweep": {"dataset": ()}, "quantization": {},
        "model": {**INVERSION["model"], "family": "snn", "encoding": "rate"},
        "inversion": {**INVERSION["inversion"], "names": ("spikes",), "steps": 5},
    })  # fmt: skip
    run_pipeline(c, tmp_path)
    for path in tmp_path.glob("digits-snn/inversion-*/z.npy"):
        z = np.load(path)
        assert z.shape == (4, 10, 64)
        assert 0 <= z.min() < z.max() <= 1
        np.testing.assert_allclose(z * 3, np.rint(z * 3), atol=1e-6)  # counts of 3 steps


@pytest.mark.long
def test_a_column_is_guessed_and_set_against_what_is_known_without_the_model(tmp_path):
    run_pipeline(small(**ATTRIBUTE), tmp_path)
    found = {key[1:]: float(r["value"]) for key, r in rows_of(tmp_path).items() if key[1].startswith("attribute_")}
    for name in ("imputed", "confidence", "membership"):
        of = {metric: value for (attack, metric), value in found.items() if attack == f"attribute_{name}"}
        assert 0.3 < of["imputation"] < 1
        assert of["member_over_other"] == pytest.approx(of["member"] - of["other"], abs=1e-5)
    assert found["attribute_imputed", "member_over_imputation"] == 0
    assert "<h3>attribute membership</h3>" in (tmp_path / "report.html").read_text()
    c = next(iter(sweep.variants(small(**ATTRIBUTE)).values()))
    paths = data_and_splits(c, tmp_path)
    paths["train"] = next(tmp_path.glob("*/train-*"))
    made = operands(trained.opened(c, paths))
    # the queries are those of the model: at an example's own value, as the membership signals have it
    x, *_ = candidates(paths["data"])
    index = 1
    middle = made["code"] == 1
    assert made["logits"].shape == (8, len(x), 3, 2)
    assert len(np.unique(x[:, index])) > 32
    assert 0.2 < middle.mean() < 0.5


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"attribute": {"names": ("confidence",), "column": "texture", "bins": 3}},
            "`attribute.column` must be one of",
        ),
        ({"attribute": {"names": ("confidence",), "column": "30", "bins": 3}}, r"a number in \[0, 30\)"),
        ({"attribute": {"names": ("confidence",), "column": "mean texture"}}, "at most 32 distinct values"),
        ({"attribute": {"names": ("confidence",)}}, "`attribute.column`"),
        ({"attribute": {"names": ("confidence",), "column": "1", "bins": 1}}, "`attribute.bins`"),
        ({"attribute": {"names": ("guess",), "column": "1", "bins": 2}}, "`attribute.names` must be one of"),
        ({"inversion": {"names": ("white",)}}, "`inversion.names` must be one of"),
        ({"inversion": {"names": ("white_class",), "tv": 0.1}}, "image shape missing"),
        ({"inversion": {"names": ("white_class",), "image": (5, 5, 1)}}, "`inversion.image` must be"),
        ({"inversion": {"names": ("spikes",)}}, "without 'spikes'"),
        (
            {"inversion": {"names": ("black",)}, "defence": {"top_k": 0, "temperature": 5.0}},
            "where answers are defended",
        ),
        (
            {"inversion": {"names": ("gradients",)}, "model": {"encoding": "rate"}, "data": {"standardise": "range"}},
            "must be 'direct' for inversion.names",
        ),
        ({"inversion": {"names": ("black",), "keep": 11}}, "`inversion.keep` must be in"),
        ({"inversion": {"names": ("black",), "shadows": 3}}, "`inversion.shadows` must be even"),
        ({"inversion": {"names": ("black",)}, "data": {"population": 0.0, "standardise": "none"}}, "`data.population`"),
        (
            {
                "inversion": {"names": ("white_class",)},
                "model": {"encoding": "latency"},
                "data": {"standardise": "range"},
            },
            "no gradient to the input",
        ),
        (
            {"inversion": {"names": ("gradients_ratio",)}, "data": {"standardise": "per_shadow"}},
            r"without \['gradients_ratio'\]",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_training(change, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        run_pipeline(small(**change), tmp_path)
    assert not list(tmp_path.glob("*/train-*"))


def test_a_constant_column_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(size=(80, 2)), np.ones(80)]
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(80) % 2, features=["height", "weight", "ward"])
    own = {"sweep": {"dataset": (f"npz:{tmp_path / 'own.npz'}",)}, "data": {"standardise": "none"}}
    for column, match in (("ward", "at least 2 distinct values"), ("age", "height, weight, ward")):
        given = own | {"attribute": {"names": ("confidence",), "column": column, "bins": 2}}
        with pytest.raises(ValueError, match=match):
            run_pipeline(small(**given), tmp_path / "work")


# the statistic


def test_a_mean_of_a_leak_is_that_of_a_loop_and_its_interval_covers():
    rng = np.random.default_rng(0)
    keep = np.repeat(rng.random((4, 10)) < 0.5, 2, axis=0)
    keep[1::2] = ~keep[::2]
    error = rng.normal(1, 0.2, keep.shape) - 0.3 * keep
    rows = evaluation.leak("mse", error, keep, np.arange(10), np.arange(8) // 2, level=0.9, replicates=200)
    member = np.mean([error[s][keep[s]].mean() for s in range(8)])
    other = np.mean([error[s][~keep[s]].mean() for s in range(8)])
    assert [row["value"] for row in rows] == pytest.approx([member, other, other - member])
    assert [row["metric"] for row in rows] == ["mse_member", "mse_other", "mse_gap"]
    assert rows[2]["low"] <= 0.3 <= rows[2]["high"]
    np.testing.assert_allclose(rows[2]["replicates"], rows[1]["replicates"] - rows[0]["replicates"])


def test_an_evaluator_is_the_network_that_was_trained():
    rng = np.random.default_rng(0)
    for classes in (2, 3):
        x = rng.normal(size=(90, 4)) + 4 * np.eye(4)[np.arange(90) % classes]
        judge = evaluation.evaluator(x, np.arange(90) % classes)
        assert (judge.labels(x) == np.arange(90) % classes).mean() > 0.95
        assert judge.features(x[None]).shape == (1, 90, evaluation.HIDDEN)
    with pytest.raises(ValueError, match="at least 2 classes"):
        evaluation.evaluator(x, np.zeros(90, int))


def test_rows_are_written_without_their_replicates(tmp_path):
    row = evaluation.Drawn(0.5, np.array([0.4, 0.6]), 8).row("mse", 0.95)
    threat.write(tmp_path, "inversion_black", [row], np.arange(4), np.array([5, 7]))
    assert json.loads((tmp_path / "rows.json").read_text()) == [
        {
            "attack": "inversion_black",
            "n_shadows": 4,
            "n_examples": 2,
            "metric": "mse",
            "value": 0.5,
            "low": pytest.approx(0.2472, abs=1e-4),  # t of 7 degrees: 2.3646 x .1 x sqrt(8 / 7)
            "high": pytest.approx(0.7528, abs=1e-4),
            "level": 0.95,
        }
    ]
    with np.load(tmp_path / "replicates.npz") as arrays:
        np.testing.assert_array_equal(arrays["mse"], [0.4, 0.6])


@pytest.mark.long
def test_queries_at_an_examples_own_value_are_those_of_membership(tmp_path):
    """A discrete column, and snapshots: the signals of the same epoch, element for element."""
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(size=(120, 3)), rng.integers(3, size=120)]
    np.savez(tmp_path / "own.npz", x=x, y=(x[:, 0] > 0).astype(int), features=["a", "b", "c", "ward"])
    c = small(
        sweep={"dataset": (f"npz:{tmp_path / 'own.npz'}",)}, signals={"epoch": 2},
        attribute={"names": ("confidence",), "column": "ward"},
    )  # fmt: skip
    work = tmp_path / "work"
    run_pipeline(c, work)
    one = next(iter(sweep.variants(c).values()))
    paths = data_and_splits(one, work)
    paths["train"] = next(work.glob("*/train-*"))
    made = operands(trained.opened(one, paths))
    folder = next(path.parent for path in work.glob("*/signals-*/phi") if path.is_dir())
    phi_sn = trained.read_signal({"signals/phi": folder}, "phi")[:, :, 0]
    own = np.take_along_axis(made["phi"], np.broadcast_to(made["code"][None, :, None], (*phi_sn.shape, 1)), 2)[..., 0]
    np.testing.assert_allclose(own, phi_sn, rtol=1e-5, atol=1e-5)
    last = dataclasses.replace(one, signals=dataclasses.replace(one.signals, epoch=0))
    assert np.abs(operands(trained.opened(last, paths))["phi"] - made["phi"]).max() > 0.01
    before = set(work.glob("*/attribute-*"))
    run_pipeline(dataclasses.replace(c, signals=last.signals), work)
    assert len(set(work.glob("*/attribute-*")) - before) == 1  # another epoch is another stage
