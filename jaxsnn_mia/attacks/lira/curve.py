"""Smooth curves over examples, one for each target: penalised linear splines (Eilers and Marx 1996)."""

import jax
import jax.numpy as jnp
import numpy as np

MOST_KNOTS = 16
EXAMPLES_PER_KNOT = 15


def knots(u_sn: np.ndarray) -> np.ndarray:
    """Knots [S, B] at equal shares of the values of each target: at most 16, at least 4, growing strictly."""
    size = int(np.clip(u_sn.shape[1] // EXAMPLES_PER_KNOT, 4, MOST_KNOTS))
    at = np.quantile(u_sn, np.linspace(0, 1, size), axis=1).T
    step = 1e-9 + 1e-9 * np.abs(at).max(1, keepdims=True)  # equal values, as of logits in steps, give equal quantiles
    return np.maximum.accumulate(at, axis=1) + step * np.arange(size)


def weights(u_sn: np.ndarray, knots_sb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the knot to the left of each value, the share [S, N] of the knot to its right); constant beyond the ends."""
    last = knots_sb.shape[1] - 2
    left = np.stack([np.clip(np.searchsorted(k, u) - 1, 0, last) for k, u in zip(knots_sb, u_sn, strict=True)])
    start, end = (np.take_along_axis(knots_sb, left + i, axis=1) for i in (0, 1))
    return left, np.clip((u_sn - start) / (end - start), 0.0, 1.0)


def fit(place: tuple, values_sn: np.ndarray, size: int, stiffness: float) -> np.ndarray:
    """Heights [S, B] at the knots: least squares of the values, with `stiffness` times squared second differences.

    place: `weights` of the values' abscissae. The penalty grows with the number of examples per knot.
    """
    left, right = place
    s, n = values_sn.shape
    rows = np.arange(s)[:, None] * size + left

    def summed(x_sn, offset=0):
        return np.bincount((rows + offset).ravel(), x_sn.ravel(), s * size)[: s * size].reshape(s, size)

    diagonal, above = np.arange(size), np.arange(size - 1)
    gram = np.zeros((s, size, size))
    gram[:, diagonal, diagonal] = summed((1 - right) ** 2) + summed(right**2, 1)
    gram[:, above, above + 1] = gram[:, above + 1, above] = summed(right * (1 - right))[:, :-1]
    bend = np.diff(np.eye(size), 2, axis=0)
    gram += n / size * (0.1 * stiffness * bend.T @ bend + 1e-6 * np.eye(size))
    moments = summed((1 - right) * values_sn) + summed(right * values_sn, 1)
    return np.linalg.solve(gram, moments[..., None])[..., 0]


def at(place: tuple, heights_sb: np.ndarray) -> np.ndarray:
    """The curve [S, N] at the values of `place`."""
    left, right = place
    low, high = (np.take_along_axis(heights_sb, left + i, axis=1) for i in (0, 1))
    return low * (1 - right) + high * right


def hinges(knots_sb: np.ndarray, heights_sb: np.ndarray) -> np.ndarray:
    """[S, B]: the height at the first knot, then the change of slope at each knot but the last, for `read`."""
    slope = np.diff(heights_sb, axis=1) / np.diff(knots_sb, axis=1)
    return np.concatenate([heights_sb[:, :1], slope[:, :1], np.diff(slope, axis=1)], axis=1)


def read(u_sn: jax.Array, knots_sb: jax.Array, curves: list[jax.Array]) -> list[jax.Array]:
    """The curves with these `hinges` at u. Sums of hinges need no gather, which costs most on a CPU."""
    u = jnp.clip(u_sn, knots_sb[:, :1], knots_sb[:, -1:])
    out = [h[:, :1] + jnp.zeros_like(u) for h in curves]
    for b in range(knots_sb.shape[1] - 1):
        above = jnp.maximum(u - knots_sb[:, b : b + 1], 0.0)
        out = [y + h[:, b + 1 : b + 2] * above for y, h in zip(out, curves, strict=True)]
    return out
