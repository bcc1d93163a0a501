"""The settings of a run: frozen dataclasses with defaults.

`sweep` holds a tuple for each setting that varies; every combination is one variant.
"""

import dataclasses
from typing import Any

from jaxsnn_mia.signals.defences import UNDEFENDED, Defence


@dataclasses.dataclass(frozen=True)
class Data:
    name: str = "digits"
    dir: str = ""  # folder of the files of those sources that need any; JAXSNN_MIA_DATA where empty
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
    # "recurrent"; for images "convnet", "vgg11", "vgg16", "resnet8", "resnet18"; "package.module:Class" of your own
    architecture: str = "dense"
    hidden: tuple[int, ...] = (128,)  # dense layers before the last
    time_steps: int = 10
    encoding: str = "direct"  # "rate", "latency": spikes of inputs in [0, 1]; the ANN then runs at every step too
    norm: str = "group"  # of VGG and residual nets; "tdbn": threshold-dependent batch norm
    beta: float = 0.95
    threshold: float = 1.0
    reset: str = "subtract"
    readout: str = "membrane_last"
    surrogate: str = "arctan"  # of surrogate.SURROGATES, or "package.module:function" of your own
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
    # most shadows of a variant that are trained together and that a worker claims; fewer where memory does not suffice
    group_size: int = 64
    chunk_seconds: float = 2.0  # least time between checkpoints
    checkpoint_share: float = 0.03  # chunks are longer where checkpoints would take more of the time; 0: never
    asynchronous: bool = False  # write a checkpoint while the next chunk trains: a kill may then cost two chunks
    devices: int = 0  # devices used; 0: all


@dataclasses.dataclass(frozen=True)
class Signals:
    names: tuple[str, ...] = ("phi", "logp", "loss", "correct")
    epoch: int = 0  # of the models that are queried, one of train.snapshot_epochs; 0: the last
    queries: int = 1  # of each image: 2 with its mirror image, 18 with both at nine shifts


@dataclasses.dataclass(frozen=True)
class Attacks:
    names: tuple[str, ...] = ("loss", "lira", "lira_offline", "rmia")


@dataclasses.dataclass(frozen=True)
class Inversion:
    """Threats beyond membership: reconstructions of inputs. In units in which the population spans [0, 1]."""

    # of a class or an example by the gradient: "white_class", "white_example"; "spikes", over the spike train of a
    # spiking network; "black": a decoder of confidences; "gradients" of a client's batch, by
    # search; "gradients_layer", by a search through a first dense layer alone; "gradients_ratio", exactly, of a batch
    # of one at such a layer
    names: tuple[str, ...] = ()
    shadows: int = 16  # models that are attacked, whole pairs; 0: all
    targets: int = 32  # candidates that are reconstructed, each from every one of them
    restarts: int = 4
    steps: int = 300
    lr: float = 0.05
    # weight of the total variation of images, a mean over neighbouring pixels; of "gradients" too
    tv: float = 0.0
    l2: float = 0.0  # weight of the square
    process_every: int = 0  # steps between two smoothings of an image
    image: tuple[int, ...] = ()  # (H, W, channels) of examples that are kept flat
    keep: int = 0  # classes of an answer that "black" sees, those of the largest confidences; 0: all
    batch_sizes: tuple[int, ...] = (1, 4)  # of the client whose gradient leaks
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Attribute:
    """Threats beyond membership: one column of a table inferred from the others, the label and the model."""

    names: tuple[str, ...] = ()  # of attacks.ATTRIBUTE_ATTACKS
    column: str = ""  # its name or number
    bins: int = 0  # of a continuous column, quantiles; 0: its distinct values
    seed: int = 0


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
    seed: tuple[int, ...] = ()  # of the splits and of the training
    family: tuple[str, ...] = ()
    architecture: tuple[str, ...] = ()
    bits: tuple[int, ...] = ()
    quantize: tuple[str, ...] = ()
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


def as_dict(config: Any) -> dict:
    """Nested plain dict of a config or a section."""
    return dataclasses.asdict(config)
