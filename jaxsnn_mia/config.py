"""The settings of a run: frozen dataclasses with defaults, checked before anything is trained.

`sweep` holds a tuple for each setting that varies; every combination is one variant. Nothing below this module
sees a ConfigDict.
"""

import dataclasses
import difflib
import itertools
import typing
from collections.abc import Mapping
from typing import Any

from jaxsnn_mia import accounting, attacks, data, models, signals, splits, store, train
from jaxsnn_mia.defences import MOST_DIGITS, UNDEFENDED, Defence
from jaxsnn_mia.kernels import neuron, quantize, surrogate

DUPLICATES = ("share", "drop")
WIDTHS = ("default", "auto")


@dataclasses.dataclass(frozen=True)
class Data:
    name: str = "digits"
    dir: str = ""  # folder of the files of location30; JAXSNN_MIA_DATA where empty
    # by the population slice; "range": to [0, 1] by its range; "per_shadow": by a model's own training rows; "none"
    standardise: str = "dataset"
    population: float = 0.15  # share of the rows for standardisation and RMIA
    validation: float = 0.0  # share of the rows for choices such as the learning rate
    # of images in training: "flip", "crop_flip" (padded by 4, cut at random, mirrored), "crop_flip_cutout"
    augment: str = "none"
    rows: int = 0  # at most so many examples, drawn at random; 0: all
    duplicates: str = "share"  # exact duplicates share one keep column, or are dropped but for the first


@dataclasses.dataclass(frozen=True)
class Splits:
    n_shadows: int = 64
    scheme: str = "pairs"
    rows: str = "exact"
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Model:
    family: str = "snn"  # "ann"; "hybrid": convolutions with ReLU, dense layers that spike
    architecture: str = "dense"  # "recurrent"; for images "convnet", "vgg11", "vgg16", "resnet8", "resnet18"
    hidden: tuple[int, ...] = (128,)  # dense layers before the last
    time_steps: int = 10
    encoding: str = "direct"  # "rate", "latency": spikes of inputs in [0, 1]; the ANN then runs at every step too
    norm: str = "group"  # of VGG and residual nets; "tdbn": threshold-dependent batch norm
    beta: float = 0.95
    threshold: float = 1.0
    reset: str = "subtract"
    readout: str = "membrane_last"
    surrogate: str = "arctan"
    slope: float = 0.0  # first parameter of the surrogate; 0: its default


@dataclasses.dataclass(frozen=True)
class Quantization:
    """Widths are traced: a sweep over them is one compiled program. The rest is `models.QuantSpec`."""

    bits: int | None = 32  # in [2, 16]; 32 or None: float
    bits_activation: int | None = 0  # of activations and synaptic currents; 0: as `bits`
    bits_state: int | None = 0  # of membranes; 0: as `bits`
    what: str = "weight"  # "weight", "activation", "both", "state" (membranes that spike), "all"
    mode: str = "qat"  # quantization-aware training; "ptq": train in float, calibrate on the own rows, then quantize
    warmup_epochs: int = 0  # float epochs before the quantization of "qat" sets in
    preset: str = "default"  # of weights: a scale per output channel; "brevitas": one per tensor, differentiated
    edges: str = "all"  # "keep8": the first and the last layer have at least 8 bits
    calibration: str = "absmax"  # of activations; "percentile"; "lsq", a learned step size
    percentile: float = 99.999
    decay: float = 0.99  # of the running range, per step
    levels: str = "uniform"  # of membranes; "keep_zero", "exponential" (around the threshold), "exponential_zero"
    lower: float = 0.0  # membranes lie between -threshold (1 + lower)
    upper: float = 0.2  # and threshold (1 + upper)


@dataclasses.dataclass(frozen=True)
class Train:
    optimizer: str = "adam"
    lr: float = 1e-3
    schedule: str = "constant"
    momentum: float = 0.9
    epochs: int = 40
    batch_size: int = 64
    weight_decay: float = 0.0
    smoothing: float = 0.0
    mixup: float = 0.0  # examples are mixed with others of their batch, by Beta(mixup, mixup); 0: not at all
    dropout: float = 0.0  # of hidden units; the same ones at every time step
    dp_clip: float = 0.0  # gradients of single examples are clipped at this norm; 0: not at all
    dp_noise: float = 0.0  # noise on their sum, in units of dp_clip; batches are then Poisson samples (DP-SGD)
    dp_epsilon: float = 0.0  # instead of dp_noise, which is solved for it
    dp_delta: float = 1e-5  # at which epsilon is reported
    precision: str = "float32"  # of products: "tf32" (accelerators), "bfloat16"; parameters and membranes are float32
    seed: int = 0
    stop_at_train_accuracy: float = 0.0  # a model whose epoch reaches it trains no further; 0: all epochs
    stop_at_gap: float = 0.0  # the same for its accuracy less that on the validation rows
    snapshot_epochs: tuple[int, ...] = ()  # checkpoints that are kept


@dataclasses.dataclass(frozen=True)
class Ensemble:
    # models per vmap on a device; "auto": what a short probe finds the fastest; "default": 1 on a CPU, else as "auto"
    width: int | str = "default"
    group_size: int = 64  # most shadows trained and checkpointed together; fewer where they do not fit in memory
    chunk_seconds: float = 2.0  # least time between checkpoints
    checkpoint_share: float = 0.03  # chunks are longer where checkpoints would take more of the time; 0: never
    asynchronous: bool = False  # write a checkpoint while the next chunk trains: a kill may then cost two chunks
    devices: int = 0  # devices used; 0: all


@dataclasses.dataclass(frozen=True)
class Signals:
    names: tuple[str, ...] = ("phi", "logp", "loss", "correct")
    queries: int = 1  # of each image: 2 with its mirror image, 18 with both at nine shifts


@dataclasses.dataclass(frozen=True)
class Attacks:
    names: tuple[str, ...] = ("loss", "lira", "lira_offline", "rmia")


@dataclasses.dataclass(frozen=True)
class Metrics:
    fprs: tuple[float, ...] = (0.01, 0.001)
    priors: tuple[float, ...] = (0.5, 0.1, 0.01)  # shares of members, of the PPV at each rate
    level: float = 0.95
    delta: float = 1e-5  # of the lower bound of epsilon, where splits.rows is "iid"
    replicates_auc: int = 1000
    replicates_tpr: int = 200
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Report:
    title: str = "Membership-inference audit"


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Each field varies the setting of `SWEPT`; an empty tuple leaves it alone."""

    dataset: tuple[str, ...] = ()
    family: tuple[str, ...] = ()
    architecture: tuple[str, ...] = ()
    bits: tuple[int, ...] = ()
    quantize: tuple[str, ...] = ()
    readout: tuple[str, ...] = ()
    encoding: tuple[str, ...] = ()
    time_steps: tuple[int, ...] = ()
    lr: tuple[float, ...] = ()
    weight_decay: tuple[float, ...] = ()
    smoothing: tuple[float, ...] = ()
    mixup: tuple[float, ...] = ()
    dropout: tuple[float, ...] = ()
    dp_noise: tuple[float, ...] = ()
    dp_epsilon: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()
    threshold: tuple[float, ...] = ()
    surrogate: tuple[str, ...] = ()
    slope: tuple[float, ...] = ()
    temperature: tuple[float, ...] = ()
    top_k: tuple[int, ...] = ()
    round_digits: tuple[int, ...] = ()


SWEPT = {
    "dataset": ("data", "name"),
    "family": ("model", "family"),
    "architecture": ("model", "architecture"),
    "bits": ("quantization", "bits"),
    "quantize": ("quantization", "what"),
    "readout": ("model", "readout"),
    "encoding": ("model", "encoding"),
    "time_steps": ("model", "time_steps"),
    "lr": ("train", "lr"),
    "weight_decay": ("train", "weight_decay"),
    "smoothing": ("train", "smoothing"),
    "mixup": ("train", "mixup"),
    "dropout": ("train", "dropout"),
    "dp_noise": ("train", "dp_noise"),
    "dp_epsilon": ("train", "dp_epsilon"),
    "beta": ("model", "beta"),
    "threshold": ("model", "threshold"),
    "surrogate": ("model", "surrogate"),
    "slope": ("model", "slope"),
    "temperature": ("defence", "temperature"),
    "top_k": ("defence", "top_k"),
    "round_digits": ("defence", "round_digits"),
}


@dataclasses.dataclass(frozen=True)
class Config:
    data: Data = Data()
    splits: Splits = Splits()
    model: Model = Model()
    quantization: Quantization = Quantization()
    train: Train = Train()
    ensemble: Ensemble = Ensemble()
    defence: Defence = UNDEFENDED  # of what a query gives back, see `defences.Defence`
    signals: Signals = Signals()
    attacks: Attacks = Attacks()
    metrics: Metrics = Metrics()
    report: Report = Report()
    sweep: Sweep = Sweep()


# changes in these sections add or redo stages in the same workdir; in any other they need a new one
FOLLOWING = ("ensemble", "defence", "signals", "attacks", "metrics", "report", "data.dir")


def smoke(settings: Any, mode: str, **changes: Any) -> Any:
    """A config file's ConfigDict as it is or, as `--config=FILE:smoke` asks, made small: 6 shadows, few replicates, and
    `changes`, in which `data__rows=600` stands for `data.rows`."""
    if mode not in ("", "smoke"):
        raise ValueError(f"what follows the config file must be ':smoke' or nothing, got {mode!r}.")
    if mode == "smoke":
        small = {"splits__n_shadows": 6, "metrics__replicates_auc": 50, "metrics__replicates_tpr": 20, **changes}
        settings.update_from_flattened_dict({name.replace("__", "."): value for name, value in small.items()})
    return settings


def as_dict(config: Any) -> dict:
    """Nested plain dict of a config or a section."""
    return dataclasses.asdict(config)


def from_dict(values: Mapping[str, Any]) -> Config:
    """A checked Config from nested mappings, such as a ConfigDict.

    Raises ValueError for an unknown name (with the nearest known one), a value of the wrong type, or one out of
    range.
    """
    return check(section(Config, values, ""))


def section(kind: type, values: Mapping[str, Any], prefix: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for name in values:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            hint = f'did you mean "{prefix}{near[0]}"?' if near else f"known: {', '.join(fields)}."
            raise ValueError(f'unknown setting "{prefix}{name}"; {hint}')
    return kind(**{name: cast(hints[name], value, prefix + name) for name, value in values.items()})


def cast(hint: Any, value: Any, name: str) -> Any:
    """`value` as the type of a field; lists and lone values become tuples where a tuple is wanted."""
    if dataclasses.is_dataclass(hint):
        return section(typing.cast(type, hint), value, f"{name}.")
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        values = value if isinstance(value, (tuple, list)) else (value,)
        return tuple(cast(inner, v, name) for v in values)
    if hint is float and type(value) is int:
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        wanted = getattr(hint, "__name__", str(hint))
        raise ValueError(f"`{name}` must be of type {wanted}, got {value!r}.")
    return value


def require(ok: bool, name: str, expected: str, value: Any, remedy: str = "") -> None:
    if not ok:
        raise ValueError(f"`{name}` must be {expected}, got {value!r}. {remedy}".rstrip())


def one_of(known: Any, name: str, value: str) -> None:
    near = difflib.get_close_matches(value, list(known), 1)
    require(value in known, name, f"one of {sorted(known)}", value, f'Did you mean "{near[0]}"?' if near else "")


def check(config: Config) -> Config:
    """The config, every variant of it checked; ValueError names the setting, what was expected and what came."""
    combinations = variants(config)
    require(
        len(combinations) > 0,
        "sweep.quantize",
        f"more than 'state' for families without membranes {models.STATELESS}",
        config.sweep.quantize,
    )
    for variant in combinations.values():
        check_one(variant)
    for axis, (part, field) in SWEPT.items():
        values, alone = getattr(config.sweep, axis), getattr(getattr(config, part), field)
        require(
            not values or alone == getattr(getattr(Config(), part), field),
            f"{part}.{field}",
            f"left alone, since sweep.{axis}={values} varies it",
            alone,
            f"Pass --config.sweep.{axis} instead.",
        )
        require(len(set(values)) == len(values), f"sweep.{axis}", "free of repeated values", values)
    return config


def check_one(c: Config) -> None:
    data.check_name(c.data.name)
    one_of(train.STANDARDISE, "data.standardise", c.data.standardise)
    one_of(DUPLICATES, "data.duplicates", c.data.duplicates)
    require(c.data.rows >= 0, "data.rows", "at least 0", c.data.rows)
    for name in ("population", "validation"):
        share = getattr(c.data, name)
        require(0 <= share <= 0.5, f"data.{name}", "a share in [0, 0.5]", share)
    require(
        c.data.population + c.data.validation <= 0.8,
        "data.population + data.validation",
        "at most 0.8",
        c.data.population + c.data.validation,
    )
    needs = {name: attacks.ATTACKS[name].needs for name in c.attacks.names if name in attacks.ATTACKS}
    uses_population = [name for name, all_of in needs.items() if any(n.endswith("_population") for n in all_of)]
    public = [f"data.standardise={c.data.standardise}"] if c.data.standardise in ("dataset", "range") else []
    wants = [*uses_population, *public]
    require(
        c.data.population > 0 or not wants,
        "data.population",
        f"above 0 for {', '.join(wants)}",
        c.data.population,
    )
    s = c.splits.n_shadows
    require(s >= 6 and s % 2 == 0, "splits.n_shadows", "even and at least 6", s, "Shadows come in pairs.")
    one_of(("pairs",), "splits.scheme", c.splits.scheme)
    one_of(splits.ROWS, "splits.rows", c.splits.rows)

    one_of(models.FAMILIES, "model.family", c.model.family)
    one_of(models.MODELS, "model.architecture", c.model.architecture)
    there = sorted(models.MODELS[c.model.architecture])
    require(c.model.family in there, "model.family", f"one of {there} for {c.model.architecture}", c.model.family)
    one_of(train.AUGMENTATIONS, "data.augment", c.data.augment)
    one_of(models.READOUTS, "model.readout", c.model.readout)
    one_of(models.ENCODINGS, "model.encoding", c.model.encoding)
    one_of(models.NORMS, "model.norm", c.model.norm)
    normalised = c.model.architecture in models.NORMALISED
    require(c.model.norm == "group" or normalised, "model.norm", f"'group' for {c.model.architecture}", c.model.norm)
    require(
        c.model.norm == "group" or c.quantization.mode != "ptq",
        "model.norm",
        "'group' for quantization.mode=ptq",
        c.model.norm,
        "Calibration would take the moments of the batch norm for ranges.",
    )
    require(
        c.model.encoding == "direct" or c.data.standardise in ("range", "none"),
        "data.standardise",
        f"'range' (or 'none', for inputs in [0, 1]) for model.encoding={c.model.encoding}",
        c.data.standardise,
    )
    one_of(neuron.RESETS, "model.reset", c.model.reset)
    one_of(surrogate.SURROGATES, "model.surrogate", c.model.surrogate)
    require(all(h >= 1 for h in c.model.hidden), "model.hidden", "layer sizes of at least 1", c.model.hidden)
    require(1 <= c.model.time_steps <= 1000, "model.time_steps", "in [1, 1000]", c.model.time_steps)
    require(0 <= c.model.beta <= 1, "model.beta", "in [0, 1]", c.model.beta)
    require(c.model.threshold > 0, "model.threshold", "above 0", c.model.threshold)
    require(c.model.slope >= 0, "model.slope", "at least 0", c.model.slope, "0 takes the surrogate's default.")

    check_quantization(c)
    one_of(train.OPTIMIZERS, "train.optimizer", c.train.optimizer)
    one_of(train.SCHEDULES, "train.schedule", c.train.schedule)
    require(c.train.lr > 0, "train.lr", "above 0", c.train.lr)
    require(0 <= c.train.momentum < 1, "train.momentum", "in [0, 1)", c.train.momentum)
    require(1 <= c.train.epochs <= 100_000, "train.epochs", "in [1, 100000]", c.train.epochs)
    require(c.train.batch_size >= 1, "train.batch_size", "at least 1", c.train.batch_size)
    require(c.train.weight_decay >= 0, "train.weight_decay", "at least 0", c.train.weight_decay)
    require(0 <= c.train.smoothing < 1, "train.smoothing", "in [0, 1)", c.train.smoothing)
    require(0 <= c.train.dropout < 1, "train.dropout", "in [0, 1)", c.train.dropout)
    one_of(train.PRECISIONS, "train.precision", c.train.precision)
    inner = "activation" in models.QUANTIZED[c.quantization.what]
    require(
        c.train.precision != "bfloat16" or not inner,
        "train.precision",
        f"'float32' or 'tf32' for quantization.what={c.quantization.what}",
        c.train.precision,
        "bfloat16 cannot hold the grid of quantized activations.",
    )
    check_privacy(c)
    check_defence(c)
    stops = {name: getattr(c.train, name) for name in ("stop_at_train_accuracy", "stop_at_gap")}
    for name, value in stops.items():
        require(0 <= value <= 1, f"train.{name}", "in [0, 1], 0 for never", value)
    require(not all(stops.values()), "train.stop_at_gap", "0 where stop_at_train_accuracy is set", c.train.stop_at_gap)
    require(
        c.data.validation > 0 or not c.train.stop_at_gap,
        "data.validation",
        "above 0 for train.stop_at_gap",
        c.data.validation,
    )
    for epoch in c.train.snapshot_epochs:
        require(1 <= epoch <= c.train.epochs, "train.snapshot_epochs", f"in [1, {c.train.epochs}]", epoch)

    width = str(c.ensemble.width)
    require(
        width in WIDTHS or (width.isdecimal() and int(width) > 0),
        "ensemble.width",
        f"one of {WIDTHS} or a number of at least 1",
        c.ensemble.width,
    )
    require(c.ensemble.group_size >= 2, "ensemble.group_size", "at least 2", c.ensemble.group_size)
    require(0 < c.ensemble.chunk_seconds < 1e6, "ensemble.chunk_seconds", "in (0, 1e6)", c.ensemble.chunk_seconds)
    share = c.ensemble.checkpoint_share
    require(0 <= share <= 1, "ensemble.checkpoint_share", "in [0, 1], 0 for no limit", share)
    require(c.ensemble.devices >= 0, "ensemble.devices", "at least 0", c.ensemble.devices)
    signals.names(c.signals.names)
    require(c.signals.queries in signals.QUERIES, "signals.queries", f"one of {signals.QUERIES}", c.signals.queries)
    require(len(c.attacks.names) > 0, "attacks.names", f"one or more of {sorted(attacks.ATTACKS)}", c.attacks.names)
    for name in c.attacks.names:
        one_of(attacks.ATTACKS, "attacks.names", name)
    wanted = signals.names((*c.signals.names, *attacks.signals_of(c.attacks.names)))
    require(
        bool(c.train.snapshot_epochs) or "trajectory" not in wanted,
        "train.snapshot_epochs",
        "one or more epochs for the trajectory",
        c.train.snapshot_epochs,
    )
    require(
        "combine" not in c.attacks.names or len(set(c.attacks.names)) > 2,
        "attacks.names",
        "two or more attacks beside 'combine'",
        c.attacks.names,
    )
    for part in (c.splits, c.train, c.metrics):
        require(0 <= part.seed < 2**32, f"{type(part).__name__.lower()}.seed", "in [0, 2^32)", part.seed)
    require(len(c.metrics.fprs) > 0, "metrics.fprs", "one or more rates", c.metrics.fprs)
    for fpr in c.metrics.fprs:
        require(0 < fpr < 1, "metrics.fprs", "in (0, 1)", fpr)
    for prior in c.metrics.priors:
        require(0 < prior < 1, "metrics.priors", "in (0, 1)", prior)
    require(0 <= c.metrics.delta < 1, "metrics.delta", "in [0, 1)", c.metrics.delta)
    require(0 < c.metrics.level < 1, "metrics.level", "in (0, 1)", c.metrics.level)
    require(c.metrics.replicates_auc >= 20, "metrics.replicates_auc", "at least 20", c.metrics.replicates_auc)
    require(c.metrics.replicates_tpr >= 20, "metrics.replicates_tpr", "at least 20", c.metrics.replicates_tpr)


def check_privacy(c: Config) -> None:
    """What private training allows: nothing but noisy sums of clipped gradients may come from a model's own rows."""
    for name in ("dp_clip", "dp_noise", "dp_epsilon"):
        value = getattr(c.train, name)
        require(0 <= value < float("inf"), f"train.{name}", "finite and at least 0", value)
        remedy = "Without a bound on each gradient, noise protects nothing; set train.dp_clip."
        require(c.train.dp_clip > 0 or not value, f"train.{name}", "0 without train.dp_clip", value, remedy)
    require(
        c.train.dp_epsilon <= accounting.LARGEST,
        "train.dp_epsilon",
        f"at most {accounting.LARGEST:g}",
        c.train.dp_epsilon,
        "For weaker privacy set train.dp_noise.",
    )
    require(0 < c.train.dp_delta < 1, "train.dp_delta", "in (0, 1)", c.train.dp_delta)
    if not c.train.dp_clip:
        return
    require(
        not c.train.dp_noise or not c.train.dp_epsilon,
        "train.dp_noise",
        "0 where train.dp_epsilon is set, which it is solved for",
        c.train.dp_noise,
    )
    stopping = "Use 0: it is decided by training rows."
    for name, value, public, remedy in (
        ("data.standardise", c.data.standardise, c.data.standardise != "per_shadow", "Use 'dataset', which is public."),
        (
            "quantization.what",
            c.quantization.what,
            "activation" not in models.QUANTIZED[c.quantization.what],
            "The ranges of activations are those of training rows; use 'weight' or 'state'.",
        ),
        ("model.norm", c.model.norm, c.model.norm != "tdbn", "Use 'group': tdbn mixes the rows of a batch."),
        ("train.mixup", c.train.mixup, not c.train.mixup, "Use 0: each gradient would be of two rows."),
        ("train.stop_at_train_accuracy", c.train.stop_at_train_accuracy, not c.train.stop_at_train_accuracy, stopping),
        ("train.stop_at_gap", c.train.stop_at_gap, not c.train.stop_at_gap, stopping),
    ):
        require(public, name, "something that no training row decides, with train.dp_clip", value, remedy)


def check_defence(c: Config) -> None:
    d = c.defence
    mixup = c.train.mixup
    require(0 <= mixup < float("inf"), "train.mixup", "finite and at least 0", mixup, "0 mixes nothing.")
    t = d.temperature
    require(1 <= t < float("inf"), "defence.temperature", "finite and at least 1", t, "Below, more would be told.")
    require(d.top_k >= 0, "defence.top_k", "at least 0", d.top_k, "0 shows all classes.")
    digits = d.round_digits
    require(0 <= digits <= MOST_DIGITS, "defence.round_digits", f"in [0, {MOST_DIGITS}]", digits, "0 rounds nothing.")


def check_quantization(c: Config) -> None:
    q = c.quantization
    for name in ("bits", "bits_activation", "bits_state"):
        if name == "bits" or getattr(q, name) != 0:
            quantize.check_bits(getattr(q, name), f"quantization.{name}")
    one_of(models.QUANTIZED, "quantization.what", q.what)
    one_of(("qat", "ptq"), "quantization.mode", q.mode)
    for name, known in models.QUANT_OPTIONS.items():
        one_of(known, f"quantization.{name}", getattr(q, name))
    require(
        q.what != "state" or c.model.family not in models.STATELESS,
        "quantization.what",
        f"'weight', 'activation', 'both' or 'all' for model.family={c.model.family}, which has no membranes",
        q.what,
    )
    require(
        0 <= q.warmup_epochs < c.train.epochs,
        "quantization.warmup_epochs",
        f"in [0, {c.train.epochs - 1}]",
        q.warmup_epochs,
        "Something must be trained with quantization; mode=ptq trains in float.",
    )
    require(
        q.mode == "qat" or (q.warmup_epochs == 0 and q.calibration != "lsq"),
        "quantization.mode",
        "'qat' for a warm-up or a learned step size",
        q.mode,
        "Both need training with quantization.",
    )
    require(0 < q.percentile <= 100, "quantization.percentile", "in (0, 100]", q.percentile)
    require(0 <= q.decay < 1, "quantization.decay", "in [0, 1)", q.decay)
    require(0 <= q.lower <= 10, "quantization.lower", "in [0, 10]", q.lower)
    require(0 < q.upper <= 10, "quantization.upper", "in (0, 10]", q.upper, "Below the threshold nothing fires.")
    for part, name in (("activation", "bits_activation"), ("state", "bits_state")):
        require(
            getattr(q, name) == 0 or part in models.QUANTIZED[q.what],
            f"quantization.{name}",
            f"0 where quantization.what={q.what}",
            getattr(q, name),
        )
    dense, spiking = c.model.architecture == "dense", c.model.family not in models.STATELESS
    nothing = dense and not c.model.hidden
    require(
        not nothing or q.what not in (("state",) if spiking else ("activation",)),
        "model.hidden",
        f"one or more layers for quantization.what={q.what}",
        c.model.hidden,
        "There is nothing else to quantize.",
    )
    require(
        q.edges != "keep8" or not dense or len(c.model.hidden) > 1,
        "quantization.edges",
        "'all' for dense networks of one hidden layer",
        q.edges,
        "The first and the last layer are all there is, so keep8 would leave every width at 8 bits.",
    )


def bits(c: Config) -> dict[str, int | None]:
    """The width of each part of a model; None for what is not quantized."""
    q = c.quantization
    own = {"weight": q.bits, "activation": q.bits_activation, "state": q.bits_state}
    chosen = {part: q.bits if width == 0 else width for part, width in own.items()}
    there = [part for part in models.QUANTIZED[q.what] if part != "state" or c.model.family not in models.STATELESS]
    return {part: quantize.check_bits(width) if part in there else None for part, width in chosen.items()}


def variants(config: Config) -> dict[str, Config]:
    """name -> config of every combination of the sweep, without a sweep of its own; one where nothing varies. A sweep
    over what is quantized leaves out the membranes of families that have none."""
    axes = [(axis, getattr(config.sweep, axis)) for axis in SWEPT if getattr(config.sweep, axis)]
    named = {}
    for values in itertools.product(*(values for _, values in axes)):
        settings = dict(zip((axis for axis, _ in axes), values, strict=True))
        sections = {name: getattr(config, name) for name in ("data", "model", "quantization", "train", "defence")}
        for axis, value in settings.items():
            part, field = SWEPT[axis]
            sections[part] = dataclasses.replace(sections[part], **{field: value})
        if settings.get("quantize") == "state" and sections["model"].family in models.STATELESS:
            continue
        variant = dataclasses.replace(config, sweep=Sweep(), **sections)
        named[variant_name(variant, settings)] = variant
    return named


def variant_name(variant: Config, settings: Mapping[str, Any]) -> str:
    """Data set and family, then what else the sweep varies: a folder name."""
    extra = [f"{axis}{value}" for axis, value in settings.items() if axis not in ("dataset", "family")]
    source, _, argument = variant.data.name.partition(":")
    if argument:
        plain = argument if argument.replace("_", "").isalnum() else store.digest(argument)[:6]
        source = f"{source}-{plain}"
    return "-".join([source, variant.model.family, *extra])
