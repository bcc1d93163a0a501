"""The first two stages: the data as the models see it, and who trains on what. Variants share them."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from jaxsnn_mia import data
from jaxsnn_mia.config import against_data
from jaxsnn_mia.data import splits
from jaxsnn_mia.data.prepared import candidates
from jaxsnn_mia.runtime import resources, stopping
from jaxsnn_mia.settings import Config, as_dict
from jaxsnn_mia.store.files import read_array, write_array
from jaxsnn_mia.store.stage import STAGE_VERSION, finish, is_done, provenance, read_manifest, run_stage, stage_path


def data_and_splits(c: Config, workdir: Path) -> dict[str, Path]:
    """The data and splits folders of a variant, which all share: same examples, same splits, comparisons in pairs."""
    data_folder = data_stage(c, workdir)
    about = read_manifest(data_folder)
    images = bool(about["pixels"]) and not about["timed"]
    against_data.check(
        c, about["shape"], timed=about["timed"], images=images, n_classes=len(about["class_names"]), span=about["range"]
    )
    against_data.check_inversion(c, about["shape"], timed=about["timed"], n_classes=len(about["class_names"]))
    if c.attribute.names:
        against_data.check_column(c, about.get("features", []), read_array(data_folder / "x.npy"))
    return {"data": data_folder, "splits": splits_stage(c, workdir, data_folder)}


def data_path(c: Config, workdir: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of the data stage and what its hash is made of."""
    fingerprint = data.fingerprint(c.data.name, c.data.dir)
    inputs = {**as_dict(c.data), "dir": "", "augment": "", "seed": c.splits.seed, "fingerprint": fingerprint}
    return stage_path(workdir, "data", STAGE_VERSION["data"], inputs), inputs


def data_stage(c: Config, workdir: Path) -> Path:
    """x.npy (standardised unless each shadow does it), y.npy, role.npy, unit.npy."""
    path, inputs = data_path(c, workdir)
    if is_done(path):
        return path
    stopping.check()
    name, meter = c.data.name, resources.Meter()
    dataset, unit_n, duplicates = chosen_rows(c)
    if duplicates:
        fate = "are dropped" if c.data.duplicates == "drop" else "share a column of keep"
        logging.info("%s: %d exact duplicate rows %s", name, duplicates, fate)
    x, y = dataset.x, dataset.y
    role_n = splits.roles(
        jax.random.key(c.splits.seed),
        unit_n,
        population=c.data.population,
        validation=c.data.validation,
        test_n=dataset.test_n,
    )
    x, pixels, moved = standardised(c, x, role_n, dataset.timed)
    if not (role_n == splits.CANDIDATE).any() or (c.data.population and not (role_n == splits.POPULATION).any()):
        raise ValueError(
            f"{name} has {len(x)} rows: population={c.data.population} and validation={c.data.validation} leave "
            f"{np.sum(role_n == splits.CANDIDATE)} candidates and {np.sum(role_n == splits.POPULATION)} of population."
        )
    absent = set(range(len(dataset.class_names))) - set(y[role_n == splits.CANDIDATE].tolist())
    if absent:
        remedy = "Set data.rows higher." if c.data.rows else "Merge or drop them."
        raise ValueError(f"{name}: classes {sorted(absent)} have no candidate. {remedy}")
    # a split that cannot be made is an error now, before anything is trained
    make_keep(c, y[role_n == splits.CANDIDATE], unit_n[role_n == splits.CANDIDATE])
    for array_name, array in {"x": x, "y": y, "role": role_n, "unit": unit_n}.items():
        write_array(path / f"{array_name}.npy", array)
    finish(
        path,
        stage=path.name,
        inputs=inputs,
        source=dataset.source,
        class_names=dataset.class_names,
        features=dataset.features,
        pixels=pixels,
        **moved,
        range=[0.0, 1.0] if pixels else [float(x.min()), float(x.max())],
        shape=dataset.shape,
        timed=dataset.timed,
        sha256=dataset.sha256,
        duplicates=duplicates,
        **meter.read(),
        **provenance(),
    )
    return path


def chosen_rows(c: Config) -> tuple[data.Dataset, np.ndarray, int]:
    """(the data set, or `data.rows` of its examples at random, in their order, without exact duplicates where they are
    to be dropped; unit_n of what is left, see `data.units`; how many duplicates there are)."""
    dataset = data.load(c.data.name, c.data.dir)
    if 0 < c.data.rows < len(dataset.x):
        rng = np.random.default_rng(c.splits.seed)
        dataset = rows_at(dataset, np.sort(rng.choice(len(dataset.x), c.data.rows, replace=False)))
    unit_n = data.units(dataset.x)
    first = np.sort(np.unique(unit_n, return_index=True)[1])
    duplicates = len(dataset.x) - len(first)
    if duplicates and c.data.duplicates == "drop":
        dataset, unit_n = rows_at(dataset, first), unit_n[first]
    return dataset, unit_n, duplicates


def rows_at(dataset: data.Dataset, at: np.ndarray) -> data.Dataset:
    test_n = None if dataset.test_n is None else dataset.test_n[at]
    return dataclasses.replace(dataset, x=dataset.x[at], y=dataset.y[at], test_n=test_n)


def standardised(
    c: Config, x: np.ndarray, role_n: np.ndarray, timed: bool
) -> tuple[np.ndarray, list[list[float]] | None, dict[str, list[float]]]:
    """(x by `data.standardise`, None, its "shift" and "scale" where they are the same for all); or, for uint8 images
    and events, (x as it is, [a, b], {}): a step sees (x - a) / b, a and b for each channel."""
    how, public = c.data.standardise, x[role_n == splits.POPULATION]
    if len(public) < 2 and how in ("dataset", "range"):
        raise ValueError(f"`data.population` gives {len(public)} rows of {c.data.name}, at least 2 are needed.")
    if x.dtype == np.uint8:
        if how == "per_shadow":
            raise ValueError("`data.standardise` must be 'dataset', 'range' or 'none' for uint8, got 'per_shadow'.")
        if timed:  # counts, of which most are 0 and stay 0
            return x, [[0.0], [1.0]], {}
        if how != "dataset":
            return x, [[0.0], [255.0]], {}
        pixels = public.astype(np.float64)
        return x, [pixels.mean((0, 1, 2)).tolist(), np.maximum(pixels.std((0, 1, 2)), 1e-3).tolist()], {}
    if how == "dataset":
        shift, scale = public.mean(0), public.std(0)
    elif how == "range":
        shift, scale = public.min(0), np.ptp(public, 0)
    else:
        return x, None, {}
    scale = np.where(scale > 1e-6, scale, 1.0)
    x = ((x - shift) / scale).astype(np.float32)
    return np.clip(x, 0, 1) if how == "range" else x, None, {"shift": shift.tolist(), "scale": scale.tolist()}


def make_keep(c: Config, labels_n: np.ndarray, unit_n: np.ndarray) -> np.ndarray:
    key = jax.random.fold_in(jax.random.key(c.splits.seed), 1)
    return splits.make(key, labels_n, c.splits.n_shadows, scheme=c.splits.scheme, rows=c.splits.rows, unit_n=unit_n)


def splits_path(c: Config, workdir: Path, data_folder: Path) -> tuple[Path, dict[str, Any]]:
    inputs = {**as_dict(c.splits), "data": data_folder.name}
    return stage_path(workdir, "splits", STAGE_VERSION["splits"], inputs), inputs


def splits_stage(c: Config, workdir: Path, data_folder: Path) -> Path:
    """keep.npy bool [S, N]."""
    path, inputs = splits_path(c, workdir, data_folder)

    def work(path: Path) -> None:
        _, y, unit = candidates(data_folder)
        write_array(path / "keep.npy", make_keep(c, y, unit))

    return run_stage(path, work, inputs=inputs, **provenance())
