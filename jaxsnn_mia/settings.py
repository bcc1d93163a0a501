"""The settings of a run: frozen dataclasses with defaults.

What a single setting may be stands with it, and `config.fields` checks it; rules of several settings are in
`config.checks`. `sweep` holds a tuple for each setting that varies; every combination is one variant.
"""

import dataclasses
from typing import Any, NamedTuple

from jaxsnn_mia.signals.defences import UNDEFENDED, Defence

SEEDS = 2**32


class Range(NamedTuple):
    """The numbers that a setting may be: between two bounds, each of them allowed (`least`, `most`) or not (`above`,
    `below`), and `also` one beside them. `note` and `remedy` are added to the error."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    even: bool = False
    finite: bool = False
    also: float | None = None
    note: str = ""
    remedy: str = ""


def number(default: Any, *, some: str = "", **limits: Any) -> Any:
    """A field that is a number of a `Range`, or a tuple of such. `some`: what the numbers are where at least one is
    needed."""
    return dataclasses.field(default=default, metadata={"range": Range(**limits), "some": some})


def choice(default: Any, *choices: str, some: bool = False) -> Any:
    """A field that is one of `choices`, or a tuple of such. A lone choice is the name of a list in `config.fields`.
    `some`: at least one is needed."""
    return dataclasses.field(default=default, metadata={"choices": choices, "some": some})


@dataclasses.dataclass(frozen=True)
class Data:
    name: str = "digits"
    # what the axes of npz: arrays mean; "auto" asks where a shape can be read in several ways
    layout: str = choice("auto", "layout.LAYOUTS")
    dir: str = ""  # folder of the files of those sources that need any; JAXSNN_MIA_DATA where empty
    # by the population slice; "range": to [0, 1] by its range; "per_shadow": by a model's own training rows
    standardise: str = choice("dataset", "dataset", "range", "per_shadow", "none")
    population: float = number(0.15, least=0, most=0.5)  # share of the rows for standardisation and RMIA
    validation: float = number(0.0, least=0, most=0.5)  # share of the rows for choices such as the learning rate
    # of images in training; a crop is cut at random from the image with a border of 4
    augment: str = choice("none", "none", "flip", "crop_flip", "crop_flip_cutout")
    rows: int = number(0, least=0)  # at most so many examples, drawn at random; 0: all
    # exact duplicates share one keep column, or are dropped but for the first
    duplicates: str = choice("share", "share", "drop")


@dataclasses.dataclass(frozen=True)
class Splits:
    n_shadows: int = number(64, least=6, most=100_000, even=True, remedy="Shadows come in pairs.")
    rows: str = choice("exact", "splits.ROWS")
    # what is a member or not: an example, or a group, such as all recordings of a person, where the data have groups; a
    # test split of the source is then not used, and accuracy is that on groups that a model did not see
    unit: str = choice("example", "example", "group")
    seed: int = number(0, least=0, below=SEEDS)
    # rows that are made to be remembered; all but these and the natural ones then train in every model. 0: none
    canaries: int = number(0, least=4, also=0)
    canary_kind: str = choice("mislabelled", "canaries.KINDS")  # what they are, see `data.canaries.plant`
    natural: int = number(0, least=4, also=0)  # rows as they are that are attacked beside them; 0: as many
    poison: int = number(0, least=0, most=1000)  # copies of each canary with a wrong label that train in every model

    @property
    def natural_rows(self) -> int:
        """The natural rows that are attacked beside canaries."""
        return self.natural or self.canaries


@dataclasses.dataclass(frozen=True)
class Model:
    family: str = choice("snn", "models.FAMILIES")  # "hybrid": convolutions with ReLU, dense layers that spike
    # "recurrent", "gru", "lstm"; for images "convnet", "vgg11", "vgg16", "resnet8", "resnet18"; or
    # "package.module:Class" of your own
    architecture: str = "dense"
    hidden: tuple[int, ...] = number((128,), least=1, most=1_000_000)  # dense layers before the last
    time_steps: int = number(10, least=1, most=1000)
    # "rate", "latency": spikes of inputs in [0, 1]; the ANN then runs at every step too
    encoding: str = choice("direct", "models.ENCODINGS")
    norm: str = choice("group", "models.NORMS")  # of VGG and residual nets; "tdbn": threshold-dependent batch norm
    neuron: str = choice("lif", "models.NEURONS")  # "if": without leak; "synaptic": current-based; "adaptive"
    beta: float = number(0.95, least=0, most=1)
    threshold: float = number(1.0, above=0)
    alpha: float = number(0.8, least=0, most=1)  # of "synaptic": decay of the synaptic current per step
    rho: float = number(0.97, least=0, most=1)  # of "adaptive": decay of the threshold's adaptation per step
    strength: float = number(1.0, least=0)  # of "adaptive": of the adaptation
    # "beta", "threshold": learned, one of each layer of neurons; they start at the values above
    learned: tuple[str, ...] = choice((), "models.LEARNED")
    reset: str = choice("subtract", "neuron.RESETS")
    readout: str = choice("membrane_last", "models.READOUTS")
    population: int = number(10, least=2, most=1000)  # of "population": output neurons of each class
    surrogate: str = "arctan"  # of surrogate.SURROGATES, or "package.module:function" of your own
    # first parameter of the surrogate
    slope: float = number(0.0, least=0, remedy="0 takes the surrogate's default.")


@dataclasses.dataclass(frozen=True)
class Quantization:
    """Bits are traced: a sweep over them is one compiled program. The rest is `models.QuantSpec`."""

    bits: int | None = 32  # in [2, 16]; 32 or None: float
    bits_activation: int | None = 0  # of activations and synaptic currents; 0: as `bits`
    bits_state: int | None = 0  # of membranes; 0: as `bits`
    # "both": weights and activations; "state": membranes that spike; "weight_state": weights and these
    what: str = choice("weight", "models.QUANTIZED")
    # quantization-aware training; "ptq": train in float, calibrate on the own rows, then quantize
    mode: str = choice("qat", "qat", "ptq")
    warmup_epochs: int = 0  # float epochs before the quantization of "qat" sets in
    # of weights: a scale per output channel; "brevitas": one per tensor, differentiated
    preset: str = choice("default", "default", "brevitas")
    edges: str = choice("all", "all", "keep8")  # "keep8": the first and the last layer have at least 8 bits
    # of activations: running max |x|, a running percentile of it, or "lsq", a learned step size
    calibration: str = choice("absmax", "absmax", "percentile", "lsq")
    percentile: float = number(99.999, above=0, most=100)
    decay: float = number(0.99, least=0, below=1)  # of the running range, per step
    # of membranes; "exponential": around the threshold
    levels: str = choice("uniform", "uniform", "keep_zero", "exponential", "exponential_zero")
    # membranes lie between -threshold (1 + lower) and threshold (1 + upper)
    lower: float = number(0.0, least=0, most=10)
    upper: float = number(0.2, above=0, most=10, remedy="Below the threshold nothing fires.")


@dataclasses.dataclass(frozen=True)
class Train:
    optimizer: str = choice("adam", "adam", "sgd")
    lr: float = number(1e-3, above=0)
    schedule: str = choice("constant", "constant", "cosine")
    momentum: float = number(0.9, least=0, below=1)  # of sgd
    epochs: int = number(40, least=1, most=100_000)
    batch_size: int = number(64, least=1, most=1_000_000_000)
    weight_decay: float = number(0.0, least=0)
    smoothing: float = number(0.0, least=0, below=1)  # of labels
    # examples are mixed with others of their batch, by Beta(mixup, mixup)
    mixup: float = number(0.0, least=0, finite=True, remedy="0 mixes nothing.")
    dropout: float = number(0.0, least=0, below=1)  # of hidden units; the same ones at every time step
    # gradients of single examples are clipped at this norm; 0: not at all
    dp_clip: float = number(0.0, least=0, finite=True)
    # noise on their sum, in units of dp_clip; batches are then Poisson samples (DP-SGD)
    dp_noise: float = number(0.0, least=0, finite=True)
    dp_epsilon: float = number(0.0, least=0, finite=True)  # instead of dp_noise, which is solved for it
    dp_delta: float = number(1e-5, above=0, below=1)  # at which epsilon is reported
    # of products; "tf32" on accelerators alone; parameters and membranes are float32
    precision: str = choice("float32", "training.PRECISIONS")
    seed: int = number(0, least=0, below=SEEDS)
    # a model whose epoch reaches it trains no further
    stop_at_train_accuracy: float = number(0.0, least=0, most=1, note="0 for never")
    # the same for its accuracy less that on the validation rows
    stop_at_gap: float = number(0.0, least=0, most=1, note="0 for never")
    snapshot_epochs: tuple[int, ...] = ()  # checkpoints that are kept


@dataclasses.dataclass(frozen=True)
class Ensemble:
    # models per vmap on a device; "auto": what a short probe finds the fastest; "default": 1 on a CPU, else as "auto"
    width: int | str = "default"
    # most shadows of a variant that are trained together and that a worker claims; fewer where memory does not suffice
    group_size: int = number(64, least=2)
    chunk_seconds: float = number(2.0, above=0, below=1_000_000)  # least time between checkpoints
    # chunks are longer where checkpoints would take more of the time
    checkpoint_share: float = number(0.03, least=0, most=1, note="0 for no limit")
    asynchronous: bool = False  # write a checkpoint while the next chunk trains: a kill may then cost two chunks
    devices: int = number(0, least=0)  # devices used; 0: all


@dataclasses.dataclass(frozen=True)
class Signals:
    names: tuple[str, ...] = ("phi", "logp", "loss", "correct")
    epoch: int = 0  # of the models that are queried, one of train.snapshot_epochs; 0: the last
    queries: int = choice(1, "views.QUERIES")  # of each image: 2 with its mirror image, 18 with both at nine shifts
    # of each query; attacks average over them. 0: 8 where answers are random, as with rate coding, else 1
    repeats: int = number(0, least=0, most=1000)


@dataclasses.dataclass(frozen=True)
class Attacks:
    # or "package.module:function" of your own, whose positional parameters are what it needs, see `attacks.named`
    names: tuple[str, ...] = choice(("loss", "lira", "lira_offline", "rmia"), "attacks.ATTACKS", some=True)


@dataclasses.dataclass(frozen=True)
class Inversion:
    """Threats beyond membership: reconstructions of inputs. In units in which the population spans [0, 1]."""

    # of a class or an example by the gradient: "white_class", "white_example"; "spikes", over the spike train of a
    # spiking network; "black": a decoder of confidences; "gradients" of a client's batch, by
    # search; "gradients_layer", by a search through a first dense layer alone; "gradients_ratio", exactly, of a batch
    # of one at such a layer
    names: tuple[str, ...] = choice(
        (), "white_class", "white_example", "spikes", "black", "gradients", "gradients_layer", "gradients_ratio"
    )
    shadows: int = number(16, least=0, even=True)  # models that are attacked, whole pairs; 0: all
    targets: int = number(32, least=2)  # candidates that are reconstructed, each from every one of them
    restarts: int = number(4, least=1)
    steps: int = number(300, least=1)
    lr: float = number(0.05, above=0)
    # weight of the total variation of images, a mean over neighbouring pixels; of "gradients" too
    tv: float = number(0.0, least=0, finite=True)
    l2: float = number(0.0, least=0, finite=True)  # weight of the square
    process_every: int = number(0, least=0)  # steps between two smoothings of an image
    image: tuple[int, ...] = ()  # (H, W, channels) of examples that are kept flat
    keep: int = number(0, least=0)  # classes of an answer that "black" sees, those of the largest confidences; 0: all
    batch_sizes: tuple[int, ...] = (1, 4)  # of the client whose gradient leaks
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Attribute:
    """Threats beyond membership: one column of a table inferred from the others, the label and the model."""

    names: tuple[str, ...] = choice((), "attacks.ATTRIBUTE_ATTACKS")
    column: str = ""  # its name or number
    bins: int = number(0, least=2, also=0)  # of a continuous column, quantiles; 0: its distinct values
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Metrics:
    fprs: tuple[float, ...] = number((0.01, 0.001), above=0, below=1, some="rates")
    priors: tuple[float, ...] = number((0.5, 0.1, 0.01), above=0, below=1)  # shares of members, of the PPV at each rate
    level: float = number(0.95, above=0, below=1)
    delta: float = number(1e-5, least=0, below=1)  # of the lower bound of epsilon, where splits.rows is "iid"
    replicates_auc: int = number(1000, least=20, most=1_000_000)
    replicates_tpr: int = number(200, least=20, most=1_000_000)
    seed: int = number(0, least=0, below=SEEDS)


@dataclasses.dataclass(frozen=True)
class Report:
    title: str = "Membership-inference audit"
    records: bool = True  # the page shows the most exposed training examples themselves; False: their numbers alone


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Each field varies the setting of `SWEPT`; an empty tuple leaves it alone."""

    dataset: tuple[str, ...] = ()
    seed: tuple[int, ...] = ()  # of the splits and of the training
    family: tuple[str, ...] = ()
    architecture: tuple[str, ...] = ()
    bits: tuple[int, ...] = ()
    quantize: tuple[str, ...] = ()
    neuron: tuple[str, ...] = ()
    readout: tuple[str, ...] = ()
    reset: tuple[str, ...] = ()
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
    epoch: tuple[int, ...] = ()


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
    inversion: Inversion = Inversion()
    attribute: Attribute = Attribute()
    metrics: Metrics = Metrics()
    report: Report = Report()
    sweep: Sweep = Sweep()


CANARIES = ("canaries", "canary_kind", "natural", "poison")  # settings of `Splits`
# settings that came later, by section: recorded where they are not at their default
LATER = {
    "data": ("layout",),
    "splits": ("unit",),
    "model": ("neuron", "alpha", "rho", "strength", "learned", "population"),
    "report": ("records",),
}


def as_dict(config: Any) -> dict:
    """Nested plain dict of a config or a section."""
    return dataclasses.asdict(config)


def recorded(config: Config) -> dict:
    """`as_dict` as it is written and hashed. Settings that came later and are at their default are left out, and those
    of canaries where there are none, so that runs from before they could be set have the same hash."""
    values = as_dict(config)
    for section, names in LATER.items():
        given = getattr(config, section)
        values[section] = {k: v for k, v in values[section].items() if k not in names or v != getattr(type(given)(), k)}
    if not config.splits.canaries:
        values["splits"] = {name: value for name, value in values["splits"].items() if name not in CANARIES}
    return values
