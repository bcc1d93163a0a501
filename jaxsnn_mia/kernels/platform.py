"""The platform that programs are made for: that of the default device, or one that is not here."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import jax

PLATFORMS = ("cpu", "gpu", "tpu")
ABSENT: ContextVar[str | None] = ContextVar("ABSENT", default=None)


def platform() -> str:
    """One of `PLATFORMS`."""
    return ABSENT.get() or jax.default_backend()


def is_here() -> bool:
    """Whether the programs made now can run on this machine's default device."""
    return ABSENT.get() is None


@contextlib.contextmanager
def made_for(name: str) -> Iterator[None]:
    """Programs that are traced inside are those of a platform that need not be here. They can be compiled ahead of time
    and are not run. JAX's caches are emptied, since they do not know the platform.

    Raises:
      ValueError: a name that is not in `PLATFORMS`.
    """
    if name not in PLATFORMS:
        raise ValueError(f"the platform must be one of {PLATFORMS}, got {name!r}.")
    jax.clear_caches()
    before = ABSENT.set(name)
    try:
        yield
    finally:
        ABSENT.reset(before)
        jax.clear_caches()
