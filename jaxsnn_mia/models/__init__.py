"""Model families: `build(spec)` gives pure (init, apply) functions of one model."""

from jaxsnn_mia.models.dense import DenseANN, DenseSNN
from jaxsnn_mia.models.spec import QUANT_OPTIONS, QUANTIZED, READOUTS, Hyper, Model, ModelSpec, Output, QuantSpec, pure

MODELS = {"ann": DenseANN, "snn": DenseSNN}
STATELESS = ("ann",)  # families without membranes


def build(spec: ModelSpec) -> Model:
    """The pure functions of one model; ValueError for a family that is not in `MODELS`."""
    if spec.family not in MODELS:
        raise ValueError(f"`model.family` must be one of {sorted(MODELS)}, got {spec.family!r}.")
    return pure(MODELS[spec.family], spec)


__all__ = [
    "MODELS", "QUANTIZED", "QUANT_OPTIONS", "READOUTS", "STATELESS", "Hyper", "Model", "ModelSpec", "Output",
    "QuantSpec", "build",
]  # fmt: skip
