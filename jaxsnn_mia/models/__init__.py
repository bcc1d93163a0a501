"""Model families: `build(spec)` gives pure (init, apply) functions of one model."""

from flax import nnx

from jaxsnn_mia.models.conv import ConvNetANN, ResNetANN
from jaxsnn_mia.models.dense import DenseANN, DenseSNN
from jaxsnn_mia.models.spec import QUANT_OPTIONS, QUANTIZED, READOUTS, Hyper, Model, ModelSpec, Output, QuantSpec, pure

# architecture -> family -> module
MODELS: dict[str, dict[str, type[nnx.Module]]] = {
    "dense": {"ann": DenseANN, "snn": DenseSNN},
    "convnet": {"ann": ConvNetANN},
    "resnet8": {"ann": ResNetANN},
    "resnet18": {"ann": ResNetANN},
}
FAMILIES = ("ann", "snn")
STATELESS = ("ann",)  # families without membranes


def build(spec: ModelSpec) -> Model:
    """The pure functions of one model; ValueError for an architecture or a family that is not in `MODELS`."""
    if spec.architecture not in MODELS:
        raise ValueError(f"`model.architecture` must be one of {sorted(MODELS)}, got {spec.architecture!r}.")
    if spec.family not in MODELS[spec.architecture]:
        known = sorted(MODELS[spec.architecture])
        raise ValueError(f"`model.family` must be one of {known} for {spec.architecture}, got {spec.family!r}.")
    return pure(MODELS[spec.architecture][spec.family], spec)


__all__ = [
    "FAMILIES", "MODELS", "QUANTIZED", "QUANT_OPTIONS", "READOUTS", "STATELESS", "Hyper", "Model", "ModelSpec",
    "Output", "QuantSpec", "build",
]  # fmt: skip
