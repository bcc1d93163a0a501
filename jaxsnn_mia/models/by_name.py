"""Surrogates by name. Kernels and networks take functions: names end here."""

import inspect
from collections.abc import Callable

from jaxsnn_mia.kernels.surrogate import SURROGATES, Surrogate
from jaxsnn_mia.runtime.own_code import imported


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
    except (Exception, SystemExit) as error:
        remedy = "Its parameters have defaults, the slope is the first, and it passes `scale` and `at_zero` on."
        raise ValueError(f"`surrogate` {name!r} could not be made: {error!r}. {remedy}") from error
    if not isinstance(made, Surrogate):
        raise ValueError(f"`surrogate` {name!r} must give a Surrogate, got {type(made).__name__}. Return custom(...).")
    return factory
