"""Model families: `build(spec)` gives pure (init, apply) functions of one model."""

from jaxsnn_mia.models.dense import DenseANN, DenseSNN
from jaxsnn_mia.models.spec import READOUTS, Hyper, Model, ModelSpec, Output, pure

MODELS = {"ann": DenseANN, "snn": DenseSNN}


def build(spec: ModelSpec) -> Model:
    """The pure functions of one model; ValueError for a family that is not in `MODELS`."""
    if spec.family not in MODELS:
        raise ValueError(f"`model.family` must be one of {sorted(MODELS)}, got {spec.family!r}.")
    return pure(MODELS[spec.family], spec)


__all__ = ["MODELS", "READOUTS", "Hyper", "Model", "ModelSpec", "Output", "build"]
