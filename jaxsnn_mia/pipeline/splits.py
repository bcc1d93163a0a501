"""The splits stage: which shadow trains on which candidate. Variants share it."""

from pathlib import Path

import jax
import numpy as np

from jaxsnn_mia.data import splits
from jaxsnn_mia.data.prepared import candidates
from jaxsnn_mia.settings import Config, as_dict
from jaxsnn_mia.store.files import read_array, write_array
from jaxsnn_mia.store.stage import Stage
from jaxsnn_mia.store.stage import run as run_stage


def stage(c: Config, workdir: Path, data_folder: Path) -> Stage:
    """The splits stage of a variant on the candidates of a data stage."""
    gone = {"scheme": "pairs"}  # was a setting of one value: it stays in the hash, so that earlier splits are found
    return Stage("splits", workdir, {**as_dict(c.splits), **gone, "data": data_folder.name})


def run(c: Config, workdir: Path, data_folder: Path) -> Path:
    """The folder of the splits stage: keep.npy bool [S, N]."""

    def make(path: Path) -> None:
        _, y, unit_n = candidates(data_folder)
        write_array(path / "keep.npy", make_keep(c, y, unit_n))

    return run_stage(stage(c, workdir, data_folder), make)


def make_keep(c: Config, labels_n: np.ndarray, unit_n: np.ndarray) -> np.ndarray:
    """keep_sn bool [S, N] of candidates with these labels and duplicate groups."""
    key = jax.random.fold_in(jax.random.key(c.splits.seed), 1)
    return splits.make(key, labels_n, c.splits.n_shadows, rows=c.splits.rows, unit_n=unit_n)


def read_keep(folder: Path) -> np.ndarray:
    """keep_sn bool [S, N] of a finished splits stage."""
    return np.asarray(read_array(folder / "keep.npy"))
