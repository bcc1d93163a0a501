"""Trained models of a run."""

from pathlib import Path

import numpy as np

from jaxsnn_mia.config.specs import training_inputs
from jaxsnn_mia.data import splits
from jaxsnn_mia.data.prepared import candidates, rows_of
from jaxsnn_mia.settings import Config
from jaxsnn_mia.store.files import read_array
from jaxsnn_mia.store.stage import read_manifest
from jaxsnn_mia.training.inputs import Inputs


def load_inputs(c: Config, paths: dict[str, Path]) -> Inputs:
    x, y, _ = candidates(paths["data"])
    about_data = read_manifest(paths["data"])
    keep_sn = np.asarray(read_array(paths["splits"] / "keep.npy"))
    validation = rows_of(paths["data"], splits.VALIDATION)[:2]
    return training_inputs(
        c,
        x,
        y,
        len(about_data["class_names"]),
        keep_sn,
        validation=validation,
        pixels=about_data["pixels"],
        timed=about_data["timed"],
    )
