"""Surrogates and code of the caller's own, by name. Kernels and networks take functions: names end here."""

import importlib
import inspect
from collections.abc import Callable, Collection
from typing import Any

from jaxsnn_mia.kernels.surrogate import SURROGATES, Surrogate


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
    except (ImportError, AttributeError) as error:
        raise ValueError(f"`{setting}` {name!r} could not be found: {error!r}. {remedy}") from error


def surrogate(name: str) -> Callable[..., Surrogate]:
    """The factory of a name of `kernels.surrogate.SURROGATES`, or of "package.module:function" of the caller's own,
    which takes its parameters by name with defaults, the slope first, and passes `scale` and `at_zero` on to `custom`.

    Raises ValueError for a name that is neither.
    """
    if name in SURROGATES:
        return SURROGATES[name]
    factory = imported("surrogate", name, SURROGATES, "function")
    try:
        made = factory()
        if isinstance(made, Surrogate):
            first = next(iter(inspect.signature(factory).parameters))
            factory(**{first: made.params[first]}, at_zero=0.0)
    except (ImportError, AttributeError, TypeError, KeyError, StopIteration) as error:
        remedy = "Its parameters have defaults, the slope is the first, and it passes `scale` and `at_zero` on."
        raise ValueError(f"`surrogate` {name!r} could not be made: {error!r}. {remedy}") from error
    if not isinstance(made, Surrogate):
        raise ValueError(f"`surrogate` {name!r} must give a Surrogate, got {type(made).__name__}. Return custom(...).")
    return factory
