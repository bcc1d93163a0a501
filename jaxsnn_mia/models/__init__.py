"""Model families: `build(spec)` gives pure (init, apply) functions of one model."""

from collections.abc import Mapping

from flax import nnx

from jaxsnn_mia.models.coding import ENCODINGS
from jaxsnn_mia.models.convnet import ConvNet
from jaxsnn_mia.models.dense import DenseANN, DenseSNN
from jaxsnn_mia.models.gated import GATES, Gated
from jaxsnn_mia.models.recurrent import Recurrent
from jaxsnn_mia.models.resnet import ResNet
from jaxsnn_mia.models.spec import (
    COUNTED,
    LEARNED,
    NEURONS,
    NORMS,
    QUANTIZED,
    READOUTS,
    Hyper,
    Model,
    ModelSpec,
    Output,
    QuantSpec,
    pure,
)  # fmt: skip
from jaxsnn_mia.models.vgg import VGG
from jaxsnn_mia.runtime.own_code import imported

# architecture -> family -> module
MODELS: dict[str, dict[str, type[nnx.Module]]] = {
    "dense": {"ann": DenseANN, "snn": DenseSNN},
    "recurrent": {"ann": Recurrent, "snn": Recurrent},
    "gru": {"ann": Gated},
    "lstm": {"ann": Gated},
    "convnet": {"ann": ConvNet, "snn": ConvNet, "hybrid": ConvNet},
    "vgg11": {"ann": VGG, "snn": VGG, "hybrid": VGG},
    "vgg16": {"ann": VGG, "snn": VGG, "hybrid": VGG},
    "resnet8": {"ann": ResNet, "snn": ResNet},
    "resnet18": {"ann": ResNet, "snn": ResNet},
}
FAMILIES = ("ann", "snn", "hybrid")  # "hybrid": the dense layers after the convolutions alone spike
RECURRENT = ("recurrent", "gru", "lstm")
FLAT = ("dense", *RECURRENT)  # examples of any shape are rows of numbers
ON_IMAGES = tuple(name for name in MODELS if name not in FLAT)
NORMALISED = ("vgg11", "vgg16", "resnet8", "resnet18")
STATELESS = ("ann",)  # families without membranes
SIGNED = tuple(GATES)  # architectures of the ann whose units have a sign


def modules(architecture: str) -> Mapping[str, type[nnx.Module]]:
    """family -> module of an architecture of `MODELS`, or of "package.module:Class" of the caller's own, a flax.nnx
    module as `pure` takes it, which then stands for every family. ValueError for a name that is neither."""
    if architecture in MODELS:
        return MODELS[architecture]
    own = imported("model.architecture", architecture, MODELS, "Class")
    if not (isinstance(own, type) and issubclass(own, nnx.Module)):
        raise ValueError(f"`model.architecture` {architecture!r} must be a flax.nnx.Module class, got {own!r}.")
    return dict.fromkeys(FAMILIES, own)


def build(spec: ModelSpec) -> Model:
    """The pure functions of one model; ValueError for an architecture or a family that is not there."""
    there = modules(spec.architecture)
    if spec.family not in there:
        raise ValueError(f"`model.family` must be one of {sorted(there)} for {spec.architecture}, got {spec.family!r}.")
    return pure(there[spec.family], spec)


__all__ = [
    "COUNTED", "ENCODINGS", "FAMILIES", "LEARNED", "MODELS", "NEURONS", "NORMALISED", "NORMS", "ON_IMAGES",
    "QUANTIZED", "READOUTS", "RECURRENT", "SIGNED", "STATELESS", "Hyper", "Model", "ModelSpec", "Output", "QuantSpec",
    "build", "modules",
]  # fmt: skip
