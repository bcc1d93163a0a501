"""Whether the data allows the settings: what only the data can tell, checked before anything is trained."""

from collections.abc import Sequence

from jaxsnn_mia import attacks, config, models, signals

NOISY = ("label_noise", "boundary")  # their noise is that of pixels or of standardised features


def check(
    c: config.Config, shape: Sequence[int], *, timed: bool, images: bool, n_classes: int,
    span: tuple[float, float] | None = None,
) -> None:  # fmt: skip
    """ValueError for settings that examples of this shape do not allow.

    timed: they are events [T, ...]; images: uint8 [H, W, channels]; span: the smallest and largest value that a model
    sees, where known.
    """
    wanted = {*attacks.signals_of(c.attacks.names), *c.signals.names}
    refused = sorted(wanted & {*signals.LONGER, *NOISY}) if timed else []
    shown = n_classes - 2  # what is left of one hidden class is known
    no_images = "no uint8 images"
    for ok, setting, value, expected, holds in (
        (images or c.data.augment == "none", "data.augment", c.data.augment, "'none'", no_images),
        (images or c.signals.queries == 1, "signals.queries", c.signals.queries, "1", no_images),
        (
            images or (timed and len(shape) == 4) or c.model.architecture not in models.ON_IMAGES,
            "model.architecture", c.model.architecture, "'dense' or 'recurrent'", no_images,
        ),
        (not timed or c.model.encoding == "direct", "model.encoding", c.model.encoding, "'direct'", "events"),
        (
            not timed or c.model.time_steps == shape[0],
            "model.time_steps", c.model.time_steps, str(shape[0]), "so many steps",
        ),
        (
            c.defence.top_k <= max(shown, 0),
            "defence.top_k", c.defence.top_k, f"in [0, {max(shown, 0)}]", f"{n_classes} classes",
        ),
        (not refused, "signals.names", refused, f"without {refused}", "events: no more steps, no noise of pixels"),
    ):  # fmt: skip
        if not ok:
            raise ValueError(f"`{setting}` must be {expected} for {c.data.name}, which holds {holds}, got {value!r}.")
    if span and c.model.encoding != "direct" and not 0 <= span[0] <= span[1] <= 1:
        raise ValueError(
            f"`model.encoding`={c.model.encoding!r} needs inputs in [0, 1], got {span[0]:g} to {span[1]:g} for "
            f"{c.data.name}. Set --config.data.standardise=range."
        )
