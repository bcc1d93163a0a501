"""What a table of the study would train, for --dry_run: nothing is trained or written."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.study import sheet
from jaxsnn_mia.report.console import as_text


def line(table: str, runs: Iterable[tuple[str, dict[str, Any]]], results: Path) -> dict[str, str]:
    """A line for one table: its runs, their trainings, models and epochs, and the hours of those runs that cost.csv
    knows. `runs` are names and settings. Raises ValueError where settings of a run make no sense."""
    from jaxsnn_mia import config
    from jaxsnn_mia.config import sweep

    count, trainings, models, epochs, names = 0, 0, 0, 0, set()
    for name, settings in runs:
        c = config.from_dict(settings)
        of_run = len({(v.data, v.splits, v.model, v.quantization, v.train) for v in sweep.variants(c).values()})
        count, trainings, names = count + 1, trainings + of_run, names | {name}
        models += of_run * c.splits.n_shadows
        epochs += of_run * c.splits.n_shadows * c.train.epochs
    costs = sheet.read(results / "cost.csv") if (results / "cost.csv").exists() else []
    known = [float(row["seconds"]) for row in costs if row["table"] == table and row["run"] in names]
    return {
        "table": table, "runs": f"{count}", "trainings": f"{trainings}", "models": f"{models:,}",
        "model-epochs": f"{epochs:,}", "runs on record": f"{len(known)}", "their hours": f"{sum(known) / 3600:.1f}",
    }  # fmt: skip


def show(lines: list[dict[str, str]]) -> None:
    print(as_text(lines))
