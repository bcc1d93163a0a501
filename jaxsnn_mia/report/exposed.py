"""The most exposed examples of a variant, shown as images or as rows of a table."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxsnn_mia.data.prepared import candidates
from jaxsnn_mia.metrics import exposure
from jaxsnn_mia.store.stage import read_manifest

SHOWN = 12
CELLS = 4  # columns of a row that are named
PIXEL = re.compile(r"pixel_(\d+)_(\d+)$")


class Exposed(NamedTuple):
    """An exposed example.

    Attributes:
      number: its place among the candidates.
      rank: its rank, 1 for the most exposed; those that the order cannot tell apart share one.
      tied: how many share its rank.
      label: the name of its class; "" where the data are not known.
      caught: the share, in [0, 1], of the models trained on it from which it is told; None where the FPR is not
        resolved.
      members: how many models were trained on it.
      auc: its AUC, see `exposure.per_example`.
      image: a PNG as a data URI, or "".
      row: in words, or "".
    """

    number: int
    rank: int
    tied: int
    label: str
    caught: float | None
    members: int
    auc: float
    image: str
    row: str


def most_exposed(examples: Mapping[str, np.ndarray], data: Path | None, count: int = SHOWN) -> list[Exposed]:
    """The `count` most exposed examples, by the share of models and then by AUC.

    Args:
      examples: the arrays of `rows.exposed_examples`, or none.
      data: the folder of the data stage; None where only outputs of the models are known.
    """
    if not examples:
        return []
    auc_n, caught_n = examples["auc"], np.nan_to_num(examples["caught"])
    order = np.flatnonzero(~np.isnan(auc_n))  # with one target, nothing is known of an example
    rank_n, tied_n = exposure.ranks(caught_n[order], auc_n[order])
    by_rank = np.argsort(rank_n, kind="stable")[:count]
    order, rank_n, tied_n = order[by_rank], rank_n[by_rank], tied_n[by_rank]
    looks = [("", "", "")] * len(order) if data is None else looks_of(order, data)
    shown = []
    for n, rank, tied, (label, image, row) in zip(order, rank_n.tolist(), tied_n.tolist(), looks, strict=True):
        caught = None if np.isnan(examples["caught"][n]) else float(caught_n[n])
        members = int(examples["members"][n])
        shown.append(Exposed(int(n), rank, tied, label, caught, members, float(auc_n[n]), image, row))
    return shown


def tie_in_words(examples: Sequence[Exposed]) -> str:
    """Says where the list breaks off among equals; "" where it does not."""
    last = examples[-1]
    there = sum(one.rank == last.rank for one in examples)
    if there == last.tied:
        return ""
    return f" {last.tied} examples share rank {last.rank}; the {there} of them with the lowest numbers are shown."


def looks_of(order: np.ndarray, data: Path) -> list[tuple[str, str, str]]:
    """(class, PNG as a data URI, words) of the candidates at `order`; a picture has no words."""
    x, y, _ = candidates(data)
    about = read_manifest(data)
    features = about.get("features", ())
    z, own = in_deviations(x, order), x[order]
    if "scale" in about:  # as the source has it
        own = own * np.float32(about["scale"]) + np.float32(about["shift"])
    looks = []
    for i, example in enumerate(own):
        label = str(about["class_names"][y[order[i]]])
        image = picture(example, features)
        if image is not None:
            looks.append((label, as_png(image), ""))
        else:
            looks.append((label, "", "" if z is None else in_words(z[i], features)))
    return looks


def picture(example: np.ndarray, features: Sequence[str] = ()) -> np.ndarray | None:
    """uint8 [H, W] or [H, W, 3] of an image, of a row whose columns are named pixel_ROW_COLUMN, or of events
    summed over time (or laid out over it); None for any other row."""
    places = [PIXEL.match(name) for name in features]
    if example.ndim == 1 and places and all(places):
        at = np.array([[int(part) for part in place.groups()] for place in places if place])
        image = np.zeros(at.max(0) + 1)
        image[tuple(at.T)] = example
        example = image
    elif example.ndim == 1:
        return None
    elif example.ndim == 4:
        example = example.astype(np.float64).sum(0)
    if example.dtype == np.uint8 and example.ndim == 3 and example.shape[-1] in (1, 3):
        return example.squeeze(-1) if example.shape[-1] == 1 else example
    if example.ndim == 3:
        example = example[..., :3]
        missing = 3 - example.shape[-1]
        example = example.squeeze(-1) if missing == 2 else np.pad(example, ((0, 0), (0, 0), (0, missing)))
    low, high = example.min(), example.max()
    return np.asarray(255 * (example - low) / max(high - low, 1e-9), np.uint8)


def as_png(image: np.ndarray) -> str:
    """A PNG as a data URI."""
    from matplotlib import image as files

    out = io.BytesIO()
    files.imsave(out, image, format="png", cmap="gray", vmin=0, vmax=255, metadata={"Software": ""})
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def in_deviations(x: np.ndarray, at: np.ndarray) -> np.ndarray | None:
    """float [len(at), D]: rows of a table in standard deviations from its mean; None for examples that are no rows."""
    if x.ndim != 2:
        return None
    deviation = x.std(0)
    return (x[at] - x.mean(0)) / np.where(deviation > 0, deviation, 1)


def in_words(z_d: np.ndarray, features: Sequence[str] = ()) -> str:
    """The columns in which a row is furthest from the mean of all rows, in standard deviations."""
    furthest = np.argsort(-np.abs(z_d), kind="stable")[:CELLS]
    return ", ".join(f"{features[d] if features else f'column {d}'} {z_d[d]:+.1f} sd" for d in furthest)


def as_rows(exposed: Mapping[str, Sequence[Exposed]]) -> list[dict[str, Any]]:
    """The examples of all variants as rows for the download, without their images."""
    rows = []
    for variant, examples in exposed.items():
        for example in examples:
            row = {"variant": variant, **example._asdict()}
            del row["image"]
            rows.append(row)
    return rows
