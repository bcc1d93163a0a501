"""What the study trains: for each table the runs of PROTOCOL.md, as settings of one `Config` each."""

from typing import Any

from jaxsnn_mia.kernels import surrogate
from jaxsnn_mia.models import by_name

DATASETS = ("breast_cancer", "iris", "wine", "digits", "location30")  # those that decide
CLASSES = {"breast_cancer": 2, "iris": 3, "wine": 3, "digits": 10, "location30": 30, "mnist10k": 10}
SEEDS = tuple(range(8))
SEARCH = 1000  # the seed of every search, used for nothing else
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
AS_RELEASED = {"ann": 1e-4, "snn": 1e-3}  # learning rates of arXiv 2411.06613
SNAPSHOTS = (1, 2, 3, 5, 8, 12, 18, 27)
READOUTS = ("leaky_integrator", "membrane_last")
WIDTHS = (32, 16, 8, 4, 2)
SMALL = ("iris", "wine")  # populations of some 25 rows, too few for a regression of quantiles
DECIDING = (8, 4)  # bits of claims a and b
OF_LOCATION = (32, *DECIDING)  # what runs there
# as snnTorch computes spike rate escape, and corrected; the rest of the paper's five, and three more
SURROGATES = (
    "arctan", "fast_sigmoid", "spike_rate_escape_snntorch", "spike_rate_escape", "stochastic_spike", "sigmoid",
    "triangular", "straight_through",
)  # fmt: skip
# of which claims c and d are about the paper's five; spike rate escape in either form
FIVE = ("arctan", "fast_sigmoid", "stochastic_spike", "sigmoid")
SLOPES = (0.25, 0.5, 1.0, 2.0, 4.0)  # times a surrogate's default
SEARCHED_ON = ("digits", "breast_cancer")
STEPS = (1, 4, 10, 25)
DESCRIBED = ("mnist10k",)  # with one seed, decides nothing
IMAGES = ("cifar10_jpeg",)  # of the full scale, with convolutions
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
            "model": {
                "family": family,
                "architecture": "convnet" if dataset in IMAGES else "dense",
                "hidden": (256,) if dataset == "location30" else (128,),
            },
            "attacks": {"names": (*ATTACKS, *OF_TIME) if family == "snn" else ATTACKS},
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
    """64 shadows x 8 seeds at the last epoch and at every snapshot; one attack is enough for the snapshots."""
    return settings(
        dataset,
        family,
        model={"readout": readout},
        train={"lr": lr, "snapshot_epochs": SNAPSHOTS},
        attacks={"names": ("lira",)},
        sweep={"seed": SEEDS, "epoch": (0, *SNAPSHOTS)},
    )


def end_of(curves: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same models at their last epoch alone, under all attacks: the baseline."""
    family = curves["model"]["family"]
    return merged(curves, {"attacks": settings("", family)["attacks"], "sweep": {"epoch": (0,)}})


def quantized(dataset: str, family: str, lr: float, mode: str) -> dict[str, dict[str, Any]]:
    """Every width of weights, activations, both and, in an SNN, membranes. Float runs once, with the widths of
    training. On Location-30 only what decides runs."""
    what = ("both", "weight", "activation")
    if family == "snn":
        what = (*what, "state")
    narrow = quantized_both(dataset, family, READOUTS[0], lr)
    if dataset == "location30":
        return merged(narrow, {"quantization": {"mode": mode}})
    widths = WIDTHS if mode == "qat" else WIDTHS[1:]
    return merged(
        narrow, {"quantization": {"mode": mode, "what": "weight"}, "sweep": {"bits": widths, "quantize": what}}
    )


def quantized_both(dataset: str, family: str, readout: str, lr: float) -> dict[str, dict[str, Any]]:
    """Weights and activations of 8 and 4 bits, and float: what claims a and b are about."""
    return settings(
        dataset,
        family,
        model={"readout": readout},
        train={"lr": lr},
        quantization={"what": "both"},
        attacks={"names": ATTACKS},
        sweep={"seed": SEEDS, "bits": OF_LOCATION},
    )


def curves_quantized(dataset: str, lr: float) -> dict[str, dict[str, Any]]:
    """An ANN whose weights and activations have 8 or 4 bits, at every snapshot."""
    return merged(
        curves(dataset, "ann", READOUTS[0], lr),
        {"quantization": {"what": "both"}, "sweep": {"bits": DECIDING}},
    )


def surrogate_searched(dataset: str, name: str) -> dict[str, dict[str, Any]]:
    """The search for the slope and the learning rate of a surrogate, one ensemble."""
    slopes = tuple(times * surrogate.default_slope(by_name.surrogate(name)) for times in SLOPES)
    return merged(
        searched(dataset, "snn", READOUTS[0]),
        {"model": {"surrogate": name}, "sweep": {"slope": slopes}},
    )


def surrogate_judged(dataset: str, name: str, slope: float, lr: float, **model: Any) -> dict[str, dict[str, Any]]:
    """A surrogate at one setting; a slope of 0 is its default."""
    return settings(
        dataset,
        "snn",
        model={"readout": READOUTS[0], "surrogate": name, "slope": slope, **model},
        train={"lr": lr},
        attacks={"names": ATTACKS},
        sweep={"seed": SEEDS[:1] if dataset in DESCRIBED else SEEDS},
    )


def attacked(dataset: str, family: str, lr: float, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """One seed under many attacks."""
    return settings(
        dataset,
        family,
        model={"readout": READOUTS[0]},
        train={"lr": lr, "snapshot_epochs": (5, 10, 20, 30)},
        attacks={"names": names},
        sweep={"seed": SEEDS[:1]},
    )


def ablated(dataset: str, family: str, lr: float) -> dict[str, dict[str, Any]]:
    """Coding x T, and for spiking networks x reset x readout, on inputs in [0, 1]."""
    spiking = {"readout": READOUTS, "reset": ("subtract", "zero")} if family == "snn" else {}
    return settings(
        dataset,
        family,
        data={"standardise": "range"},
        splits={"n_shadows": 16},
        train={"lr": lr},
        attacks={"names": ATTACKS},
        sweep={"seed": SEEDS, "encoding": ("direct", "rate", "latency"), "time_steps": STEPS, **spiking},
    )


def kinds(datasets: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """(data set, family, readout) of the controlled comparison; an ANN has no readout of its own."""
    snn = [(dataset, "snn", readout) for dataset in datasets for readout in READOUTS]
    return [*((dataset, "ann", READOUTS[0]) for dataset in datasets), *snn]


def network(dataset: str, family: str, readout: str) -> dict[str, str]:
    """The columns that name a network in the rows of results; an ANN has no readout there."""
    return {"dataset": dataset, "family": family, "readout": readout if family != "ann" else ""}


def full(settings: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Four times the shadows, for accelerators."""
    return merged(settings, {"splits": {"n_shadows": 4 * settings["splits"]["n_shadows"]}})


def smoke(settings: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Two seeds, epochs and widths, one value of all else that varies, few attacks, small networks, few epochs. Tables
    then share their programs, which take longer to compile than to run."""
    twice = ("seed", "epoch", "bits")
    sweep = {name: values[: 2 if name in twice else 1] for name, values in settings["sweep"].items()}
    few: dict[str, dict[str, Any]] = {
        "splits": {"n_shadows": 12},
        "model": {"hidden": (8,)},
        "train": {"epochs": 3},
        "attacks": {"names": settings["attacks"]["names"][:4]},
        "sweep": sweep,
    }
    if "time_steps" not in sweep:
        few["model"]["time_steps"] = STEPS[0]
    if "snapshot_epochs" in settings.get("train", {}):
        few["train"]["snapshot_epochs"] = (1,)
    return merged(settings, few)


SCALES = {"default": lambda settings: settings, "full": full, "smoke": smoke}
