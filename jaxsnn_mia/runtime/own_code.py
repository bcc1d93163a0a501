"""Code of the caller's own, named "package.module:NAME"."""

import importlib
from collections.abc import Collection
from typing import Any


def imported(setting: str, name: str, known: Collection[str], kind: str) -> Any:
    """What "package.module:NAME" names, a `kind` of the caller's own ("function", "Class").

    Raises ValueError for a name of another form, with the `known` ones that `setting` may have instead, and for what
    is not there.
    """
    module, colon, attribute = name.partition(":")
    remedy = f"Name an own one package.module:{kind}, with its folder in PYTHONPATH."
    if not colon:
        raise ValueError(f"`{setting}` must be one of {sorted(known)}, got {name!r}. {remedy}")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # a module runs what it likes when it is imported
        raise ValueError(f"`{setting}` {name!r} could not be found: {error!r}. {remedy}") from error
