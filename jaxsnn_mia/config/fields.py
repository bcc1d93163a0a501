"""What a single setting may be: the ranges and choices that stand with the fields of `settings`."""

import dataclasses
import difflib
from collections.abc import Collection
from typing import Any

from jaxsnn_mia import attacks, models
from jaxsnn_mia.attacks.attribute.scores import ATTRIBUTE_ATTACKS
from jaxsnn_mia.data import canaries, layout, splits
from jaxsnn_mia.kernels import neuron
from jaxsnn_mia.settings import Range
from jaxsnn_mia.signals import views
from jaxsnn_mia.training.spec import PRECISIONS

# lists that live on a floor below, by the names that the settings have for them
LISTS: dict[str, Collection] = {
    "attacks.ATTACKS": attacks.ATTACKS,
    "attacks.ATTRIBUTE_ATTACKS": ATTRIBUTE_ATTACKS,
    "canaries.KINDS": canaries.KINDS,
    "layout.LAYOUTS": layout.LAYOUTS,
    "models.ENCODINGS": models.ENCODINGS,
    "models.FAMILIES": models.FAMILIES,
    "models.LEARNED": models.LEARNED,
    "models.NEURONS": models.NEURONS,
    "models.NORMS": models.NORMS,
    "models.QUANTIZED": models.QUANTIZED,
    "models.READOUTS": models.READOUTS,
    "neuron.RESETS": neuron.RESETS,
    "splits.ROWS": splits.ROWS,
    "training.PRECISIONS": PRECISIONS,
    "views.QUERIES": views.QUERIES,
}


# lists beside which code of the caller's own may be named, and what checks it
OWN = {"attacks.ATTACKS": attacks.named}


def check_fields(section: Any, prefix: str) -> None:
    """ValueError for a setting of a section that is out of its range or none of its choices."""
    for field in dataclasses.fields(section):
        if not field.metadata:
            continue
        name, value = f"{prefix}.{field.name}", getattr(section, field.name)
        limits, of_field = field.metadata.get("range"), field.metadata.get("choices", ())
        choices, own = known(of_field), OWN.get(of_field[0]) if len(of_field) == 1 else None
        if field.metadata["some"]:
            what = f"of {sorted(choices)}" if choices else field.metadata["some"]
            require(len(value) > 0, name, f"one or more {what}", value)
        for one in value if isinstance(value, tuple) else (value,):
            if limits:
                require(holds(limits, one), name, expected(limits), one, limits.remedy)
            elif own and isinstance(one, str) and ":" in one:
                own(one)
            else:
                one_of(choices, name, one)


def known(choices: tuple[str, ...]) -> Collection:
    """The choices, or the list that a lone one names."""
    return LISTS[choices[0]] if len(choices) == 1 else choices


def holds(limits: Range, value: float) -> bool:
    """Whether a number is in a range; NaN and infinity never are."""
    if limits.also is not None and value == limits.also:
        return True
    return (
        (limits.least is None or value >= limits.least)
        and (limits.above is None or value > limits.above)
        and (limits.most is None or value <= limits.most)
        and (limits.below is None or value < limits.below)
        and value < float("inf")
        and (not limits.even or value % 2 == 0)
    )


def expected(limits: Range) -> str:
    """A range in words: "in [0, 1)", "at least 1", "finite and at least 0", ..."""
    opening, low = ("[", limits.least) if limits.above is None else ("(", limits.above)
    high, closing = (limits.most, "]") if limits.below is None else (limits.below, ")")
    if high is not None:
        text = f"in {opening}{low}, {high}{closing}"
    else:
        text = f"at least {low}" if limits.above is None else f"above {low}"
    if limits.finite:
        text = f"finite and {text}"
    if limits.even:
        text = f"even and {text}"
    if limits.also is not None:
        text = f"{limits.also} or {text}"
    return f"{text}, {limits.note}" if limits.note else text


def require(ok: bool, name: str, expected: str, value: Any, remedy: str = "") -> None:
    """ValueError with the setting's name, what was expected, what came, and what to do, unless `ok`."""
    if not ok:
        raise ValueError(f"`{name}` must be {expected}, got {value!r}. {remedy}".rstrip())


def one_of(choices: Collection, name: str, value: Any) -> None:
    """ValueError for a value that is none of the choices, with the nearest of them."""
    near = difflib.get_close_matches(value, list(choices), 1) if isinstance(value, str) else []
    remedy = f'Did you mean "{near[0]}"?' if near else ""
    require(value in choices, name, f"one of {sorted(choices)}", value, remedy)
