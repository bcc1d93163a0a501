"""From flags to settings: a checked `Config` from nested mappings. Nothing below this module sees a ConfigDict."""

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from typing import Any

from jaxsnn_mia.attacks import ALIASES
from jaxsnn_mia.config.checks import check
from jaxsnn_mia.settings import Config

GONE = {"splits.scheme": "pairs"}  # settings that had one value: config.json of earlier runs has them


def smoke(settings: Any, mode: str, **changes: Any) -> Any:
    """A config file's ConfigDict as it is or, as `--config=FILE:smoke` asks, made small: 6 shadows, few replicates, and
    `changes`, in which `data__rows=600` stands for `data.rows`."""
    if mode not in ("", "smoke"):
        raise ValueError(f"what follows the config file must be ':smoke' or nothing, got {mode!r}.")
    if mode == "smoke":
        small = {"splits__n_shadows": 6, "metrics__replicates_auc": 50, "metrics__replicates_tpr": 20, **changes}
        settings.update_from_flattened_dict({name.replace("__", "."): value for name, value in small.items()})
    return settings


def from_dict(values: Mapping[str, Any]) -> Config:
    """A checked Config from nested mappings, such as a ConfigDict.

    Raises ValueError for an unknown name (with the nearest known one), a value of the wrong type, or one out of
    range.
    """
    return check(section(Config, values, ""))


# what other programs call a setting
CALLED = {
    "learning_rate": "train.lr", "num_epochs": "train.epochs", "epoch": "train.epochs", "batch": "train.batch_size",
    "num_shadows": "splits.n_shadows", "shadows": "splits.n_shadows", "timesteps": "model.time_steps",
    "num_steps": "model.time_steps", "T": "model.time_steps", "dataset": "data.name", "num_bits": "quantization.bits",
    "hidden_size": "model.hidden", "tau": "model.beta", "v_threshold": "model.threshold", "attack": "attacks.names",
}  # fmt: skip


def names() -> list[str]:
    """Every setting, "section.field"."""
    hints = typing.get_type_hints(Config)
    return [f"{name}.{field.name}" for name, kind in hints.items() for field in dataclasses.fields(kind)]


def is_known(name: str) -> bool:
    return name in names() or name in typing.get_type_hints(Config)


def unknown(name: str) -> str:
    """What to say of a setting that is not there: what may have been meant, or the known ones of its section."""
    sections = typing.get_type_hints(Config)
    head, _, last = name.rpartition(".")
    within = [field.name for field in dataclasses.fields(sections[head])] if head in sections else []
    meant = CALLED.get(last) or nearest(last, {field: f"{head}.{field}" for field in within})
    if not within and not meant:
        by_field = {known.rpartition(".")[2]: known for known in names() if not known.startswith("sweep.")}
        meant = nearest(last, {section: section for section in sections}) or nearest(last, by_field)
    hint = f"did you mean `config.{meant}`?" if meant else f"known: {', '.join(within or sections)}."
    return f'unknown setting "{name}"; {hint}'


def as_text() -> str:
    """Every setting with its default, what it may be, and the axis of a sweep that varies it: one a line."""
    from jaxsnn_mia.config.fields import expected, known
    from jaxsnn_mia.config.sweep import SWEPT

    swept = {f"{section}.{field}": f"sweep.{axis}" for axis, (section, field) in SWEPT.items()}
    lines = [f"{'setting':30} {'default':28} {'swept by':22} may be"]
    for section, of in typing.get_type_hints(Config).items():
        for field in dataclasses.fields(of):
            name, limits = f"{section}.{field.name}", field.metadata.get("range")
            choices = known(field.metadata["choices"]) if "choices" in field.metadata else ()
            may_be = expected(limits) if limits else ", ".join(map(str, choices))
            lines.append(f"{name:30} {field.default!r:28.28} {swept.get(name, ''):22} {may_be}")
    return "\n".join(lines)


def setting_of(flag: str) -> str:
    """NAME of --config.NAME=VALUE; "" of any other flag."""
    name = flag.removeprefix("--").partition("=")[0]
    return name.removeprefix("config.") if name.startswith("config.") else ""


def listed(flag: str) -> str:
    """--config.sweep.surrogate=arctan,fast_sigmoid as the tuple of texts that it means, --config.quantization.bits=None
    as the width of float; another flag as it is."""
    head, _, value = flag.partition("=")
    if value == "None" and setting_of(flag) in WIDTHS:
        return f"{head}=32"
    if not value or value.startswith(("(", "[", "'", '"')) or not texts(setting_of(flag)):
        return flag
    return f"{head}={tuple(part.strip() for part in value.split(',') if part.strip())!r}"


WIDTHS = ("quantization.bits", "quantization.bits_activation", "quantization.bits_state")  # None: float


def texts(name: str) -> bool:
    """Whether a setting is a tuple of texts."""
    section, _, field = name.partition(".")
    of = typing.get_type_hints(Config).get(section)
    return of is not None and typing.get_type_hints(of).get(field) == tuple[str, ...]


def nearest(name: str, known: Mapping[str, str]) -> str:
    """The value of the key that is most alike; "" where none is."""
    near = difflib.get_close_matches(name, known, 1)
    return known[near[0]] if near else ""


def section(kind: type, values: Mapping[str, Any], prefix: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    values = {
        name: value for name, value in values.items() if prefix + name not in GONE or value != GONE[prefix + name]
    }
    for name in values:
        if name not in fields:
            raise ValueError(unknown(prefix + name))
    given = {name: cast(hints[name], value, prefix + name) for name, value in values.items()}
    if prefix == "attacks." and "names" in given:
        given["names"] = tuple(dict.fromkeys(ALIASES.get(name, name) for name in given["names"]))
    return kind(**given)


def cast(hint: Any, value: Any, name: str) -> Any:
    """`value` as the type of a field; lists and lone values become tuples where a tuple is wanted."""
    if dataclasses.is_dataclass(hint):
        return section(typing.cast(type, hint), value, f"{name}.")
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        values = value if isinstance(value, (tuple, list)) else (value,)
        return tuple(cast(inner, v, name) for v in values)
    if hint is float and type(value) is int:
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        wanted = getattr(hint, "__name__", str(hint))
        raise ValueError(f"`{name}` must be of type {wanted}, got {value!r}.")
    return value
