"""What a kernel sees of its tile of neurons, and its walk through time."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import lax

AHEAD = 4  # time steps read before the first of them is used: loads in flight hide the latency of memory


class Tile(NamedTuple):
    """load(ref) and load(ref, t) give the tile's elements, an array of `shape`, or a scalar; store(ref, t or None,
    values) puts them back."""

    load: Callable[..., Any]
    store: Callable[..., None]
    shape: tuple[int, ...]


def walk(steps: int, look: Callable, step: Callable, carry: Any, *, reverse: bool) -> Any:
    """carry = step(t, carry, look(t)) for each t in order, or from the last to the first; looks are taken `AHEAD`."""
    whole = steps // AHEAD * AHEAD

    def several(first, size, carry):
        times = [first + k for k in range(size)]
        for t, seen in [(t, look(t)) for t in (times[::-1] if reverse else times)]:
            carry = step(t, carry, seen)
        return carry

    def blocks(carry):
        def block(i, carry):
            return several((whole // AHEAD - 1 - i if reverse else i) * AHEAD, AHEAD, carry)

        return lax.fori_loop(0, whole // AHEAD, block, carry)

    def rest(carry):
        return lax.fori_loop(0, 1, lambda i, carry: several(whole + i, steps - whole, carry), carry)

    return blocks(rest(carry)) if reverse else rest(blocks(carry))
