"""Spike functions: a Heaviside step forward, a surrogate derivative backward.

``spike = arctan(alpha=2.0)`` makes a `Surrogate`; ``spike(x)`` with x = membrane - threshold is 0 or 1
in the shape and dtype of x. Its parameters are leaves of a pytree and operands of the custom derivative, so they
may be traced (one slope per model under vmap, inside scan and grad). Their own cotangent is zero.

Every factory takes `scale`, which multiplies the derivative (libraries differ in it, and it acts like a learning
rate), and `at_zero`, the spike at x = 0 (0 in snnTorch, Spyx and Norse, 1 in SpikingJelly). The formula in each
docstring is the derivative at x.
"""

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxsnn_mia.kernels.numerics import floating

Derivative = Callable[..., jax.Array]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["params"],
    meta_fields=["name", "derivative", "at_zero", "stochastic", "reverse"],
)
@dataclasses.dataclass(frozen=True)
class Surrogate:
    """A spike function. `derivative(x, **params)` multiplies the cotangent; a stochastic one is
    `derivative(x, spikes, uniform, **params)` with uniform draws in [0, 1) of the shape of x.

    It is differentiated in forward and in reverse mode; with `reverse` in the latter alone, where the derivative is not
    computed before the backward (what the fused neurons take). Two with the same parameters are equal and hash alike,
    unless a parameter is an array.
    """

    params: Mapping[str, Any]
    name: str
    derivative: Derivative
    at_zero: float = 0.0
    stochastic: bool = False
    reverse: bool = False

    def __hash__(self) -> int:
        params = tuple(sorted(self.params.items()))
        return hash((self.name, self.derivative, self.at_zero, self.stochastic, self.reverse, params))

    def __call__(self, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Spikes 0 or 1 [...], in the dtype of x = membrane - threshold [...] (any floating dtype; integers count as
        float32).

        `key` is a typed key, one per model, layer and step; only stochastic surrogates use it, in the derivative.
        """
        if self.stochastic and key is None:
            raise ValueError(f"`{self.name}` draws in its backward: pass key=, one per model, layer and step.")
        rule = (self.derivative, self.at_zero, self.stochastic)
        return (_spike_in_reverse if self.reverse else _spike)(rule, floating(x), dict(self.params), key)


def heaviside(x: jax.Array, at_zero: float = 0.0) -> jax.Array:
    """1 where x > 0, `at_zero` where x = 0, otherwise 0; dtype of x."""
    if at_zero == 0.0:
        return (x > 0).astype(x.dtype)
    if at_zero == 1.0:
        return (x >= 0).astype(x.dtype)
    return jnp.where(x == 0, jnp.asarray(at_zero, x.dtype), (x > 0).astype(x.dtype))


def slope_at(rule, x, params, key):
    """The surrogate derivative at x, in its dtype, computed in float32 or wider."""
    derivative, at_zero, stochastic = rule
    wide = x.dtype if x.dtype.itemsize >= 4 else jnp.dtype(jnp.float32)
    params = {name: jnp.asarray(value, wide) for name, value in params.items()}
    scale = params.pop("scale")
    drawn = (heaviside(x, at_zero).astype(wide), jax.random.uniform(key, x.shape, wide)) if stochastic else ()
    return (scale * derivative(x.astype(wide), *drawn, **params)).astype(x.dtype)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _spike(rule, x, params, key):
    return heaviside(x, rule[1])


@_spike.defjvp
def _spike_tangent(rule, primals, tangents):
    x, params, key = primals
    return heaviside(x, rule[1]), tangents[0] * slope_at(rule, x, params, key)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _spike_in_reverse(rule, x, params, key):
    return heaviside(x, rule[1])


def _spike_forward(rule, x, params, key):
    return heaviside(x, rule[1]), (x, params, key)


def _spike_backward(rule, saved, cotangent):
    return (cotangent * slope_at(rule, *saved)).astype(saved[0].dtype), None, None


_spike_in_reverse.defvjp(_spike_forward, _spike_backward)


def custom(
    derivative: Derivative,
    *,
    name: str = "custom",
    scale: Any = 1.0,
    at_zero: float = 0.0,
    stochastic: bool = False,
    **params: Any,
) -> Surrogate:
    """A spike function with the caller's own derivative(x, **params), which is float32 or wider. Pass what may be
    traced as a parameter, never by closure."""
    return Surrogate({"scale": scale, **params}, name, derivative, at_zero, stochastic)


def arctan(alpha: Any = 2.0, **options: Any) -> Surrogate:
    """(a/2) / (1 + (pi a x / 2)^2). Fang et al. 2021 (arXiv 2007.05785); snnTorch's and SpikingJelly's ATan.
    Spyx's arctan(k) is alpha=2k, scale=1/(pi k)."""
    return custom(_arctan, name="arctan", alpha=alpha, **options)


def _arctan(x, alpha):
    return (alpha / 2) / (1 + (jnp.pi / 2 * alpha * x) ** 2)


def fast_sigmoid(slope: Any = 25.0, **options: Any) -> Surrogate:
    """1 / (1 + k |x|)^2. Zenke and Ganguli 2018 (arXiv 1705.11146), SuperSpike. SpikingJelly's SuperSpike(a) is
    slope=1, scale=a; its SoftSign(a) slope=a, scale=a/2."""
    return custom(_fast_sigmoid, name="fast_sigmoid", slope=slope, **options)


def _fast_sigmoid(x, slope):
    return 1 / (1 + slope * jnp.abs(x)) ** 2


def sigmoid(slope: Any = 25.0, **options: Any) -> Surrogate:
    """k s(k x) s(-k x), s the logistic function. Neftci et al. 2019 (arXiv 1901.09948); finite for every x,
    where snnTorch's is NaN below -3.42."""
    return custom(_sigmoid, name="sigmoid", slope=slope, **options)


def _sigmoid(x, slope):
    return slope * jax.nn.sigmoid(slope * x) * jax.nn.sigmoid(-slope * x)


def spike_rate_escape(slope: Any = 25.0, beta: Any = 1.0, **options: Any) -> Surrogate:
    """k exp(-b |x|), peak at the threshold. Shrestha and Orchard 2018 (arXiv 1810.08646)."""
    return custom(_escape, name="spike_rate_escape", slope=slope, beta=beta, **options)


def _escape(x, slope, beta):
    return slope * jnp.exp(-beta * jnp.abs(x))


def spike_rate_escape_snntorch(slope: Any = 25.0, beta: Any = 1.0, **options: Any) -> Surrogate:
    """k exp(-b |x - 1|), as snnTorch 1.0 computes it: the threshold is taken off twice, so it peaks a unit above."""
    return custom(_escape_shifted, name="spike_rate_escape_snntorch", slope=slope, beta=beta, **options)


def _escape_shifted(x, slope, beta):
    return _escape(x - 1, slope, beta)


def stochastic_spike(variance: Any = 0.2, mean: Any = 0.0, **options: Any) -> Surrogate:
    """1 where it spiked, else (U - 0.5 + mean) * variance with U uniform in [0, 1), drawn in the backward. snnTorch's
    stochastic spike operator; its "variance" is a width, the true variance is width^2 / 12."""
    return custom(_stochastic, name="stochastic_spike", stochastic=True, variance=variance, mean=mean, **options)


def _stochastic(x, spikes, uniform, variance, mean):
    return jnp.where(spikes > 0, 1.0, (uniform - 0.5 + mean) * variance)


def leaky_spike(slope: Any = 0.1, **options: Any) -> Surrogate:
    """1 if x > 0 else k. snnTorch's leaky spike operator, which is unusable in its version 1.0."""
    return custom(_leaky, name="leaky_spike", slope=slope, **options)


def _leaky(x, slope):
    return jnp.where(x > 0, 1.0, slope)


def triangular(slope: Any = 2.0, **options: Any) -> Surrogate:
    """max(0, 1 - |k x|). Esser et al. 2016 (arXiv 1603.08270); Spyx's triangular."""
    return custom(_triangular, name="triangular", slope=slope, **options)


def _triangular(x, slope):
    return jnp.maximum(0.0, 1 - jnp.abs(slope * x))


def triangular_snntorch(threshold: Any = 1.0, **options: Any) -> Surrogate:
    """+threshold below, -threshold at and above x = 0: no triangle, but what snnTorch 1.0 computes."""
    return custom(_triangular_snntorch, name="triangular_snntorch", threshold=threshold, **options)


def _triangular_snntorch(x, threshold):
    return jnp.where(x < 0, threshold, -threshold)


def sparse_fast_sigmoid(slope: Any = 25.0, width: Any = 1.0, **options: Any) -> Surrogate:
    """fast_sigmoid where |x| < B, else 0. Perez-Nieves and Goodman 2021 (arXiv 2105.08810)."""
    return custom(_sparse, name="sparse_fast_sigmoid", slope=slope, width=width, **options)


def _sparse(x, slope, width):
    return jnp.where(jnp.abs(x) < width, _fast_sigmoid(x, slope), 0.0)


def sparse_fast_sigmoid_snntorch(slope: Any = 25.0, width: Any = 1.0, **options: Any) -> Surrogate:
    """fast_sigmoid where x > B, else 0, as snnTorch 1.0's SFS computes it: zero up to B above the threshold."""
    return custom(_sparse_snntorch, name="sparse_fast_sigmoid_snntorch", slope=slope, width=width, **options)


def _sparse_snntorch(x, slope, width):
    return jnp.where(x > width, _fast_sigmoid(x, slope), 0.0)


def straight_through(**options: Any) -> Surrogate:
    """1. Bengio et al. 2013 (arXiv 1308.3432)."""
    return custom(jnp.ones_like, name="straight_through", **options)


def boxcar(width: Any = 1.0, height: Any = 0.5, **options: Any) -> Surrogate:
    """h where |x| < w, else 0. Kaiser et al. 2020 (arXiv 1811.10766); the defaults are Spyx's. SpikingJelly's
    Rect(a) is width=1/(2a), height=a."""
    return custom(_boxcar, name="boxcar", width=width, height=height, **options)


def _boxcar(x, width, height):
    return jnp.where(jnp.abs(x) < width, height, 0.0)


def tanh(slope: Any = 1.0, **options: Any) -> Surrogate:
    """sech^2(k x). Spyx's tanh; Woźniak et al. 2020 (arXiv 1812.07040)."""
    return custom(_tanh, name="tanh", slope=slope, **options)


def _tanh(x, slope):
    return 1 - jnp.tanh(slope * x) ** 2


def erf(alpha: Any = 2.0, **options: Any) -> Surrogate:
    """(a / sqrt(pi)) exp(-a^2 x^2). Yin et al. 2020 (arXiv 2005.11633); SpikingJelly's Erf."""
    return custom(_erf, name="erf", alpha=alpha, **options)


def _erf(x, alpha):
    return alpha / jnp.sqrt(jnp.pi).astype(x.dtype) * jnp.exp(-((alpha * x) ** 2))


def piecewise_quadratic(alpha: Any = 1.0, **options: Any) -> Surrogate:
    """max(0, a - a^2 |x|). Wu et al. 2018 (arXiv 1706.02609); SpikingJelly's PiecewiseQuadratic."""
    return custom(_piecewise_quadratic, name="piecewise_quadratic", alpha=alpha, **options)


def _piecewise_quadratic(x, alpha):
    return jnp.maximum(0.0, alpha - alpha**2 * jnp.abs(x))


def piecewise_exp(alpha: Any = 1.0, **options: Any) -> Surrogate:
    """(a/2) exp(-a |x|). Neftci et al. 2019 (arXiv 1901.09948); SpikingJelly's PiecewiseExp."""
    return custom(_piecewise_exp, name="piecewise_exp", alpha=alpha, **options)


def _piecewise_exp(x, alpha):
    return alpha / 2 * jnp.exp(-alpha * jnp.abs(x))


def multi_gaussian(sigma: Any = 0.5, gamma: Any = 0.5, h: Any = 0.15, **options: Any) -> Surrogate:
    """g [(1 + h) N(x; 0, s) - h N(x; s, 6s) - h N(x; -s, 6s)], N the normal density with that mean and standard
    deviation. Yin et al. 2021 (arXiv 2103.12593); libraries differ in the defaults."""
    return custom(_multi_gaussian, name="multi_gaussian", sigma=sigma, gamma=gamma, h=h, **options)


def _multi_gaussian(x, sigma, gamma, h):
    def density(mean, deviation):
        z = (x - mean) / deviation
        return jnp.exp(-0.5 * z * z) / (deviation * jnp.sqrt(2 * jnp.pi).astype(x.dtype))

    return gamma * ((1 + h) * density(0.0, sigma) - h * density(sigma, 6 * sigma) - h * density(-sigma, 6 * sigma))


SURROGATES: dict[str, Callable[..., Surrogate]] = {
    factory.__name__: factory
    for factory in (
        arctan, fast_sigmoid, sigmoid, spike_rate_escape, spike_rate_escape_snntorch, stochastic_spike, leaky_spike,
        triangular, triangular_snntorch, sparse_fast_sigmoid, sparse_fast_sigmoid_snntorch, straight_through, boxcar,
        tanh, erf, piecewise_quadratic, piecewise_exp, multi_gaussian,
    )
}  # fmt: skip


def named(name: str) -> Surrogate:
    """The surrogate of a name with its defaults. ValueError for an unknown one, with the nearest known one."""
    if name not in SURROGATES:
        near = difflib.get_close_matches(name, SURROGATES, 1)
        hint = f'Did you mean "{near[0]}"?' if near else f"Known: {', '.join(SURROGATES)}."
        raise ValueError(f"`spike` must be a surrogate or the name of one, got {name!r}. {hint}")
    return SURROGATES[name]()


def slope_name(factory: Callable[..., Surrogate]) -> str:
    """The first parameter of a factory, its slope or width; "scale" where it has no other."""
    first = next(iter(inspect.signature(factory).parameters.values()))
    return "scale" if first.kind is first.VAR_KEYWORD else first.name


def default_slope(factory: Callable[..., Surrogate]) -> float:
    """The default of a factory's first parameter."""
    return float(factory().params[slope_name(factory)])


def with_slope(factory: Callable[..., Surrogate], slope: Any, *, at_zero: float = 0.0) -> Surrogate:
    """The surrogate of a factory with its first parameter set to `slope`, which may be traced."""
    return factory(**{slope_name(factory): slope}, at_zero=at_zero)
