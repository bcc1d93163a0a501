"""Spike functions: a Heaviside step forward, a surrogate derivative backward.

``spike = arctan(alpha=2.0)`` makes a `Surrogate`; ``spike(x)`` with x = membrane - threshold is 0 or 1
in the shape and dtype of x. Its parameters are leaves of a pytree and operands of the custom_vjp, so they
may be traced (one slope per model under vmap, inside scan and grad). Their own cotangent is zero.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

Derivative = Callable[[jax.Array, Mapping[str, jax.Array]], jax.Array]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["params"],
    meta_fields=["name", "derivative", "at_zero"],
)
@dataclasses.dataclass(frozen=True)
class Surrogate:
    """A spike function: `derivative(x, params)` multiplies the cotangent, H(0) is `at_zero` (0, 0.5 or 1)."""

    params: Mapping[str, Any]
    name: str
    derivative: Derivative
    at_zero: float = 0.0

    def __call__(self, x: jax.Array) -> jax.Array:
        """Spikes 0 or 1 [...], in the dtype of x = membrane - threshold [...] (any floating dtype)."""
        return _spike(self.derivative, self.at_zero, x, dict(self.params))


def heaviside(x: jax.Array, at_zero: float) -> jax.Array:
    """1 where x > 0, `at_zero` where x = 0, otherwise 0; dtype of x."""
    if at_zero == 0.0:
        return (x > 0).astype(x.dtype)
    if at_zero == 1.0:
        return (x >= 0).astype(x.dtype)
    return jnp.where(x == 0, jnp.asarray(at_zero, x.dtype), (x > 0).astype(x.dtype))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _spike(derivative, at_zero, x, params):
    return heaviside(x, at_zero)


def _forward(derivative, at_zero, x, params):
    return heaviside(x, at_zero), (x, params)


def _backward(derivative, at_zero, saved, cotangent):
    x, params = saved
    return (cotangent * slope_at(derivative, x, params)).astype(x.dtype), None


def slope_at(derivative: Derivative, x: jax.Array, params: Mapping[str, Any]) -> jax.Array:
    """The surrogate derivative at x, computed in float32 or wider and returned in the dtype of x."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    params = {name: jnp.asarray(value, wide) for name, value in params.items()}
    return derivative(x.astype(wide), params).astype(x.dtype)


_spike.defvjp(_forward, _backward)


def _arctan(x, p):
    return (p["alpha"] / 2) / (1 + (jnp.pi / 2 * p["alpha"] * x) ** 2)


def arctan(alpha: Any = 2.0, *, at_zero: float = 0.0) -> Surrogate:
    """(a/2) / (1 + (pi a x / 2)^2); peak a/2 at 0. Fang et al. 2021 (ICCV), eq. 10; snnTorch's ATan."""
    return Surrogate({"alpha": alpha}, "arctan", _arctan, at_zero)


SURROGATES: dict[str, Callable[..., Surrogate]] = {"arctan": arctan}


def default_slope(name: str) -> float:
    """The default of a surrogate's first parameter, its slope; 1.0 where it has none."""
    first = next(iter(inspect.signature(SURROGATES[name]).parameters.values()))
    return 1.0 if first.kind is first.KEYWORD_ONLY else float(first.default)


def with_slope(name: str, slope: Any, *, at_zero: float = 0.0) -> Surrogate:
    """The named surrogate with its first parameter set to `slope`, which may be traced.

    Raises ValueError for a name that is not in `SURROGATES`.
    """
    if name not in SURROGATES:
        raise ValueError(f"`surrogate` must be one of {sorted(SURROGATES)}, got {name!r}.")
    first = next(iter(inspect.signature(SURROGATES[name]).parameters.values()))
    return SURROGATES[name](*([] if first.kind is first.KEYWORD_ONLY else [slope]), at_zero=at_zero)
