"""What each table of PROTOCOL_2.md trains: the settings of its runs, a folder for each."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from experiments.study import conditions
from experiments.study.conditions import READOUTS, SNAPSHOTS, merged

Settings = dict[str, dict[str, Any]]

EPOCHS = 40
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SEEDS = (0, 1, 2, 3)
SHADOWS = 32
ATTACKS = ("lira", "lira_offline", "rmia", "rmia_online", "rmia_gamma1", "rmia_t2", "watson", "loss")
# files of data_dir/tables; the other sets are sources of their own
TABLES_OF_PERSONS = ("credit_data", "attrition", "wa_churn", "mlc_churn", "cells", "lending_club")
FRONTIERS = ("iris", "wine", "breast_cancer", "digits", "location30", *TABLES_OF_PERSONS, "mnist10k")
CONFIRMATORY = ("credit_data", "wa_churn", "mlc_churn", "lending_club")  # never attacked before these rules
# E2: without the three largest
NARROWED = ("iris", "wine", "breast_cancer", "digits", "location30", "credit_data", "attrition", "cells", "mlc_churn")
WIDTHS = (8, 4, 3, 2)
# E3
CODED = ("breast_cancer", "digits", "credit_data", "cells")
ENCODINGS, STEPS, REPEATS = ("direct", "rate", "latency"), (1, 4, 10, 25), 32


# E4: spoken digits whose members are recordings, the same whose members are speakers, and utterances
TIMED = ("fsdd", "fsdd_speakers", "japanese_vowels")
SPOKEN = "fsdd:10"  # as events of ten steps
STEPS_OF = {"fsdd": 10, "fsdd_speakers": 10, "japanese_vowels": 29}
NETWORKS: dict[str, dict[str, str]] = {
    "recurrent": {"family": "ann", "architecture": "recurrent"},
    "gru": {"family": "ann", "architecture": "gru"},
    "lif": {"family": "snn", "architecture": "recurrent", "neuron": "lif"},
    "adaptive": {"family": "snn", "architecture": "recurrent", "neuron": "adaptive"},
    "synaptic": {"family": "snn", "architecture": "recurrent", "neuron": "synaptic"},
}


class Run(NamedTuple):
    """One run of a table: the folder's name, the data set's short name, settings, the network's name in E4."""

    name: str
    dataset: str
    settings: Settings
    network: str = ""


def source(dataset: str, data_dir: str) -> str:
    """The data source of a short name."""
    if dataset in TABLES_OF_PERSONS:
        return f"npz:{data_dir}/tables/{dataset}.npz"
    return SPOKEN if dataset.startswith("fsdd") else dataset


def trained(dataset: str, family: str, data_dir: str, **changes: dict[str, Any]) -> Settings:
    """One condition at every rate, seed and snapshot."""
    common = conditions.settings(
        dataset,
        family,
        data={"name": source(dataset, data_dir)},
        splits={"n_shadows": SHADOWS},
        train={"epochs": EPOCHS, "snapshot_epochs": SNAPSHOTS},
        attacks={"names": ATTACKS},
        metrics={"fprs": (0.01, 0.001)},
        sweep={"seed": SEEDS, "lr": RATES, "epoch": (*SNAPSHOTS, 0)},
    )
    return merged(common, changes)


def frontiers(datasets: tuple[str, ...], data_dir: str) -> Iterator[Run]:
    """E1: both families, the spiking one with both readouts."""
    for one in datasets:
        for dataset, family, readout in conditions.kinds((one,)):
            settings = trained(dataset, family, data_dir, model={"readout": readout})
            yield Run(f"{dataset}-{family}-{readout}", dataset, settings)


def bits(datasets: tuple[str, ...], data_dir: str) -> Iterator[Run]:
    """E2: weights and activations of few bits, by training and after it at each snapshot."""
    for dataset in datasets:
        for family in ("ann", "snn"):
            for mode in ("qat", "ptq"):
                settings = trained(
                    dataset,
                    family,
                    data_dir,
                    model={"readout": READOUTS[0]},
                    quantization={"what": "both", "mode": mode},
                    sweep={"bits": WIDTHS},
                )
                yield Run(f"{dataset}-{family}-{mode}", dataset, settings)


def coding(datasets: tuple[str, ...], data_dir: str) -> Iterator[Run]:
    """E3: inputs in [0, 1] as they are, as random spikes and as first spikes; answers that are random are asked 32
    times."""
    for dataset in datasets:
        for family in ("ann", "snn"):
            for encoding in ENCODINGS:
                for steps in STEPS:
                    if encoding == "direct" and family == "ann" and steps > 1:  # the same at every step
                        continue
                    settings = trained(
                        dataset,
                        family,
                        data_dir,
                        data={"standardise": "range"},
                        model={"readout": READOUTS[0], "encoding": encoding, "time_steps": steps},
                        signals={"repeats": REPEATS if encoding == "rate" else 1},
                    )
                    yield Run(f"{dataset}-{family}-{encoding}-T{steps}", dataset, settings)


def time(datasets: tuple[str, ...], data_dir: str) -> Iterator[Run]:
    """E4: networks that are fed back, on speech. Of six speakers one is population, one decides on rates, four are
    candidates."""
    for dataset in datasets:
        speakers = dataset == "fsdd_speakers"
        parts = {"data": {"population": 0.17, "validation": 0.17}, "splits": {"unit": "group"}} if speakers else {}
        for name, network in NETWORKS.items():
            settings = trained(dataset, network["family"], data_dir, **parts)
            model = {**network, "hidden": (64,), "time_steps": STEPS_OF[dataset], "readout": READOUTS[0]}
            yield Run(f"{dataset}-{name}", dataset, merged(settings, {"model": model}), name)


TABLES = {
    "frontiers": (frontiers, FRONTIERS), "bits": (bits, NARROWED), "coding": (coding, CODED), "time": (time, TIMED),
}  # fmt: skip


def smoke(settings: Settings) -> Settings:
    """Two seeds, rates and snapshots, small networks, few epochs and attacks."""
    sweep = {name: values[:2] for name, values in settings["sweep"].items()} | {"epoch": (1, 0)}
    steps = settings["model"].get("time_steps", 2)
    recorded = settings["data"]["name"] in (SPOKEN, "japanese_vowels")  # these have their steps
    few: Settings = {
        "splits": {"n_shadows": 12},
        "model": {"hidden": (8,), "time_steps": steps if recorded else min(steps, 2)},
        "train": {"epochs": 3, "snapshot_epochs": (1,)},
        "attacks": {"names": ("lira", "rmia", "loss")},
        "signals": {"repeats": min(settings.get("signals", {}).get("repeats", 1), 2)},
        "sweep": sweep,
    }
    return merged(settings, few)


SCALES = {"default": lambda settings: settings, "smoke": smoke}
