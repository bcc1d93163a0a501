"""README.md and the figures are made of the rows."""

import re
import shutil

import numpy as np
import pytest
from scipy import stats

from experiments.study import conditions, decide, effects, figures, plan, run, sheet, tables, waterfall
from tests.experiments.study import planted


def test_the_detectable_effect_is_found_in_that_share_of_studies():
    by = decide.detectable(0.01, 8, level=0.99, power=0.8)
    values = np.random.default_rng(0).normal(by, 0.01, (20_000, 8))
    half = stats.t.ppf(0.995, 7) * values.std(1, ddof=1) / 8**0.5
    assert (values.mean(1) > half).mean() == pytest.approx(0.8, abs=0.01)
    spread = np.random.default_rng(1).normal(0, 0.01, 8)
    assert tables.detectable(decide.effect(spread, effects.LEVEL)) == pytest.approx(by * spread.std(ddof=1) / 0.01)


def test_the_front_is_what_no_other_beats_in_both():
    points = [(0.9, 0.6), (0.8, 0.55), (0.85, 0.7), (0.95, 0.8), (0.8, 0.56), (0.7, 0.55)]
    kept = figures.front(points)
    assert kept == [1, 0, 3]
    for i, (accuracy, auc) in enumerate(points):
        beaten = any(a >= accuracy and b <= auc and (a, b) != (accuracy, auc) for a, b in points)
        assert (i in kept) == (not beaten)


@pytest.mark.long
def test_the_tables_are_made_of_the_rows(tmp_path):
    made = planted.study(np.random.default_rng(1), planted.EFFECT)
    made["ablation"] = [r | of for r in planted.ablated() for of in ({}, {"attack": "", "metric": "test_accuracy"})]
    made["baselines"] = [r for r in made["quantization"] if r["seed"] == "0" and r["bits_weight"] == "32"]
    made["surrogates_recurrent"] = [r for r in made["surrogates"] if r["dataset"] == "digits"]
    one_seed = [r | {"dataset": "mnist10k"} for r in made["surrogates"] if (r["dataset"], r["seed"]) == ("digits", "0")]
    made["surrogates"] = made["surrogates"] + one_seed
    made["surrogates_search"] = [
        planted.accuracy(
            r["dataset"], 1000, 0.9, "validation_accuracy", surrogate=r["surrogate"], slope="2", lr="0.003"
        )
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
        sheet.write(tmp_path / f"{name}.csv", rows, sheet.COLUMNS)
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
    again = tmp_path / "again"  # the other tables are missing
    sheet.write(again / "ablation.csv", made["ablation"], sheet.COLUMNS)
    tables.write(again)
    section = (again / "README.md").read_text().split("## Ablation\n")[1].split("\n## ")[0]
    assert section == text.split("## Ablation\n")[1].split("\n## ")[0]
    assert (again / "ablation.svg").read_text() == figure  # nothing of the time or of chance is in a figure


@pytest.mark.long
def test_the_committed_verdicts_are_those_of_the_committed_rows(tmp_path):
    rows = {name: sheet.read(sheet.RESULTS / f"{name}.csv") for name in (*plan.TABLES, "as_released", "cost")}
    committed = (sheet.RESULTS / "README.md").read_text()
    for part in tables.introduction(rows, tmp_path):
        assert part in committed


@pytest.mark.long
def test_the_committed_page_is_made_of_the_committed_rows(tmp_path):
    for path in sheet.RESULTS.glob("*.csv"):
        shutil.copy(path, tmp_path)
    tables.write(tmp_path)
    assert (tmp_path / "README.md").read_text() == (sheet.RESULTS / "README.md").read_text()
