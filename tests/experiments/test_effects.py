"""The study's analysis on planted data: simulated studies with known effects, of the protocol's size."""

import itertools
import re

import numpy as np
import pytest
from scipy import stats

from experiments.study import ablation, conditions, decide, effects, figures, run, sheet, tables, waterfall

DRAWS = 100
EFFECT = 2 * decide.MARGIN
# standard deviations over seeds: of what both networks have in common, and of each; paired differences of the runs on
# record vary by .003 (digits) to .016 (iris)
COMMON, OWN = 0.02, 0.008
EMPTY = dict.fromkeys(run.COLUMNS, "") | {"lr": "0.003"}


def row(dataset, seed, value, attack="lira", metric="auc", **of):
    return EMPTY | {"dataset": dataset, "seed": str(seed), "epoch": "40", "attack": attack, "metric": metric,
                    "value": repr(float(value)), "bits_weight": "32", "bits_activation": "32",
                    "bits_state": "32", "quantized": "both"} | of  # fmt: skip


def accuracy(dataset, seed, value, metric="test_accuracy", **of):
    return row(dataset, seed, value, "", metric, **of)


def curve(rng, dataset, seed, family, readout, base, **of):
    """An AUC that rises with the accuracy by a slope of its own; `base` is that where the accuracy is .9."""
    for epoch, acc in zip(
        (1, 3, 8, 18, 40), np.array([0.5, 0.75, 0.88, 0.93, 0.95]) + rng.normal(0, 0.005), strict=True
    ):
        where = {"family": family, "readout": readout, "epoch": str(epoch), **of}
        yield row(dataset, seed, base + 0.3 * (acc - 0.9) + rng.normal(0, 0.002), **where)
        yield from (
            accuracy(dataset, seed, acc, metric, **where) for metric in ("test_accuracy", "train_accuracy", "gap")
        )


def study(rng, effect):
    """Rows of a study in which every claim is right by `effect` on every data set."""
    made = {name: [] for name in (*run.TABLES, "as_released")}
    for dataset, seed in itertools.product(conditions.DATASETS, conditions.SEEDS):
        common = 0.65 + rng.normal(0, COMMON)

        def auc(less=0.0, common=common):
            return common - less + rng.normal(0, OWN)

        for name in ("curves", "curves_as_released"):
            made[name] += curve(rng, dataset, seed, "ann", "", auc())
            for readout in conditions.READOUTS:
                made[name] += curve(rng, dataset, seed, "snn", readout, auc(effect))
        for family, less in (("ann", 0.0), ("snn", effect)):
            value = repr(auc(less))
            own = {"dataset": dataset, "family": family, "replaced": "none", "seed": str(seed), "auc": value}
            made["as_released"].append(own)
        for bits in ("8", "4"):
            made["curves_quantized"] += curve(rng, dataset, seed, "ann", "", auc(), bits_weight=bits, mode="qat")
        for name in ("quantization", "quantization_as_released"):
            whole = name == "quantization" and dataset != "location30"
            for family, bits in itertools.product(("ann", "snn"), map(str, conditions.WIDTHS if whole else (32, 8, 4))):
                of = {"family": family, "bits_weight": bits, "readout": "membrane_last" if family == "snn" else "",
                      "mode": "qat" if bits != "32" else ""}  # fmt: skip
                less = (effect if bits in ("8", "4") else 0) + (2 * effect if family == "snn" else 0)
                made[name] += [
                    row(dataset, seed, auc(less), **of),
                    accuracy(dataset, seed, 0.98 + rng.normal(0, 0.003), **of),  # an AUC is then worth twice in volume
                ]
        for name in ("surrogates", "surrogates_as_released"):
            for surrogate in conditions.SURROGATES:
                of = {"family": "snn", "surrogate": surrogate}
                less = effect if "escape" in surrogate else -effect if surrogate == "arctan" else 0
                made[name] += [row(dataset, seed, auc(less), **of), accuracy(dataset, seed, 0.95, **of)]
    return made


def verdicts(effect):
    """(claim, way) -> the overall verdicts, and those on each data set, of simulated studies."""
    found = {}
    for draw in range(DRAWS):
        for name, by_dataset in effects.claims(study(np.random.default_rng([draw, 1]), effect)).items():
            overall, each = found.setdefault(name, ([], []))
            overall.append(effects.overall(by_dataset))
            each.append([one.verdict for one in by_dataset.values()])
    return found


@pytest.mark.long
def test_studies_with_an_effect_find_it_and_without_one_do_not():
    found, null = verdicts(EFFECT), verdicts(0.0)
    assert len(found) == len(null) == 2 * (8 + 4) + 3
    for name, (overall, each) in found.items():
        assert len(overall) == DRAWS
        assert len(each[0]) == len(conditions.DATASETS)
        assert sum(one == decide.HOLDS for one in overall) >= 90, name
    for (claim, how), (overall, each) in null.items():
        share = np.mean([one == decide.HOLDS for draw in each for one in draw])
        if "little accuracy" in claim:
            assert share == 1, (claim, how)
        else:
            assert sum(one == decide.HOLDS for one in overall) <= 10, (claim, how)
            assert share <= 0.1, (claim, how)
            assert sum(one == decide.FAILS for one in overall) >= 90, (claim, how)


def test_an_effect_on_the_other_side_or_on_some_data_sets_does_not_hold():
    rng = np.random.default_rng(5)
    found = effects.claims(study(rng, -EFFECT))
    for (claim, _), by_dataset in found.items():
        if "little accuracy" not in claim:
            assert effects.overall(by_dataset) == decide.FAILS, claim
    made = study(rng, EFFECT)
    made["curves"] = [r for r in made["curves"] if r["dataset"] != "iris"]
    made["curves"] += [r for r in study(rng, 0.0)["curves"] if r["dataset"] == "iris"]
    found = effects.more_private(made["curves"])
    assert {d: one.verdict for d, one in found.items()} == dict.fromkeys(conditions.DATASETS, decide.HOLDS) | {
        "iris": decide.FAILS
    }
    assert effects.overall(found) == decide.FAILS
    del found["iris"]
    assert effects.overall(found) == ""  # nothing is judged before all data sets are there


def test_a_loss_of_accuracy_is_judged_against_the_margin():
    def rows(loss):
        for seed in conditions.SEEDS:
            for bits, mode in (("32", ""), ("4", "qat")):
                value = 0.9 + 0.002 * seed - (loss if bits == "4" else 0) + (0.001 * (seed % 2) if mode else 0)
                yield accuracy("iris", seed, value, family="ann", bits_weight=bits, mode=mode)

    assert effects.little_loss(rows(0.005), "ann", 4)["iris"].verdict == decide.HOLDS
    assert effects.little_loss(rows(0.04), "ann", 4)["iris"].verdict == decide.FAILS
    assert effects.little_loss(rows(0.02), "ann", 4)["iris"].verdict != decide.HOLDS


def test_widths_are_compared_with_that_which_leaks_least():
    made = study(np.random.default_rng(3), EFFECT)
    lower = [
        r | {"value": repr(float(r["value"]) - 0.1)} if r["bits_weight"] == "4" and r["metric"] == "auc" else r
        for r in made["curves_quantized"]
    ]
    found = effects.than_quantized(lower, made["curves"])
    assert {one.remark for one in found.values()} == {"4 bits"}
    assert {one.verdict for one in found.values()} == {decide.FAILS}


def test_rows_that_differ_in_more_than_asked_are_refused():
    rows = [row("iris", 0, 0.5, family="ann"), row("iris", 0, 0.6, family="snn")]
    assert effects.by_seed(rows, "auc", "lira", family="snn") == {0: 0.6}
    with pytest.raises(ValueError, match=r"seed 0 has 0\.5 and 0\.6"):
        effects.by_seed(rows, "auc", "lira")


def test_the_detectable_effect_is_found_in_that_share_of_studies():
    by = decide.detectable(0.01, 8, level=0.99, power=0.8)
    values = np.random.default_rng(0).normal(by, 0.01, (20_000, 8))
    half = stats.t.ppf(0.995, 7) * values.std(1, ddof=1) / 8**0.5
    assert (values.mean(1) > half).mean() == pytest.approx(0.8, abs=0.01)
    spread = np.random.default_rng(1).normal(0, 0.01, 8)
    assert tables.detectable(decide.effect(spread, effects.LEVEL)) == pytest.approx(by * spread.std(ddof=1) / 0.01)


# the ablation

WANTED = {"spiking": 0.03, "rate coding": -0.02, "latency coding": 0.01, "doubling T": 0.005,
          "spiking x rate coding": 0.02, "spiking x latency coding": -0.01, "spiking x doubling T": 0.004,
          "rate coding x doubling T": -0.003, "latency coding x doubling T": 0.002}  # fmt: skip


def test_planted_effects_come_out_of_the_least_squares():
    cells = list(itertools.product(("ann", "snn"), ("direct", "rate", "latency"), conditions.STEPS))
    values = {}
    for family, encoding, steps in cells:
        s, r, c = (family == "snn") - 0.5, (encoding == "rate") - 1 / 3, (encoding == "latency") - 1 / 3
        t = np.log2(steps) - np.log2(conditions.STEPS).mean()
        values[family, encoding, steps] = 0.6 + np.dot(
            list(WANTED.values()), (s, r, c, t, s * r, s * c, s * t, r * t, c * t)
        )
    found = ablation.fitted(values)
    assert list(found) == ["mean", *WANTED]
    np.testing.assert_allclose(list(found.values()), [0.6, *WANTED.values()], atol=1e-12)


def ablated(seeds=8):
    """Rows of noise as a run gives them, where a reset to zero adds .05 and the leaky integrator .02."""
    rng = np.random.default_rng(0)
    for seed, encoding, steps in itertools.product(range(seeds), ("direct", "rate", "latency"), conditions.STEPS):
        if encoding != "direct" or steps == 1:
            yield row("digits", seed, rng.normal(0.6, 0.02), family="ann", encoding=encoding, T=str(steps))
        base = rng.normal(0.65, 0.02)
        for reset, readout in itertools.product(("subtract", "zero"), conditions.READOUTS):
            value = base + 0.05 * ((reset == "zero") - 0.5) + 0.02 * ((readout == effects.LEAKY) - 0.5)
            of = {"family": "snn", "reset": reset, "readout": readout, "encoding": encoding, "T": str(steps)}
            yield row("digits", seed, value, **of)


def test_rows_of_the_ablation_become_cells():
    """An ANN has one cell for all steps of direct coding, a spiking network its mean over resets and readouts."""
    rows = list(ablated())
    found = ablation.by_seed(rows, "digits", "auc", "lira")
    for seed, one in found.items():
        cells = {}
        for family, encoding, steps in itertools.product(
            ("ann", "snn"), ("direct", "rate", "latency"), conditions.STEPS
        ):
            if (encoding, steps) == ("latency", 1):
                continue  # one step tells nothing of when
            at = "1" if (family, encoding) == ("ann", "direct") else str(steps)
            cells[family, encoding, steps] = np.mean(
                [
                    float(r["value"])
                    for r in rows
                    if (r["family"], r["encoding"], r["T"], r["seed"]) == (family, encoding, at, str(seed))
                ]
            )
        for name, value in ablation.fitted(cells).items():
            assert one[name] == pytest.approx(value, abs=1e-12)
        assert [one[name] for name in ablation.WITHIN] == pytest.approx([0.05, 0.02])
    estimated = ablation.estimated(rows, "digits")
    assert list(estimated) == [*WANTED, *ablation.WITHIN]
    assert estimated["spiking"] == decide.effect([one["spiking"] for one in found.values()])
    assert ablation.estimated(rows, "iris") == {}


def test_intervals_of_the_ablation_cover():
    inside = []
    rng = np.random.default_rng(0)
    for _ in range(200):
        cells = list(itertools.product(("ann", "snn"), ("direct", "rate", "latency"), conditions.STEPS))
        matrix, names = ablation.design(cells)
        truth = rng.normal(0, 0.02, len(names))
        seeds = [
            ablation.fitted(dict(zip(cells, matrix @ truth + rng.normal(0, 0.01, 24), strict=True))) for _ in range(8)
        ]
        inside += [
            e.low <= value <= e.high
            for name, value in zip(names, truth, strict=True)
            for e in [decide.effect([one[name] for one in seeds])]
        ]
    assert 0.93 < np.mean(inside) < 0.97


# figures and tables


def test_the_front_is_what_no_other_beats_in_both():
    points = [(0.9, 0.6), (0.8, 0.55), (0.85, 0.7), (0.95, 0.8), (0.8, 0.56), (0.7, 0.55)]
    kept = figures.front(points)
    assert kept == [1, 0, 3]
    for i, (accuracy, auc) in enumerate(points):
        beaten = any(a >= accuracy and b <= auc and (a, b) != (accuracy, auc) for a, b in points)
        assert (i in kept) == (not beaten)


def test_the_tables_are_made_of_the_rows(tmp_path):
    made = study(np.random.default_rng(1), EFFECT)
    made["ablation"] = [r | of for r in ablated() for of in ({}, {"attack": "", "metric": "test_accuracy"})]
    made["baselines"] = [r for r in made["quantization"] if r["seed"] == "0" and r["bits_weight"] == "32"]
    made["surrogates_recurrent"] = made["surrogates"]
    one_seed = [r | {"dataset": "mnist10k"} for r in made["surrogates"] if (r["dataset"], r["seed"]) == ("digits", "0")]
    made["surrogates"] = made["surrogates"] + one_seed
    made["surrogates_search"] = [
        accuracy(r["dataset"], 1000, 0.9, "validation_accuracy", surrogate=r["surrogate"], slope="2", lr="0.003")
        for r in made["surrogates"] if r["dataset"] in conditions.SEARCHED_ON and r["seed"] == "0"
    ]  # fmt: skip
    for rows in (made["curves"], made["curves_as_released"]):
        for r in [r for r in rows if (r["attack"], r["epoch"]) == ("lira", "40")]:
            names = ("rmia", "lira_offline", "loss", "strongest", *(conditions.OF_TIME if r["family"] == "snn" else ()))
            rows += [r | {"attack": name} for name in names]
            rows.append(r | {"metric": "tpr@0.01"})
        rows += [
            r | {"metric": name} for r in rows if r["metric"] == "test_accuracy" for name in ("train_accuracy", "gap")
        ]
    del made["as_released"]
    for name, rows in made.items():
        sheet.write(tmp_path / f"{name}.csv", rows, run.COLUMNS)
    released = [
        {"dataset": "iris", "family": family, "replaced": name, "seed": seed, "auc": 0.6 + 0.01 * seed,
         "train_accuracy": 1, "test_accuracy": 0.9}
        for family in ("ann", "snn") for name in waterfall.LABELS if name != "interaction" for seed in range(8)
    ]  # fmt: skip
    sheet.write(tmp_path / "as_released.csv", released, tuple(released[0]))
    run.add_cost(tmp_path, {"table": "curves", "run": "iris-ann", "models": 512, "model_epochs": 20480,
                            "train_seconds": 10.0, "seconds": 15.5, "device": "2 x cpu", "jax": "0"})  # fmt: skip
    tables.write(tmp_path)
    text = (tmp_path / "README.md").read_text()
    short, verdicts = (text.split(f"## {part}\n")[1].split("\n## ")[0] for part in ("In short", "Verdicts"))
    assert "512 shadow models, 0.0 hours, summed over runs that may share the cores (2 x cpu, jax 0)." in short
    line = next(line for line in short.splitlines() if line.startswith("| a: SNN, 8 and 4 bits the best"))
    assert line.split("|")[2:4] == [" - ", " - "]
    assert re.search(r"\*\*holds\*\*: \+[.\d]+ \[.*\] \(\w+\) to \+[.\d]+ \[.*\] \(\w+\)", line)
    overall = [line for line in verdicts.splitlines() if "**" in line]
    assert len(overall) == 27
    assert sum("**holds**" in line for line in overall) == 26
    assert sum("**not judged**" in line for line in overall) == 1  # the released attack, on one data set
    described = text.split("## Surrogates, one seed\n")[1].split("\n## ")[0].splitlines()
    assert len([line for line in described if ", " in line and line.startswith("| ")]) == len(conditions.SURROGATES)
    assert "| **all** | 512 | 20,480 | 10 | 2,048 | 16 |" in text
    for name in ("waterfall", "curves", "quantization", "surrogates", "ablation"):
        figure = (tmp_path / f"{name}.svg").read_text()
        assert f"]({name}.svg)" in text
        assert ("iris" if name == "waterfall" else "digits") in figure
    tables.write(tmp_path)
    assert (tmp_path / "README.md").read_text() == text
    assert (tmp_path / "ablation.svg").read_text() == figure  # nothing of the time or of chance is in a figure
