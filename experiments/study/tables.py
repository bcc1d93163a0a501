"""Tables and figures of the study from the rows that `run.py` wrote.

    python experiments/study/tables.py

Reads experiments/results/study/*.csv, writes README.md and the figures beside them.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import conditions
import decide
import run
import sheet

LEVEL = 1 - 0.05 / len(conditions.DATASETS)
COLOURS = {"ann": "#0072b2", "leaky_integrator": "#d55e00", "membrane_last": "#e69f00"}
SECONDARY = ("train_accuracy", "gap")


def curves(rows: Iterable[dict[str, str]], dataset: str, family: str, readout: str) -> dict[int, dict[str, np.ndarray]]:
    """seed -> the snapshots in order: "epoch", the AUC of online LiRA as "auc", and each accuracy."""
    chosen: dict[int, dict[int, dict[str, float]]] = {}
    for row in rows:
        if (row["dataset"], row["family"], row["readout"]) != run.key(dataset, family, readout):
            continue
        name = row["metric"] if not row["attack"] else f"{row['attack']} {row['metric']}"
        chosen.setdefault(int(row["seed"]), {}).setdefault(int(row["epoch"]), {})[name] = number(row["value"])
    found = {}
    for seed, by_epoch in sorted(chosen.items()):
        epochs = sorted(by_epoch)
        names = by_epoch[epochs[-1]]  # the last has all, those on the way only what a curve needs
        nan = float("nan")
        found[seed] = {"epoch": np.array(epochs)} | {
            n: np.array([by_epoch[e].get(n, nan) for e in epochs]) for n in names
        }
        found[seed]["auc"] = found[seed]["lira auc"]
    return found


def number(text: str) -> float:
    return float("nan") if text == "n/a" else float(text)


def shown(values_k: Iterable[float], digits: int = 3) -> str:
    return f"{np.mean(list(values_k)):.{digits}f}"


def baseline_lines(rows: list[dict[str, str]], datasets: Iterable[str]) -> Iterator[str]:
    """Means over seeds at the last epoch."""
    heads = ("train_accuracy", "test_accuracy", "loss auc", "lira auc", "rmia auc", "lira tpr@0.01")
    yield "| data | network | rate | train acc. | test acc. | loss AUC | LiRA AUC | RMIA AUC | LiRA TPR at 1 % FPR |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for dataset, family, readout in sorted(conditions.kinds(tuple(datasets))):
        found = curves(rows, dataset, family, readout)
        if not found:
            continue
        rate = next(
            r["lr"] for r in rows if (r["dataset"], r["family"], r["readout"]) == run.key(dataset, family, readout)
        )
        cells = [shown(one[head][-1] for one in found.values()) for head in heads]
        network = family if family == "ann" else f"{family}, {readout}"
        yield f"| {dataset} | {network} | {rate} | " + " | ".join(cells) + " |"


def differences(ann: dict[int, dict], snn: dict[int, dict], how: str) -> list[float]:
    """AUC(ANN) - AUC(SNN) of each seed: at the last epoch ("last"), or where both first reach a value of `how`."""
    if how == "last":
        return [float(ann[seed]["auc"][-1] - snn[seed]["auc"][-1]) for seed in ann]
    return [decide.matched(ann[seed], snn[seed], how) for seed in ann]


def comparison(rows: list[dict[str, str]], readout: str, how: str) -> dict[str, tuple[decide.Effect, str]]:
    """data set -> the effect of claim b0 and what it says."""
    found = {}
    for dataset in conditions.DATASETS:
        ann, snn = (curves(rows, dataset, family, readout) for family in ("ann", "snn"))
        if ann and snn:
            e = decide.effect(differences(ann, snn, how), LEVEL)
            found[dataset] = (e, decide.verdict(e))
    return found


def comparison_lines(rows: list[dict[str, str]], readouts: Iterable[str], hows: Iterable[str]) -> Iterator[str]:
    """A line per data set, readout and way of matching; then the verdict over all data sets."""
    yield f"| data | SNN readout | compared at | AUC(ANN) - AUC(SNN) [{100 * LEVEL:g} %] | claim b0 |"
    yield "|---|---|---|---|---|"
    for readout in readouts:
        for how in hows:
            found = comparison(rows, readout, how)
            where = "the last epoch" if how == "last" else f"matched {how.replace('_', ' ')}"
            for dataset, (e, said) in found.items():
                yield f"| {dataset} | {readout} | {where} | {e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}] | {said} |"
            if len(found) == len(conditions.DATASETS):
                yield f"| **all** | {readout} | {where} | | **{decide.overall([v for _, v in found.values()])}** |"


def curve_figure(rows: list[dict[str, str]], path: Path) -> None:
    """AUC of online LiRA over test accuracy along training: a thin line per seed, a thick one for their mean."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "study"
    import matplotlib.pyplot as plt

    there = [d for d in conditions.DATASETS if curves(rows, d, "ann", "")]
    figure, axes = plt.subplots(1, len(there), figsize=(3.2 * len(there), 3.2), squeeze=False)
    for ax, dataset in zip(axes[0], there, strict=True):
        for family, readout in (("ann", ""), *(("snn", readout) for readout in conditions.READOUTS)):
            found = curves(rows, dataset, family, readout)
            colour = COLOURS[readout or family]
            for one in found.values():
                ax.plot(one["test_accuracy"], one["auc"], color=colour, linewidth=0.4, alpha=0.5)
            if found:
                mean = {n: np.mean([one[n] for one in found.values()], 0) for n in ("test_accuracy", "auc")}
                label = "ANN" if family == "ann" else f"SNN, {readout}"
                ax.plot(mean["test_accuracy"], mean["auc"], "o-", markersize=3, color=colour, label=label)
        ax.axhline(0.5, color="grey", linewidth=0.8, linestyle="--")
        ax.set(title=dataset, xlabel="test accuracy")
    axes[0, 0].set_ylabel("AUC of online LiRA (lower leaks less)")
    axes[0, 0].legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main(results: Path = run.RESULTS) -> None:
    controlled, released = (sheet.read(results / f"{name}.csv") for name in ("curves", "curves_as_released"))
    parts = [
        "# Results of the study",
        "The rules are those of `experiments/study/PROTOCOL.md`; means and intervals are over seeds.",
    ]
    there = {row["dataset"] for row in controlled}
    missing = [dataset for dataset in conditions.DATASETS if dataset not in there]
    if missing:
        parts.append(f"**Unfinished**: {', '.join(missing)} is missing, so no claim is judged over all data sets yet.")
    if controlled:
        curve_figure(controlled, results / "curves.svg")
        parts += [
            "## Baselines, controlled learning rates", "\n".join(baseline_lines(controlled, conditions.DATASETS)),
            "## ANN against SNN, controlled", "![AUC along training](curves.svg)",
            "\n".join(comparison_lines(controlled, conditions.READOUTS, ("test_accuracy", "last", *SECONDARY))),
        ]  # fmt: skip
    if released:
        parts += [
            "## ANN against SNN, learning rates as released", "\n".join(baseline_lines(released, conditions.DATASETS)),
            "\n".join(comparison_lines(released, ("membrane_last",), ("last",))),
        ]  # fmt: skip
    (results / "README.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
