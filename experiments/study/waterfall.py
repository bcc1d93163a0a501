"""What each confounder contributes to AUC(ANN) - AUC(SNN) as released: a figure and a table from the CSV.

    python -m experiments.study.waterfall runs/study/as_released/as_released.csv --out=runs/study/as_released

The part of a confounder is the change of the difference, seed by seed, when this confounder alone is replaced. Its
interval is a t interval over seeds. Parts need not add up: "interaction" is the change when all are replaced less the
sum of the parts.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.study import decide, sheet

RELEASED, CONTROLLED, INTERACTION = "none", "all", "interaction"
LABELS = {
    RELEASED: "as released", "balance": "balanced data", "rates": "learning rates", "readout": "readout",
    "overlap": "disjoint data", "attack": "LiRA", INTERACTION: "interaction", CONTROLLED: "all replaced",
}  # fmt: skip
COLOURS = {"whole": "#56606b", "up": "#d55e00", "down": "#0072b2"}
NUMBERS = ("auc", "train_accuracy", "test_accuracy")


class Step(NamedTuple):
    """A bar of the waterfall: its name in `LABELS`, and the effect; a difference for "none" and "all", else a part."""

    name: str
    effect: decide.Effect


def of(rows: Iterable[dict[str, str]], dataset: str, family: str, replaced: str, number: str) -> dict[int, float]:
    """seed -> a number. ValueError for a seed that is there twice."""
    by_seed: dict[int, float] = {}
    for row in rows:
        if (row["dataset"], row["family"], row["replaced"]) == (dataset, family, replaced):
            if int(row["seed"]) in by_seed:
                raise ValueError(f"{dataset} {family} {replaced}: seed {row['seed']} is there twice. Drop one.")
            by_seed[int(row["seed"])] = float(row[number])
    return by_seed


def differences(rows: Iterable[dict[str, str]], dataset: str, replaced: str) -> dict[int, float]:
    """seed -> AUC(ANN) - AUC(SNN). ValueError where the families do not have the same seeds."""
    ann, snn = (of(rows, dataset, family, replaced, "auc") for family in ("ann", "snn"))
    if ann.keys() != snn.keys():
        raise ValueError(
            f"{dataset} {replaced}: the ANN has seeds {sorted(ann)}, the SNN {sorted(snn)}. Run as_released.py to the "
            "end."
        )
    return {seed: ann[seed] - snn[seed] for seed in sorted(ann)}


def waterfall(rows: Sequence[dict[str, str]], dataset: str, level: float = 0.95) -> list[Step]:
    """The difference as released, the part of each confounder, their interaction, and the difference with all replaced.

    Args:
      rows: of the CSV, every replacement with the same seeds, at least 2.
      dataset: whose rows.
      level: of the t intervals.

    Raises:
      ValueError: seeds that differ between families or replacements, or fewer than 2.
    """
    by_seed = {name: differences(rows, dataset, name) for name in LABELS if name != INTERACTION}
    for name, apart in by_seed.items():
        if apart.keys() != by_seed[RELEASED].keys():
            raise ValueError(
                f"{dataset} {name}: seeds {list(apart)}, but {list(by_seed[RELEASED])} as released. Run as_released.py "
                "to the end."
            )
    value = {name: np.array(list(apart.values())) for name, apart in by_seed.items()}
    part = {name: value_k - value[RELEASED] for name, value_k in value.items() if name not in (RELEASED, CONTROLLED)}
    part[INTERACTION] = value[CONTROLLED] - value[RELEASED] - sum(part.values())
    shown = {RELEASED: value[RELEASED], **part, CONTROLLED: value[CONTROLLED]}
    return [Step(name, decide.effect(shown[name], level)) for name in LABELS]


def bars(steps: Sequence[Step]) -> tuple[np.ndarray, np.ndarray]:
    """(bottom, top) [K] of each bar: whole differences stand on 0, a part goes on where the one before it ended. `top`
    is where the bar ends, also where that is below."""
    ends = np.cumsum([step.effect.mean for step in steps[:-1]])
    bottoms = np.concatenate([[0.0], ends[:-1], [0.0]])
    return bottoms, np.append(ends, steps[-1].effect.mean)


def figure(steps_of: dict[str, list[Step]], path: Path) -> None:
    """A panel for each data set, each of its own scale, as SVG or PNG by the name of `path`; whiskers are intervals.
    `steps_of`: data set -> its steps."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.hashsalt": "waterfall", "svg.fonttype": "none"})
    import matplotlib.pyplot as plt

    drawn, axes = plt.subplots(1, len(steps_of), figsize=(0.6 + 2.9 * len(steps_of), 3.4), squeeze=False)
    for ax, (dataset, steps) in zip(axes[0], steps_of.items(), strict=True):
        bottoms, tops = bars(steps)
        for i, step in enumerate(steps):
            e, whole = step.effect, step.name in (RELEASED, CONTROLLED)
            if whole:
                colour = COLOURS["whole"]
            else:
                colour = COLOURS["up" if e.mean > 0 else "down"]
            ax.bar(i, tops[i] - bottoms[i], bottom=bottoms[i], color=colour, width=0.7)
            ax.plot([i, i], [bottoms[i] + e.low, bottoms[i] + e.high], color="black", linewidth=1)
            if i + 1 < len(steps):
                ax.plot([i - 0.35, i + 1.35], [tops[i]] * 2, color="grey", linewidth=0.5)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_xticks(range(len(steps)), [LABELS[step.name] for step in steps], rotation=60, ha="right", fontsize=7)
        ax.set_title(f"{dataset}, {steps[0].effect.seeds} seeds", fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("AUC(ANN) - AUC(SNN)")
    drawn.tight_layout()
    drawn.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
    plt.close(drawn)


def table(rows: Sequence[dict[str, str]], steps_of: dict[str, list[Step]], level: float = 0.95) -> Iterator[str]:
    """Lines of markdown: each step with its interval, and the mean numbers of both families behind it."""
    yield (
        f"| data | step | AUC(ANN) - AUC(SNN), or its change [{100 * level:g} %] | AUC ANN, SNN | train acc. ANN, SNN "
        "| test acc. ANN, SNN | seeds |"
    )
    yield "|---|---|---|---|---|---|---|"
    for dataset, steps in steps_of.items():
        for name, e in steps:
            if name == INTERACTION:
                cells = ["" for _ in NUMBERS]
            else:
                cells = [means(rows, dataset, name, number) for number in NUMBERS]
            label = LABELS[name] if name in (RELEASED, CONTROLLED, INTERACTION) else f"{LABELS[name]} alone"
            effect = f"{e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"
            yield f"| {dataset} | {label} | {effect} | " + " | ".join(cells) + f" | {e.seeds} |"


def means(rows: Sequence[dict[str, str]], dataset: str, replaced: str, number: str) -> str:
    """The mean over seeds of a number, of the ANN and of the SNN."""
    by_family = [of(rows, dataset, family, replaced, number) for family in ("ann", "snn")]
    return ", ".join(f"{np.mean(list(by_seed.values())):.3f}" for by_seed in by_family)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of waterfall.svg and waterfall.md")
    parser.add_argument("--level", type=float, default=0.95)
    given = parser.parse_args(argv)
    try:
        rows = sheet.read(given.csv)
        steps_of = {name: waterfall(rows, name, given.level) for name in dict.fromkeys(row["dataset"] for row in rows)}
        if not steps_of:
            raise ValueError(f"{given.csv} has no rows. Run as_released.py first.")
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    given.out.mkdir(parents=True, exist_ok=True)
    figure(steps_of, given.out / "waterfall.svg")
    text = "\n".join(table(rows, steps_of, given.level))
    (given.out / "waterfall.md").write_text(f"{text}\n")
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
