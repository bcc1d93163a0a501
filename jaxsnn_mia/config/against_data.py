"""Whether the data allows the settings: what only the data can tell, checked before anything is trained."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxsnn_mia import attacks, models
from jaxsnn_mia.attacks.attribute import columns
from jaxsnn_mia.reconstruction import inversion
from jaxsnn_mia.settings import Config
from jaxsnn_mia.signals import catalogue

NOISY = ("label_noise", "boundary", "survival")  # their noise is that of pixels or of standardised features


def check(
    c: Config, shape: Sequence[int], *, timed: bool, images: bool, n_classes: int,
    span: tuple[float, float] | None = None,
) -> None:  # fmt: skip
    """ValueError for settings that examples of this shape do not allow.

    timed: they are events [T, ...]; images: uint8 [H, W, channels]; span: the smallest and largest value that a model
    sees, where known.
    """

    def require(ok: bool, setting: str, value: Any, expected: str, holds: str) -> None:
        if not ok:
            raise ValueError(f"`{setting}` must be {expected} for {c.data.name}, which holds {holds}, got {value!r}.")

    d, m = c.data, c.model
    if not images:
        require(d.augment == "none", "data.augment", d.augment, "'none'", "no uint8 images")
        require(c.signals.queries == 1, "signals.queries", c.signals.queries, "1", "no uint8 images")
        pictures = len(shape) == 4 if timed else len(shape) == 3
        tables = "'dense' or 'recurrent'"
        require(
            pictures or m.architecture not in models.ON_IMAGES,
            "model.architecture", m.architecture, tables, "no pictures",
        )  # fmt: skip
    if timed:
        require(m.encoding == "direct", "model.encoding", m.encoding, "'direct'", "events")
        require(m.time_steps == shape[0], "model.time_steps", m.time_steps, str(shape[0]), "so many steps")
    most_shown = max(n_classes - 2, 0)  # what is left of one hidden class is known
    shown = c.defence.top_k
    require(shown <= most_shown, "defence.top_k", shown, f"in [0, {most_shown}]", f"{n_classes} classes")
    if timed:
        wanted = {*attacks.signals_of(c.attacks.names), *c.signals.names}
        refused = sorted(wanted & {*catalogue.LONGER, *NOISY})
        why = "events: no more steps, no noise of pixels"
        require(not refused, "signals.names", refused, f"without {refused}", why)
    if span and c.model.encoding != "direct" and not 0 <= span[0] <= span[1] <= 1:
        raise ValueError(
            f"`model.encoding`={c.model.encoding!r} needs inputs in [0, 1], got {span[0]:g} to {span[1]:g} for "
            f"{c.data.name}. Set --config.data.standardise=range."
        )


def check_inversion(c: Config, shape: Sequence[int], *, timed: bool, n_classes: int) -> None:
    """ValueError for inversions that the data or the network does not allow, before anything is trained."""
    if not c.inversion.names:
        return
    gradient = set(c.inversion.names) - {"black"}
    if c.defence.on:
        raise ValueError(
            f"`inversion.names` must be empty where answers are defended (`defence`), got {c.inversion.names}: "
            "reconstruction under a defence is not built. Run it without one."
        )
    clients = sorted(gradient & {"gradients", "gradients_layer", "gradients_ratio"})
    if clients and c.model.encoding != "direct":
        raise ValueError(f"`model.encoding` must be 'direct' for inversion.names={clients}, got {c.model.encoding!r}.")
    if timed:
        raise ValueError(f"`inversion.names` must be empty for events, got {c.inversion.names}.")
    if gradient:
        try:
            inversion.check_differentiable(c.model.encoding)
        except ValueError as error:
            raise ValueError(f"`inversion.names`={sorted(gradient)} and `model.encoding`: {error}") from None
    if "spikes" in c.inversion.names and (c.model.family == "ann" or c.model.encoding != "rate"):
        raise ValueError(
            "`inversion.names` must be without 'spikes' for an ANN or an input that is not spikes, got "
            f"model.family={c.model.family!r}, model.encoding={c.model.encoding!r}. Set model.encoding=rate."
        )
    of_layer = sorted(gradient & {"gradients_layer", "gradients_ratio"})
    if of_layer and (
        c.model.architecture != "dense"
        or c.model.encoding != "direct"
        or c.data.standardise == "per_shadow"
        or len(shape) > 1
    ):
        raise ValueError(
            f"`inversion.names` must be without {of_layer} where the first layer is not a dense one on the table "
            f"itself, got model.architecture={c.model.architecture!r}, model.encoding={c.model.encoding!r}, "
            f"data.standardise={c.data.standardise!r}, examples {list(shape)}."
        )
    if c.inversion.keep > n_classes:
        raise ValueError(f"`inversion.keep` must be in [0, {n_classes}], the classes, got {c.inversion.keep}.")
    image, size = image_of(c, shape), math.prod(shape)
    if image is None and (c.inversion.tv or c.inversion.process_every):
        raise ValueError(
            "image shape missing: `inversion.tv` and `process_every` see the neighbours of a pixel. Set "
            "inversion.image=(H,W,channels)."
        )
    if image is not None and (len(image) != 3 or math.prod(image) != size):
        raise ValueError(f"`inversion.image` must be (H, W, channels) of {size} features, got {image}.")


def image_of(c: Config, shape: Sequence[int]) -> tuple[int, int, int] | None:
    """(H, W, channels) of an example, where it is an image."""
    if c.inversion.image:
        return c.inversion.image  # type: ignore[return-value]
    return tuple(shape) if len(shape) == 3 else None  # type: ignore[return-value]


def column_index(c: Config, features: Sequence[str], shape: Sequence[int]) -> int:
    """The place of `attribute.column` in a table [N, D]. ValueError where it is not one."""
    given = c.attribute.column
    if len(shape) != 1:
        raise ValueError(f"`attribute.names` must be empty for {c.data.name}: its examples {list(shape)} are no rows.")
    if given in features:
        return list(features).index(given)
    if given.isdecimal() and int(given) < shape[0]:
        return int(given)
    known = f"one of {', '.join(features)}, or " if features else ""
    raise ValueError(f"`attribute.column` must be {known}a number in [0, {shape[0]}) for {c.data.name}, got {given!r}.")


def check_column(c: Config, features: Sequence[str], x: np.ndarray) -> None:
    """ValueError for a column that is not there, constant, or continuous without bins."""
    if not c.attribute.names:
        return
    index = column_index(c, features, x.shape[1:])
    try:
        columns.column(x[:, index], c.attribute.bins)
    except ValueError as error:
        raise ValueError(f"`attribute.column`={c.attribute.column!r} of {c.data.name}: {error}") from None
