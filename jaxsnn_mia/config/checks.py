"""Rules of several settings together, checked before anything is trained. Those of single ones: `config.fields`."""

import dataclasses

from jaxsnn_mia import attacks, data, models
from jaxsnn_mia.config.fields import check_fields, one_of, require
from jaxsnn_mia.config.sweep import SWEPT, variants
from jaxsnn_mia.kernels import quantize, surrogate
from jaxsnn_mia.models import by_name
from jaxsnn_mia.privacy import accounting
from jaxsnn_mia.settings import CANARIES, Config, Model, Splits
from jaxsnn_mia.signals import catalogue
from jaxsnn_mia.signals.defences import MOST_DIGITS

WIDTHS = ("default", "auto")


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
    """ValueError for a variant."""
    data.check_name(c.data.name)
    for section in dataclasses.fields(c):
        check_fields(getattr(c, section.name), section.name)
    for rule in (
        check_data, check_canaries, check_model, check_quantization, check_train, check_privacy, check_defence,
        check_width, check_signals, check_threats,
    ):  # fmt: skip
        rule(c)


def check_data(c: Config) -> None:
    both = c.data.population + c.data.validation
    require(both <= 0.8, "data.population + data.validation", "at most 0.8", both)
    needing = [
        name for name in c.attacks.names if any(signal.endswith("_population") for signal in attacks.named(name).needs)
    ]
    if c.data.standardise in ("dataset", "range"):
        needing.append(f"data.standardise={c.data.standardise}")
    wanted = f"above 0 for {', '.join(needing)}"
    require(c.data.population > 0 or not needing, "data.population", wanted, c.data.population)


def check_canaries(c: Config) -> None:
    s = c.splits
    for name in CANARIES[1:]:
        value, default = getattr(s, name), getattr(Splits(), name)
        without = f"{default!r} without splits.canaries"
        remedy = "Set splits.canaries to the number of canaries."
        require(s.canaries > 0 or value == default, f"splits.{name}", without, value, remedy)
    for wanted, forbids, remedy in (
        ("'example' with splits.canaries", s.canaries > 0, "Canaries belong to nobody."),
        ("'example' with splits.rows=iid", s.rows == "iid", "Bounds of epsilon are those of one row; use rows=exact."),
        ("'example' with train.dp_clip", c.train.dp_clip > 0, "Epsilon is that of one row, not of a group."),
    ):
        require(not forbids or s.unit == "example", "splits.unit", wanted, s.unit, remedy)
    for section in ("inversion", "attribute"):
        names = getattr(c, section).names
        remedy = "Canaries would be among the targets; use a run without them."
        require(not s.canaries or not names, f"{section}.names", "empty with splits.canaries", names, remedy)
    per_class = "shokri_predecessor" in c.attacks.names
    remedy = "It learns an attack for each class, of which there are few canaries and natural rows."
    expected = "without 'shokri_predecessor' with splits.canaries"
    require(not s.canaries or not per_class, "attacks.names", expected, c.attacks.names, remedy)


def check_model(c: Config) -> None:
    m = c.model
    families = sorted(models.modules(m.architecture))
    require(m.family in families, "model.family", f"one of {families} for {m.architecture}", m.family)
    if ":" not in m.surrogate:
        one_of(surrogate.SURROGATES, "model.surrogate", m.surrogate)
    by_name.surrogate(m.surrogate)
    check_neuron(c)
    if m.norm != "group":
        normalised = m.architecture in models.NORMALISED
        require(normalised, "model.norm", f"'group' for {m.architecture}", m.norm)
        remedy = "Calibration would take the moments of the batch norm for ranges."
        require(c.quantization.mode != "ptq", "model.norm", "'group' for quantization.mode=ptq", m.norm, remedy)
    require(
        m.encoding == "direct" or c.data.standardise in ("range", "none"),
        "data.standardise",
        f"'range' (or 'none', for inputs in [0, 1]) for model.encoding={m.encoding}",
        c.data.standardise,
    )


# settings of neurons that no other kind of neuron reads, and of a readout that no other reads
OF_ONE = (
    ("neuron", "synaptic", ("alpha",)),
    ("neuron", "adaptive", ("rho", "strength")),
    ("readout", "population", ("population",)),
)


def check_neuron(c: Config) -> None:
    m, default = c.model, Model()
    for setting, kind, names in OF_ONE:
        for name in names:
            value, alone = getattr(m, name), getattr(default, name)
            remedy = f"Set model.{setting}={kind}, which reads it."
            wanted = f"{alone!r} for model.{setting}={getattr(m, setting)}"
            require(getattr(m, setting) == kind or value == alone, f"model.{name}", wanted, value, remedy)
    require(len(set(m.learned)) == len(m.learned), "model.learned", "free of repeated values", m.learned)
    if m.neuron == "if":
        remedy = "Neurons of model.neuron=if have no leak: their beta is 1."
        require(m.beta == default.beta, "model.beta", f"{default.beta!r} for model.neuron=if", m.beta, remedy)
        require("beta" not in m.learned, "model.learned", "without 'beta' for model.neuron=if", m.learned, remedy)


def check_quantization(c: Config) -> None:
    q, parts = c.quantization, models.QUANTIZED[c.quantization.what]
    quantize.check_bits(q.bits, "quantization.bits")
    for part in ("activation", "state"):
        name, bits = f"quantization.bits_{part}", getattr(q, f"bits_{part}")
        if bits != 0:
            quantize.check_bits(bits, name)
        require(bits == 0 or part in parts, name, f"0 where quantization.what={q.what}", bits)
    spiking = c.model.family not in models.STATELESS
    require(
        q.what != "state" or spiking,
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
    if c.model.architecture != "dense":
        return
    of_hidden_layers = "state" if spiking else "activation"
    require(
        len(c.model.hidden) > 0 or q.what != of_hidden_layers,
        "model.hidden",
        f"one or more layers for quantization.what={q.what}",
        c.model.hidden,
        "There is nothing else to quantize.",
    )
    require(
        q.edges != "keep8" or len(c.model.hidden) > 1,
        "quantization.edges",
        "'all' for dense networks of one hidden layer",
        q.edges,
        "The first and the last layer are all there is, so keep8 would leave all of them at 8 bits.",
    )


def check_train(c: Config) -> None:
    t = c.train
    require(
        t.precision != "bfloat16" or "activation" not in models.QUANTIZED[c.quantization.what],
        "train.precision",
        f"'float32' or 'tf32' for quantization.what={c.quantization.what}",
        t.precision,
        "bfloat16 cannot hold the grid of quantized activations.",
    )
    if t.stop_at_gap:
        alone = not t.stop_at_train_accuracy
        require(alone, "train.stop_at_gap", "0 where stop_at_train_accuracy is set", t.stop_at_gap)
        require(c.data.validation > 0, "data.validation", "above 0 for train.stop_at_gap", c.data.validation)
    for epoch in t.snapshot_epochs:
        require(1 <= epoch <= t.epochs, "train.snapshot_epochs", f"in [1, {t.epochs}]", epoch)


def check_privacy(c: Config) -> None:
    """What private training allows: nothing but noisy sums of clipped gradients may come from a model's own rows."""
    t = c.train
    for name in ("dp_noise", "dp_epsilon"):
        remedy = "Without a bound on each gradient, noise protects nothing; set train.dp_clip."
        value = getattr(t, name)
        require(t.dp_clip > 0 or not value, f"train.{name}", "0 without train.dp_clip", value, remedy)
    largest = accounting.LARGEST
    remedy = "For weaker privacy set train.dp_noise."
    require(t.dp_epsilon <= largest, "train.dp_epsilon", f"at most {largest:g}", t.dp_epsilon, remedy)
    if not t.dp_clip:
        return
    solved = "0 where train.dp_epsilon is set, which it is solved for"
    require(not t.dp_noise or not t.dp_epsilon, "train.dp_noise", solved, t.dp_noise)
    for name, value, public, remedy in (
        ("data.standardise", c.data.standardise, c.data.standardise != "per_shadow", "Use 'dataset', which is public."),
        (
            "quantization.what",
            c.quantization.what,
            "activation" not in models.QUANTIZED[c.quantization.what],
            "The ranges of activations are those of training rows; use 'weight' or 'state'.",
        ),
        ("model.norm", c.model.norm, c.model.norm != "tdbn", "Use 'group': tdbn mixes the rows of a batch."),
        ("train.mixup", t.mixup, not t.mixup, "Use 0: each gradient would be of two rows."),
        (
            "train.stop_at_train_accuracy",
            t.stop_at_train_accuracy,
            not t.stop_at_train_accuracy,
            "Use 0: it is decided by training rows.",
        ),
        ("train.stop_at_gap", t.stop_at_gap, not t.stop_at_gap, "Use 0: it is decided by training rows."),
    ):
        require(public, name, "something that no training row decides, with train.dp_clip", value, remedy)


def check_defence(c: Config) -> None:
    """Ranges of `signals.defences.Defence`, which stands below the settings and knows none."""
    d, digits = c.defence, c.defence.round_digits
    warm = 1 <= d.temperature < float("inf")
    require(warm, "defence.temperature", "finite and at least 1", d.temperature, "Below, more would be told.")
    require(d.top_k >= 0, "defence.top_k", "at least 0", d.top_k, "0 shows all classes.")
    few = 0 <= digits <= MOST_DIGITS
    require(few, "defence.round_digits", f"in [0, {MOST_DIGITS}]", digits, "0 rounds nothing.")


def check_width(c: Config) -> None:
    width = str(c.ensemble.width)
    ok = width in WIDTHS or (width.isdecimal() and int(width) > 0)
    require(ok, "ensemble.width", f"one of {WIDTHS} or a number of at least 1", c.ensemble.width)


def check_signals(c: Config) -> None:
    wanted = catalogue.names((*c.signals.names, *attacks.signals_of(c.attacks.names)))
    fewest = attacks.fewest_shadows(c.attacks.names)
    enough = f"at least {fewest} for attacks.names={c.attacks.names}"
    require(c.splits.n_shadows >= fewest, "splits.n_shadows", enough, c.splits.n_shadows)
    snapshots, trajectory = c.train.snapshot_epochs, "trajectory" in wanted
    kept = (0,) if trajectory else (0, *snapshots)
    require(
        c.signals.epoch in kept,
        "signals.epoch",
        f"one of {kept} (0: the last; others are train.snapshot_epochs, without the trajectory)",
        c.signals.epoch,
    )
    one_or_more = "one or more epochs for the trajectory"
    require(len(snapshots) > 0 or not trajectory, "train.snapshot_epochs", one_or_more, snapshots)
    require(
        len(c.model.hidden) > 0 or c.model.architecture in models.ON_IMAGES or "rates" not in wanted,
        "model.hidden",
        "one or more layers for the signal 'rates'",
        c.model.hidden,
    )
    beside = set(c.attacks.names) - {"combine"}
    require(
        "combine" not in c.attacks.names or len(beside) > 1,
        "attacks.names",
        "two or more attacks beside 'combine'",
        c.attacks.names,
    )


def check_threats(c: Config) -> None:
    for section in ("inversion", "attribute"):
        names = getattr(c, section).names
        population = c.data.population
        require(not names or population > 0, "data.population", f"above 0 for {section}.names", population)
    targets = c.inversion.targets
    for size in c.inversion.batch_sizes:
        require(1 <= size <= targets, "inversion.batch_sizes", f"in [1, {targets}], the targets", size)
    named = not c.attribute.names or c.attribute.column != ""
    require(named, "attribute.column", "a column's name or number", c.attribute.column)
