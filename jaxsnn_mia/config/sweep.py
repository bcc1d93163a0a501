"""Every combination of a sweep is one variant."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from jaxsnn_mia import models
from jaxsnn_mia.settings import Config, Sweep
from jaxsnn_mia.store.files import digest

SWEPT = {
    "dataset": ("data", "name"),
    "seed": ("splits", "seed"),
    "family": ("model", "family"),
    "architecture": ("model", "architecture"),
    "bits": ("quantization", "bits"),
    "quantize": ("quantization", "what"),
    "neuron": ("model", "neuron"),
    "readout": ("model", "readout"),
    "reset": ("model", "reset"),
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
    "epoch": ("signals", "epoch"),
}


PARTS = tuple(dict.fromkeys(part for part, _ in SWEPT.values()))


# changes in these sections add or redo stages in the same workdir; in any other they need a new one
FOLLOWING = (
    "sweep", "ensemble", "defence", "signals", "attacks", "inversion", "attribute", "metrics", "report", "data.dir",
    "splits.scheme",  # is gone, but config.json of earlier runs has it
)  # fmt: skip


def variants(config: Config) -> dict[str, Config]:
    """name -> config of every combination of the sweep, without a sweep of its own; one where nothing varies. A sweep
    over what is quantized leaves out the membranes of families that have none."""
    axes = [(axis, getattr(config.sweep, axis)) for axis in SWEPT if getattr(config.sweep, axis)]
    named = {}
    for values in itertools.product(*(values for _, values in axes)):
        settings = dict(zip((axis for axis, _ in axes), values, strict=True))
        sections = {part: getattr(config, part) for part in PARTS}
        if "seed" in settings:
            sections["train"] = dataclasses.replace(sections["train"], seed=settings["seed"])
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
        plain = argument if argument.replace("_", "").isalnum() else digest(argument)[:6]
        source = f"{source}-{plain}"
    return "-".join([source, variant.model.family, *extra])
