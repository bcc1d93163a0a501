"""The splits stage: which shadow trains on which candidate. Variants share it."""

from pathlib import Path

import jax
import numpy as np

from jaxsnn_mia.data import splits
from jaxsnn_mia.data.prepared import canaries, candidates
from jaxsnn_mia.settings import CANARIES, Config, recorded
from jaxsnn_mia.store.files import read_array, write_array
from jaxsnn_mia.store.stage import Stage
from jaxsnn_mia.store.stage import run as run_stage


def stage(c: Config, workdir: Path, data_folder: Path) -> Stage:
    """The splits stage of a variant on the candidates of a data stage."""
    gone = {"scheme": "pairs"}  # was a setting of one value: it stays in the hash, so that earlier splits are found
    # canaries are in the hash of the data
    own = {name: value for name, value in recorded(c)["splits"].items() if name not in CANARIES}
    return Stage("splits", workdir, {**own, **gone, "data": data_folder.name})


def run(c: Config, workdir: Path, data_folder: Path) -> Path:
    """The folder of the splits stage: keep.npy bool [S, N]."""

    def make(path: Path) -> None:
        _, y, unit_n = candidates(data_folder)
        write_array(path / "keep.npy", make_keep(c, y, unit_n, canaries(data_folder)))

    return run_stage(stage(c, workdir, data_folder), make)


def make_keep(c: Config, labels_n: np.ndarray, unit_n: np.ndarray, canary_n: np.ndarray | None = None) -> np.ndarray:
    """keep_sn bool [S, N] of candidates with these labels and duplicate groups.

    With canaries, bool [N], each half is one of the canaries and one of the natural rows. A class needs no members and
    non-members then, since every model trains on other rows of it as well; the two groups need them.
    """
    key = jax.random.fold_in(jax.random.key(c.splits.seed), 1)
    if canary_n is None:
        return splits.make(key, labels_n, c.splits.n_shadows, rows=c.splits.rows, unit_n=unit_n)
    keep_sn = np.empty((c.splits.n_shadows, len(labels_n)), bool)
    for group, name in enumerate(("natural", "canaries")):
        in_group_n = canary_n == bool(group)
        one_class_n = np.zeros(in_group_n.sum(), int)
        try:
            keep_sn[:, in_group_n] = splits.make(
                jax.random.fold_in(key, group), one_class_n, c.splits.n_shadows, rows=c.splits.rows
            )
        except ValueError as error:
            raise ValueError(f"`splits.{name}`={len(one_class_n)} rows are too few: {error}") from None
    return keep_sn


def training_keep(paths: dict[str, Path]) -> np.ndarray:
    """bool [S, N + A]: which shadow trains on which row: the candidates, then the A rows that train in every model."""
    always = int((read_array(paths["data"] / "role.npy") == splits.ALWAYS).sum())
    return splits.with_always(read_keep(paths["splits"]), always)


def read_keep(folder: Path) -> np.ndarray:
    """keep_sn bool [S, N] of a finished splits stage."""
    return np.asarray(read_array(folder / "keep.npy"))
