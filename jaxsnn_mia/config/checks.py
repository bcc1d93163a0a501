"""What settings may be: each is checked before anything is trained."""

import difflib
from typing import Any

from jaxsnn_mia import attacks, data, models
from jaxsnn_mia.attacks.attribute.scores import ATTRIBUTE_ATTACKS
from jaxsnn_mia.config.sweep import SWEPT, variants
from jaxsnn_mia.data import splits
from jaxsnn_mia.kernels import neuron, quantize, surrogate
from jaxsnn_mia.models import by_name
from jaxsnn_mia.privacy import accounting
from jaxsnn_mia.settings import Config
from jaxsnn_mia.signals import catalogue, views
from jaxsnn_mia.signals.defences import MOST_DIGITS
from jaxsnn_mia.training.augment import AUGMENTATIONS
from jaxsnn_mia.training.spec import OPTIMIZERS, PRECISIONS, SCHEDULES, STANDARDISE

DUPLICATES = ("share", "drop")
WIDTHS = ("default", "auto")
INVERSIONS = ("white_class", "white_example", "spikes", "black", "gradients", "gradients_layer", "gradients_ratio")


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
    for checked in (
        check_data, check_model, check_quantization, check_train, check_privacy, check_defence, check_ensemble,
        check_attacks, check_inversion, check_attribute, check_metrics,
    ):  # fmt: skip
        checked(c)


def check_data(c: Config) -> None:
    data.check_name(c.data.name)
    one_of(STANDARDISE, "data.standardise", c.data.standardise)
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


def check_model(c: Config) -> None:
    one_of(models.FAMILIES, "model.family", c.model.family)
    there = sorted(models.modules(c.model.architecture))
    require(c.model.family in there, "model.family", f"one of {there} for {c.model.architecture}", c.model.family)
    one_of(AUGMENTATIONS, "data.augment", c.data.augment)
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
    if ":" not in c.model.surrogate:
        one_of(surrogate.SURROGATES, "model.surrogate", c.model.surrogate)
    by_name.surrogate(c.model.surrogate)
    require(all(h >= 1 for h in c.model.hidden), "model.hidden", "layer sizes of at least 1", c.model.hidden)
    require(1 <= c.model.time_steps <= 1000, "model.time_steps", "in [1, 1000]", c.model.time_steps)
    require(0 <= c.model.beta <= 1, "model.beta", "in [0, 1]", c.model.beta)
    require(c.model.threshold > 0, "model.threshold", "above 0", c.model.threshold)
    require(c.model.slope >= 0, "model.slope", "at least 0", c.model.slope, "0 takes the surrogate's default.")


def check_train(c: Config) -> None:
    one_of(OPTIMIZERS, "train.optimizer", c.train.optimizer)
    one_of(SCHEDULES, "train.schedule", c.train.schedule)
    require(c.train.lr > 0, "train.lr", "above 0", c.train.lr)
    require(0 <= c.train.momentum < 1, "train.momentum", "in [0, 1)", c.train.momentum)
    require(1 <= c.train.epochs <= 100_000, "train.epochs", "in [1, 100000]", c.train.epochs)
    require(c.train.batch_size >= 1, "train.batch_size", "at least 1", c.train.batch_size)
    require(c.train.weight_decay >= 0, "train.weight_decay", "at least 0", c.train.weight_decay)
    require(0 <= c.train.smoothing < 1, "train.smoothing", "in [0, 1)", c.train.smoothing)
    require(0 <= c.train.dropout < 1, "train.dropout", "in [0, 1)", c.train.dropout)
    mixup = c.train.mixup
    require(0 <= mixup < float("inf"), "train.mixup", "finite and at least 0", mixup, "0 mixes nothing.")
    one_of(PRECISIONS, "train.precision", c.train.precision)
    inner = "activation" in models.QUANTIZED[c.quantization.what]
    require(
        c.train.precision != "bfloat16" or not inner,
        "train.precision",
        f"'float32' or 'tf32' for quantization.what={c.quantization.what}",
        c.train.precision,
        "bfloat16 cannot hold the grid of quantized activations.",
    )
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


def check_ensemble(c: Config) -> None:
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


def check_attacks(c: Config) -> None:
    catalogue.names(c.signals.names)
    require(c.signals.queries in views.QUERIES, "signals.queries", f"one of {views.QUERIES}", c.signals.queries)
    require(len(c.attacks.names) > 0, "attacks.names", f"one or more of {sorted(attacks.ATTACKS)}", c.attacks.names)
    for name in c.attacks.names:
        one_of(attacks.ATTACKS, "attacks.names", name)
    fewest, s = attacks.fewest_shadows(c.attacks.names), c.splits.n_shadows
    require(s >= fewest, "splits.n_shadows", f"at least {fewest} for attacks.names={c.attacks.names}", s)
    wanted = catalogue.names((*c.signals.names, *attacks.signals_of(c.attacks.names)))
    kept = (0, *c.train.snapshot_epochs) if "trajectory" not in wanted else (0,)
    require(
        c.signals.epoch in kept,
        "signals.epoch",
        f"one of {kept} (0: the last; others are train.snapshot_epochs, without the trajectory)",
        c.signals.epoch,
    )
    require(
        bool(c.train.snapshot_epochs) or "trajectory" not in wanted,
        "train.snapshot_epochs",
        "one or more epochs for the trajectory",
        c.train.snapshot_epochs,
    )
    require(
        bool(c.model.hidden) or c.model.architecture in models.ON_IMAGES or "rates" not in wanted,
        "model.hidden",
        "one or more layers for the signal 'rates'",
        c.model.hidden,
    )
    require(
        "combine" not in c.attacks.names or len(set(c.attacks.names)) > 2,
        "attacks.names",
        "two or more attacks beside 'combine'",
        c.attacks.names,
    )


def check_inversion(c: Config) -> None:
    i = c.inversion
    for name in i.names:
        one_of(INVERSIONS, "inversion.names", name)
    for name, least in (
        ("shadows", 0),
        ("targets", 2),
        ("restarts", 1),
        ("steps", 1),
        ("process_every", 0),
        ("keep", 0),
    ):
        require(getattr(i, name) >= least, f"inversion.{name}", f"at least {least}", getattr(i, name))
    require(i.shadows % 2 == 0, "inversion.shadows", "even, whole pairs", i.shadows)
    require(i.lr > 0, "inversion.lr", "above 0", i.lr)
    for name in ("tv", "l2"):
        require(0 <= getattr(i, name) < float("inf"), f"inversion.{name}", "finite and at least 0", getattr(i, name))
    for size in i.batch_sizes:
        require(1 <= size <= i.targets, "inversion.batch_sizes", f"in [1, {i.targets}], the targets", size)
    require(not i.names or c.data.population > 0, "data.population", "above 0 for inversion.names", c.data.population)


def check_attribute(c: Config) -> None:
    a = c.attribute
    for name in a.names:
        one_of(ATTRIBUTE_ATTACKS, "attribute.names", name)
    require(not a.names or a.column != "", "attribute.column", "a column's name or number", a.column)
    require(a.bins == 0 or a.bins >= 2, "attribute.bins", "0 or at least 2", a.bins)
    require(not a.names or c.data.population > 0, "data.population", "above 0 for attribute.names", c.data.population)


def check_metrics(c: Config) -> None:
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


def require(ok: bool, name: str, expected: str, value: Any, remedy: str = "") -> None:
    if not ok:
        raise ValueError(f"`{name}` must be {expected}, got {value!r}. {remedy}".rstrip())


def one_of(known: Any, name: str, value: str) -> None:
    near = difflib.get_close_matches(value, list(known), 1)
    require(value in known, name, f"one of {sorted(known)}", value, f'Did you mean "{near[0]}"?' if near else "")
