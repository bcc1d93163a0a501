"""What a run would cost on accelerators that are not here, from its programs compiled for them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from jaxsnn_mia.aot import count, hlo, programs, targets
from jaxsnn_mia.aot.targets import Target
from jaxsnn_mia.config import sweep
from jaxsnn_mia.kernels.platform import made_for
from jaxsnn_mia.pipeline import signals, trained
from jaxsnn_mia.pipeline.cost import program_of, synthetic_work
from jaxsnn_mia.settings import Config
from jaxsnn_mia.signals import catalogue
from jaxsnn_mia.training.inputs import Inputs
from jaxsnn_mia.training.probe import ROOM

FIRST, TIMES = 8, 4  # widths that are tried: 8, 32, 128, ... as long as a wider one is faster and fits
CAVEATS = (
    "By a static model of the compiled programs, not measured: no cache, no overlap, no host, no data transfer; "
    "compilation and attacks are left out. A TPU's time leaves out gathers and sorts, so it is a lower bound."
)


class Forecast(NamedTuple):
    """One program at one width on each device; `step` is of one training step."""

    variant: str
    models: int
    width: int
    memory: int
    step: count.Count
    epochs_per_second: float  # of single models, on all devices together
    hours: float  # of training and of asking all models once
    asking: float  # the share of the hours that goes into that
    fits: bool


def forecasts(c: Config, target: Target) -> dict[str, list[Forecast]]:
    """By the first variant of each program: what each width that was tried would cost on the target's devices. Must run
    where the compilers' wheels are importable."""
    devices = targets.devices(target)
    variants = sweep.variants(c)
    works = {name: synthetic_work(variant) for name, variant in variants.items()}
    together: dict[tuple[str, int], list[str]] = {}
    for name, work in works.items():
        together.setdefault(program_of(work), []).append(name)
    with made_for(target.chip.platform):
        return {
            names[0]: list(
                widths(names, works[names[0]], query_of(variants[names[0]]), target, devices, str(c.ensemble.width))
            )
            for names in together.values()
        }


def query_of(c: Config) -> catalogue.Query:
    """What all signals of one pass ask of a model."""
    names = (name for name in signals.wanted(c) if name not in catalogue.ACROSS and name != "trajectory")
    once = tuple(name for name in names if name not in catalogue.LONGER)
    return catalogue.Query(once, c.signals.queries, c.defence, signals.repeats(c))


def widths(
    names: list[str], work: Inputs, query: catalogue.Query, target: Target, devices: list, asked: str
) -> Iterator[Forecast]:
    """Wider and wider, until a width is no faster or does not fit; one alone where the config names it."""
    models = len(names) * len(work.rows[0])
    most = -(-models // len(devices))
    width = int(asked) if asked.isdecimal() else min(FIRST, most)
    fastest = 0.0
    while True:
        now = forecast(names[0], work, query, models, width, target, devices)
        yield now
        if asked.isdecimal() or not now.fits or width >= most or now.epochs_per_second < fastest:
            return
        fastest, width = now.epochs_per_second, min(TIMES * width, most)


def forecast(
    name: str, work: Inputs, query: Callable, models: int, width: int, target: Target, devices: list
) -> Forecast:
    """What `models` models of one program cost at a width. ValueError where its devices would wait for each other."""
    blocks = trained.blocks(len(work.data[0]))
    program = programs.training(work, width, devices)
    asked = programs.querying(work, query, blocks[0].stop, width, devices)
    module, answers = hlo.parse(program.hlo), hlo.parse(asked.hlo)
    waiting = [*count.collectives(module), *count.collectives(answers)]
    if waiting:
        raise ValueError(f"the program of {name} has collectives ({waiting[0]}), which shadows must not need.")
    epoch = count.total(module, hlo.loops(module)[0].called("body"), target.chip)
    rate = width * len(devices) / max(epoch.seconds, 1e-12)
    rounds = -(-models // (width * len(devices)))
    training = rounds * work.spec.epochs * epoch.seconds
    asking = rounds * len(blocks) * count.total(answers, answers.entry, target.chip).seconds
    return Forecast(
        variant=name,
        models=models,
        width=width,
        memory=max(program.memory, asked.memory),
        step=count.step(module, work.spec.steps_per_epoch, target.chip),
        epochs_per_second=rate,
        hours=(training + asking) / 3600,
        asking=asking / max(training + asking, 1e-12),
        fits=max(program.memory, asked.memory) <= ROOM * target.chip.memory,
    )


def chosen(tried: list[Forecast]) -> Forecast:
    """The fastest that fits; the narrowest where none does."""
    fitting = [one for one in tried if one.fits]
    return min(fitting, key=lambda one: one.hours) if fitting else tried[0]


def as_text(found: dict[str, list[Forecast]], target: Target) -> str:
    """The table that --dry_run --target prints; the chosen width of each program is marked."""
    lines = [
        f"{target.name}: {target.x * target.y} x {target.chip.kind}, {target.chip.memory / 1e9:.0f} GB each",
        f"{'program of':28} {'models':>6} {'width':>6} {'memory MB':>9} {'kernels':>7} {'MB/step':>8} "
        f"{'GFLOP/step':>10} {'us/step':>8} {'of limit':>8} {'model-epochs/s':>14} {'hours':>9} {'asking':>6}",
    ]
    for tried in found.values():
        for one in tried:
            mark = " <-" if one == chosen(tried) and one.fits else "" if one.fits else "  does not fit"
            step = one.step
            lines.append(
                f"{one.variant:28} {one.models:6d} {one.width:6d} {one.memory / 1e6:9.0f} {step.kernels:7d} "
                f"{step.nbytes / 1e6:8.1f} {sum(step.flops.values()) / 1e9:10.2f} {1e6 * step.seconds:8.0f} "
                f"{share(step):8.1%} {one.epochs_per_second:14.1f} {one.hours:9.2g} {one.asking:6.0%}{mark}"
            )
    hours = sum(chosen(tried).hours for tried in found.values())
    lines.append(
        f"{sum(tried[0].models for tried in found.values())} models in about {hours:.3g} h of training and queries."
    )
    return "\n".join([*lines, CAVEATS])


def share(step: count.Count) -> float:
    """How near the step is to what bytes and products alone would take."""
    return step.limit / step.seconds if step.seconds else 0.0
