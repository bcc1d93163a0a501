"""Whether a module of the caller's own does what the settings say, checked before anything is trained."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from jaxsnn_mia.config.specs import bits, hyper, model_spec
from jaxsnn_mia.config.sweep import SWEPT
from jaxsnn_mia.models import own
from jaxsnn_mia.settings import Config
from jaxsnn_mia.store.stage import read_manifest

# axes of a sweep that a network must read; others change its data, its training or its answers
OF_NETWORK = (
    "bits", "quantize", "neuron", "readout", "reset", "encoding", "time_steps", "beta", "threshold", "surrogate",
    "slope", "dropout",
)  # fmt: skip


def check(variants: Mapping[str, Config], paths: Mapping[str, Mapping[str, Path]]) -> None:
    """ValueError for an own module that cannot be called, that does not read a setting which the sweep varies or
    quantizes by, or that keeps statistics of batches under private training."""
    networks = {}
    for name, c in variants.items():
        if ":" not in c.model.architecture:
            continue
        about = read_manifest(paths[name]["data"])
        spec = model_spec(c, tuple(about["shape"]), len(about["class_names"]), about["timed"])
        network = own.probed(spec)
        if c.train.dp_clip and own.has_batch_statistics(spec):
            raise ValueError(
                f"`train.dp_clip` must be 0 for {c.model.architecture}: it keeps statistics of its batches "
                "(nnx.BatchNorm), which private training does not cover. Use nnx.GroupNorm or nnx.LayerNorm."
            )
        quantized = {f"qmax_{part}" for part, width in bits(c).items() if width is not None}
        if quantized and not quantized & network.reads:
            raise ValueError(
                f"`quantization.bits` must be 32 for {c.model.architecture}, which reads none of hyper's "
                f"{sorted(quantized)}, got {c.quantization.bits}. Apply them as jaxsnn_mia/models/quantized.py does."
            )
        values = hyper(c, None)
        networks[name] = (network.program, {field: getattr(values, field) for field in network.reads})
    for axis in OF_NETWORK:
        check_axis(axis, {name: variants[name] for name in networks}, networks)


def check_axis(axis: str, variants: Mapping[str, Config], networks: Mapping[str, tuple]) -> None:
    """ValueError where variants that differ in one setting alone are the same network."""
    section, field = SWEPT[axis]
    first: dict[Config, str] = {}
    for name, c in variants.items():
        of_section = getattr(c, section)
        default = getattr(type(of_section)(), field)
        rest = dataclasses.replace(c, **{section: dataclasses.replace(of_section, **{field: default})})
        other = first.setdefault(rest, name)
        if other != name and networks[other] == networks[name]:
            values = [getattr(getattr(variants[one], section), field) for one in (other, name)]
            raise ValueError(
                f"`sweep.{axis}` varies what {c.model.architecture} never reads: {section}.{field}={values[0]!r} and "
                f"{values[1]!r} are the same network. Leave it out, or read it (`spec.{field}`, `hyper`)."
            )
