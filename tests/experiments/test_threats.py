"""Which variant gives away more beyond membership: judged measures, their signs, what is corrected, what is paired."""

import json

import numpy as np
import pytest

from experiments import threats
from jaxsnn_mia.metrics import bootstrap

MODELS, LEVEL = 32, 0.95
RNG = np.random.default_rng(0)
NOISE = RNG.normal(0, 0.01, 400)


def stage(folder, threat, variant, values, models=MODELS):
    """The files of one threat to one variant: each measure with replicates of one deviation around its value."""
    path = folder / variant / f"{threat}-0"
    path.mkdir(parents=True)
    drawn = {metric: value + NOISE * (1 + 0.5 * (variant == "b")) for metric, value in values.items()}
    rows = []
    for metric, value in values.items():
        low, high = np.quantile(drawn[metric], (0.025, 0.975))
        rows.append({"attack": threat, "metric": metric, "value": value, "low": low, "high": high, "level": LEVEL})
    (path / "rows.json").write_text(json.dumps(rows))
    np.savez(path / "replicates.npz", **drawn)
    (path / "about.json").write_text(json.dumps({"models": list(range(models)), "targets": [0, 1]}))
    ran = {"device": "2 x cpu", "python": "3.11", "jax": "0", "finished": "today"}
    (path / "manifest.json").write_text(json.dumps(ran))


def run_of(folder, variants, models=MODELS):
    """A run whose variants have the values {threat: {measure: value}}."""
    for variant, by_threat in variants.items():
        for threat, values in by_threat.items():
            stage(folder, threat, variant, values, models[variant] if isinstance(models, dict) else models)
    beyond = {variant: {"beyond": [f"{threat}-0" for threat in of]} for variant, of in variants.items()}
    (folder / "summary.json").write_text(json.dumps({"variants": beyond}))
    return folder


def test_a_larger_gap_leaks_more_and_a_larger_error_less(tmp_path):
    """`mse_gap` is judged and `mse_member`, of the same threat, is not; `mse` of gradients is an error."""
    a = {"inversion_black": {"mse_gap": 0.1, "mse_member": 0.5}, "inversion_gradients": {"mse@4": 0.2}}
    b = {"inversion_black": {"mse_gap": 0.2, "mse_member": 0.4}, "inversion_gradients": {"mse@4": 0.4}}
    lines = list(threats.table(run_of(tmp_path, {"a": a, "b": b}), []))
    assert lines[0] == "- inversion black: 32 models of each variant, 2 targets; 2 x cpu, Python 3.11, jax 0, today"
    (of_b,) = [line for line in lines if line.startswith("| inversion black | mse gap | b |")]
    low, high = bootstrap.interval(0.1, 0.5 * NOISE, 16, 0.95, least=-np.inf, most=np.inf)
    assert of_b.endswith(f"| +0.1 [{low:+.3g}, {high:+.3g}]: more |")
    (of_member,) = [line for line in lines if line.startswith("| inversion black | mse member | b |")]
    assert of_member.rstrip("| ").endswith("]")  # no verdict
    (of_error,) = [line for line in lines if line.startswith("| inversion gradients | mse@4 | b |")]
    assert of_error.endswith(": less |")
    said = lines[lines.index(next(line for line in lines if line.startswith("\nWhat leaks"))) :]
    assert "over the 2 comparisons of judged measures" in said[0]
    assert any(line.startswith("- inversion black (mse gap): b more than a (+0.1 [") for line in said)


def test_what_is_alone_a_finding_is_none_among_many():
    """Holm: the smallest of ten equal p of .02 must be below .005."""
    apart = {("inversion_black", "mse_gap", f"v{i}", "a"): threats.Difference(0.1, 0.0, 0.2, 0.02) for i in range(10)}
    measures = {"inversion_black": ["mse_gap"]}
    assert set(threats.verdicts(apart, measures, LEVEL).values()) == {"cannot be told"}
    (one,) = list(apart)[:1]
    assert threats.verdicts({one: apart[one]}, measures, LEVEL) == {one: "more"}
    same = {one: threats.Difference(0.0, 0.0, 0.0, float("nan"))}
    assert threats.verdicts(same, measures, LEVEL) == {one: "the same"}
    assert threats.verdicts({("attribute_imputed", "recovered", "b", "a"): apart[one]},
                            {"attribute_imputed": ["recovered"]}, LEVEL) == {}  # fmt: skip


def test_other_models_are_not_paired_and_unknown_references_are_refused(tmp_path):
    values = {"inversion_black": {"mse_gap": 0.1}}
    folder = run_of(tmp_path, {"a": values, "b": values, "c": values}, {"a": 32, "b": 32, "c": 30})
    lines = [line for line in threats.table(folder, ["a"]) if line.startswith("| inversion black")]
    assert [line.split("|")[-2].strip().startswith("+0 [") for line in lines] == [False, True, False]
    assert lines[2].endswith("| not paired |")
    with pytest.raises(ValueError, match="`--against` must be one of"):
        list(threats.table(folder, ["d"]))
    with pytest.raises(ValueError, match="has the models and targets of"):
        list(threats.table(folder, ["c"]))
