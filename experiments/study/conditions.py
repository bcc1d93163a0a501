"""What the study trains: for each table the runs of PROTOCOL.md, as settings of one `Config` each."""

from typing import Any

DATASETS = ("breast_cancer", "iris", "wine", "digits", "location30")  # those that decide
SEEDS = tuple(range(8))
SEARCH = 1000  # the seed of every search, used for nothing else
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
AS_RELEASED = {"ann": 1e-4, "snn": 1e-3}  # learning rates of arXiv 2411.06613
SNAPSHOTS = (1, 2, 3, 5, 8, 12, 18, 27)
READOUTS = ("leaky_integrator", "membrane_last")
ATTACKS = ("loss", "lira", "lira_offline", "rmia")
OF_TIME = ("steps", "longer", "dropout")  # attacks on spiking networks


def merged(*parts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Nested settings, later ones over earlier ones."""
    sections = dict.fromkeys(name for part in parts for name in part)
    return {name: {k: v for part in parts for k, v in part.get(name, {}).items()} for name in sections}


def settings(dataset: str, family: str, **changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The training of PROTOCOL.md; intervals within a seed are not used, so few replicates are drawn."""
    return merged(
        {
            "data": {"name": dataset, "population": 0.15, "validation": 0.15},
            "splits": {"n_shadows": 64},
            "model": {"family": family, "hidden": (256,) if dataset == "location30" else (128,)},
            "attacks": {"names": (*ATTACKS, *(OF_TIME if family == "snn" else ()))},
            "metrics": {"replicates_auc": 20, "replicates_tpr": 20, "fprs": (0.01,)},
        },
        changes,
    )


def searched(dataset: str, family: str, readout: str) -> dict[str, dict[str, Any]]:
    """The search for the learning rate."""
    return settings(
        dataset,
        family,
        splits={"n_shadows": 16},
        model={"readout": readout},
        attacks={"names": ("loss",)},
        sweep={"seed": (SEARCH,), "lr": RATES},
    )


def curves(dataset: str, family: str, readout: str, lr: float) -> dict[str, dict[str, Any]]:
    """64 shadows x 8 seeds at every snapshot; the last one is the baseline."""
    return settings(
        dataset,
        family,
        model={"readout": readout},
        train={"lr": lr, "snapshot_epochs": SNAPSHOTS},
        sweep={"seed": SEEDS, "epoch": (*SNAPSHOTS, 0)},
    )


def kinds(datasets: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """(data set, family, readout) of the controlled comparison; an ANN has no readout of its own."""
    snn = [(dataset, "snn", readout) for dataset in datasets for readout in READOUTS]
    return [*((dataset, "ann", READOUTS[0]) for dataset in datasets), *snn]
