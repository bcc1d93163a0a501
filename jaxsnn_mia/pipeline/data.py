"""The data stage: the examples as the models see them, and the role of each. Variants share it."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from jaxsnn_mia import data
from jaxsnn_mia.config import against_data
from jaxsnn_mia.data import canaries, splits
from jaxsnn_mia.pipeline.splits import make_keep
from jaxsnn_mia.settings import CANARIES, Config, as_dict
from jaxsnn_mia.store.files import read_array, write_array
from jaxsnn_mia.store.stage import Stage, read_manifest
from jaxsnn_mia.store.stage import run as run_stage

ROUNDING = 1e-12  # of float64: a column that varies by less is constant
BLOCK = 2**24  # values that are moved at once


def stage(c: Config, workdir: Path) -> Stage:
    """The data stage of a variant. Raises ValueError for a source that is not there."""
    fingerprint = data.fingerprint(c.data.name, c.data.dir)
    inputs = {**as_dict(c.data), "dir": "", "augment": "", "seed": c.splits.seed, "fingerprint": fingerprint}
    if c.data.layout == "auto":
        del inputs["layout"]  # as before it could be set
    if c.splits.unit != "example":
        inputs["unit"] = c.splits.unit
    if c.splits.canaries:
        inputs |= {name: getattr(c.splits, name) for name in CANARIES}
    return Stage("data", workdir, inputs)


def run(c: Config, workdir: Path) -> Path:
    """The folder of the data stage: x.npy (standardised unless each shadow does it), y.npy, role.npy, unit.npy, and
    canary.npy where there are canaries. Raises ValueError where the data does not allow the settings, before anything
    is trained."""
    folder = run_stage(stage(c, workdir), lambda path: make(c, path))
    about = read_manifest(folder)
    timed, n_classes = about["timed"], len(about["class_names"])
    images = bool(about["pixels"]) and not timed
    against_data.check(c, about["shape"], timed=timed, images=images, n_classes=n_classes, span=about["range"])
    against_data.check_inversion(c, about["shape"], timed=timed, n_classes=n_classes)
    if c.attribute.names:
        against_data.check_column(c, about.get("features", []), read_array(folder / "x.npy"))
    return folder


def make(c: Config, path: Path) -> dict[str, Any]:
    """Writes the arrays of the data stage. Returns what its manifest says of them."""
    dataset, unit_n, duplicates = chosen_rows(c)
    if duplicates:
        fate = "are dropped" if c.data.duplicates == "drop" else "share a column of keep"
        logging.info("%s: %d exact duplicate rows %s", c.data.name, duplicates, fate)
    role_n = splits.roles(
        jax.random.key(c.splits.seed),
        unit_n,
        population=c.data.population,
        validation=c.data.validation,
        test_n=dataset.test_n,
    )
    made = {}
    if c.splits.canaries:
        dataset, role_n, made["canary"] = planted(c, dataset, role_n)
        unit_n = data.units(dataset.x)
    x, pixels, moved = standardised(c, dataset.x, role_n, dataset.timed)
    check_roles(c, dataset, unit_n, role_n, made.get("canary"))
    for name, array in {"x": x, "y": dataset.y, "role": role_n, "unit": unit_n, **made}.items():
        write_array(path / f"{name}.npy", array)
    return {
        "source": dataset.source,
        "class_names": dataset.class_names,
        "features": dataset.features,
        "pixels": pixels,
        **moved,
        "range": [0.0, 1.0] if pixels else [float(x.min()), float(x.max())],
        "shape": dataset.shape,
        "timed": dataset.timed,
        "sha256": dataset.sha256,
        "duplicates": duplicates,
    }


def planted(c: Config, dataset: data.Dataset, role_n: np.ndarray) -> tuple[data.Dataset, np.ndarray, np.ndarray]:
    """(the data set with its canaries and its poison, role_n, canary_n), see `canaries.plant`."""
    made = canaries.plant(
        jax.random.fold_in(jax.random.key(c.splits.seed), 2), dataset.x, dataset.y, role_n, len(dataset.class_names),
        count=c.splits.canaries, natural=c.splits.natural_rows, kind=c.splits.canary_kind, poison=c.splits.poison,
    )  # fmt: skip
    return dataclasses.replace(dataset, x=made.x, y=made.y, test_n=None), made.role_n, made.canary_n


def check_roles(
    c: Config, dataset: data.Dataset, unit_n: np.ndarray, role_n: np.ndarray, canary_n: np.ndarray | None = None
) -> None:
    """ValueError where a role has no row, a class no row that trains, or a split cannot be made."""
    candidate_n, name = role_n == splits.CANDIDATE, c.data.name
    population = np.sum(role_n == splits.POPULATION)
    if not candidate_n.any() or (c.data.population and not population):
        raise ValueError(
            f"{name} has {len(role_n)} rows: population={c.data.population} and validation={c.data.validation} leave "
            f"{np.sum(candidate_n)} candidates and {population} of population."
        )
    absent = set(range(len(dataset.class_names))) - set(dataset.y[candidate_n | (role_n == splits.ALWAYS)].tolist())
    if absent:
        remedy = "Set data.rows higher." if c.data.rows else "Merge or drop them."
        raise ValueError(f"{name}: classes {sorted(absent)} have no candidate. {remedy}")
    canary_n = None if canary_n is None else canary_n[candidate_n]
    make_keep(c, dataset.y[candidate_n], unit_n[candidate_n], canary_n)


def chosen_rows(c: Config) -> tuple[data.Dataset, np.ndarray, int]:
    """(the data set, or `data.rows` of its examples at random, in their order, without exact duplicates where they are
    to be dropped; unit_n of what is left, see `data.units`; how many duplicates there are)."""
    dataset = data.load(c.data.name, c.data.dir, c.data.layout)
    if 0 < c.data.rows < len(dataset.x):
        rng = np.random.default_rng(c.splits.seed)
        dataset = rows_at(dataset, np.sort(rng.choice(len(dataset.x), c.data.rows, replace=False)))
    unit_n, grouped = data.units(dataset.x), c.splits.unit == "group"
    if grouped and dataset.group_n is None:
        raise ValueError(
            f"`splits.unit` must be 'example' for {c.data.name}, whose examples have no groups, got 'group'."
        )
    first = np.sort(np.unique(unit_n, return_index=True)[1])
    duplicates = len(dataset.x) - len(first)
    if duplicates and c.data.duplicates == "drop":
        dataset, unit_n = rows_at(dataset, first), unit_n[first]
    if grouped:
        assert dataset.group_n is not None
        unit_n = data.united(unit_n, dataset.group_n)
        dataset = dataclasses.replace(dataset, test_n=None)
    return dataset, unit_n, duplicates


def rows_at(dataset: data.Dataset, at: np.ndarray) -> data.Dataset:
    test_n = None if dataset.test_n is None else dataset.test_n[at]
    group_n = None if dataset.group_n is None else dataset.group_n[at]
    return dataclasses.replace(dataset, x=dataset.x[at], y=dataset.y[at], test_n=test_n, group_n=group_n)


def standardised(
    c: Config, x: np.ndarray, role_n: np.ndarray, timed: bool
) -> tuple[np.ndarray, list[list[float]] | None, dict[str, list[float]]]:
    """(x float32 by `data.standardise`, None, its "shift" and "scale" where they are the same for all); or, for uint8
    images and events, (x as it is, [a, b], {}): a step sees (x - a) / b, a and b for each channel.

    Floats are moved in float64 and cast last. Columns of a table have a shift and a scale each; pictures and series
    share them over pixels and steps.
    """
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
    over = tuple(range(max(x.ndim - 1, 1)))
    if how == "dataset":
        shift, scale = mean_and_deviation(public, over)
    elif how == "range":
        shift = public.min(over).astype(np.float64)
        scale = public.max(over) - shift
    elif how == "per_shadow":  # each model moves it further; in float32 large numbers of small spread would be equal
        shift, scale = mean_and_deviation(x, over)
    else:
        return in_float32(c, x), None, {}
    largest = np.maximum(np.abs(x.min(over)), np.abs(x.max(over)))
    scale = np.where(scale > ROUNDING * largest, scale, 1.0)
    moved = np.empty(x.shape, np.float32)
    for rows in np.array_split(np.arange(len(x)), -(-x.size // BLOCK)):
        moved[rows] = in_float32(c, (x[rows] - shift) / scale)
    moved = np.clip(moved, 0, 1, out=moved) if how == "range" else moved
    return moved, None, {"shift": shift.tolist(), "scale": scale.tolist()}


def mean_and_deviation(x: np.ndarray, over: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    return x.mean(over, dtype=np.float64), x.std(over, dtype=np.float64)


def in_float32(c: Config, x: np.ndarray) -> np.ndarray:
    """x float32; ValueError for rows that it cannot hold."""
    with np.errstate(over="ignore"):
        narrow = x.astype(np.float32)
    finite_n = np.isfinite(narrow.reshape(len(narrow), -1)).all(1)
    if not finite_n.all():
        raise ValueError(
            f"{c.data.name}: {np.sum(~finite_n)} rows are not finite in float32 (the first is row "
            f"{np.flatnonzero(~finite_n)[0]}). Rescale them, or set data.standardise=dataset."
        )
    return narrow
