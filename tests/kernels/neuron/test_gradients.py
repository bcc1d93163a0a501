"""Gradients against a slow loop in float64 that carries its derivatives along, one neuron at a time: the definition,
with no reverse pass to share a mistake with."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from jaxsnn_mia.kernels import neuron, surrogate

LONG = pytest.mark.long
STEPS, ALPHA = 12, 2.0
CURRENT = np.random.default_rng(3).normal(0.4, 0.8, (STEPS, 2, 3)).astype(np.float32)
WEIGHT = np.linspace(0.1, 1, STEPS)
PRESETS = {name: p for name, p in neuron.PRESETS.items() if name != "norse"}
CASES = [(name, reset) for name in PRESETS for reset in neuron.RESETS]
TOLERANCE = {jnp.float32: (1e-6, 1e-5, 1e-5), jnp.float16: (2e-3, 2e-2, 2e-2), jnp.bfloat16: (1.6e-2, 0.16, 0.16)}


class Dual:
    """A float64 number and its derivatives by the T currents, beta and the threshold."""

    def __init__(self, value, slope=0.0):
        self.value, self.slope = value, slope + np.zeros(STEPS + 2)

    def __add__(self, other):
        other = dual(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other):
        other = dual(other)
        return Dual(self.value * other.value, self.slope * other.value + self.value * other.slope)

    def __sub__(self, other):
        return self + dual(other) * -1.0

    __radd__, __rmul__ = __add__, __mul__


def dual(x):
    return x if isinstance(x, Dual) else Dual(x)


def fire(x):
    """A step whose derivative is that of ATan (ORACLES 1)."""
    return Dual(float(x.value > 0), x.slope * (ALPHA / 2) / (1 + (np.pi * ALPHA * x.value / 2) ** 2))


def constant(x):
    return Dual(x.value)


def taken(reset, v, spike, threshold):
    return {"none": v, "zero": v - v * spike, "subtract": v - spike * threshold}[reset]


def leaky_step(name, reset, v, x, beta, threshold):
    """One step as its library writes it: (membrane, spike)."""
    if name == "spyx":
        s = fire(v - threshold)
        return taken(reset, beta * v + x, s, threshold), s
    if name == "spikingjelly":
        h = beta * v + x
        s = fire(h - threshold)
        return taken(reset, h, s, threshold), s
    late = constant(fire(v - threshold))
    reset_late = {"none": v, "zero": v - v * late, "subtract": v}[reset]
    v = beta * reset_late + x - (late * threshold if reset == "subtract" else 0.0)
    s = fire(v - threshold)
    return (v, s) if name == "snntorch" else (taken(reset, v, s - late, threshold), s)


def norse_step(state, x, mem, syn, threshold):
    """i+ = i + x; v' = v + dt/tau_mem (i+ - v); i = (1 - dt/tau_syn) i+; v = (1 - z) v'."""
    v, i = state
    i = i + x
    v = v + mem * (i - v)
    z = fire(v - threshold)
    return (v - v * z, (1.0 - syn) * i), z


def gradients_of(step, first, beta, threshold):
    """Derivatives of sum_t w_t s_t + 0.3 mean(v^2) over all neurons: (spikes, by current, by beta, by threshold)."""
    spikes, by_x, by_p = np.zeros(CURRENT.shape), np.zeros(CURRENT.shape), np.zeros(2)
    unit = np.eye(STEPS + 2)
    for at in np.ndindex(CURRENT.shape[1:]):
        state, total = first, dual(0.0)
        for t in range(STEPS):
            x = Dual(float(CURRENT[(t, *at)]), unit[t])
            state, s = step(state, x, Dual(beta, unit[-2]), Dual(threshold, unit[-1]))
            v = state[0] if isinstance(state, tuple) else state
            total = total + WEIGHT[t] * s + (0.3 / CURRENT.size) * (v * v)
            spikes[(t, *at)] = s.value
        by_x[(slice(None), *at)] = total.slope[:STEPS]
        by_p += total.slope[STEPS:]
    return spikes, by_x, *by_p


def loss(run, current, beta, threshold):
    spikes, membrane = run(current, beta=beta, threshold=threshold, spike=surrogate.arctan(ALPHA))
    weight = jnp.asarray(WEIGHT, jnp.float32)[:, None, None]
    membrane = membrane.astype(jnp.float32)
    return (weight * spikes.astype(jnp.float32)).sum() + 0.3 * (membrane**2).mean(), spikes


def agree(got, want, tolerances):
    for a, b, tolerance in zip(got, want, tolerances, strict=True):
        a, b = (np.asarray(g, np.float64) for g in (a, b))
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize("method", ["fused", pytest.param("plain", marks=pytest.mark.long)])
@pytest.mark.parametrize(("name", "reset"), CASES)
def test_gradients_equal_the_float64_loop(name, reset, method):
    run = partial(neuron.lif, method=method, **PRESETS[name] | {"reset": reset})
    args = (jnp.asarray(CURRENT), jnp.float32(0.9), jnp.float32(0.7))
    got, spikes = jax.jit(jax.grad(partial(loss, run), (0, 1, 2), has_aux=True))(*args)
    want_spikes, *want = gradients_of(partial(leaky_step, name, reset), dual(0.0), float(args[1]), float(args[2]))
    np.testing.assert_array_equal(spikes, want_spikes)
    agree(got, want, TOLERANCE[jnp.float32])


def test_norse_by_its_preset():
    mem, syn = 0.1, 0.2

    def run(current, *, beta, **options):
        return neuron.synaptic(current, alpha=1 - syn, beta=1 - beta, gain=beta, **neuron.PRESETS["norse"], **options)

    got, spikes = jax.jit(jax.grad(partial(loss, run), (0, 1, 2), has_aux=True))(
        jnp.asarray(4 * CURRENT), jnp.float32(mem), jnp.float32(0.7)
    )

    def step(state, x, mem, threshold):
        return norse_step(state, 4.0 * x, mem, syn, threshold)

    want_spikes, by_x, *by_p = gradients_of(step, (dual(0.0), dual(0.0)), float(np.float32(mem)), 0.7)
    np.testing.assert_array_equal(spikes, want_spikes)
    assert want_spikes.sum() > 10
    agree(got, (by_x / 4, *by_p), TOLERANCE[jnp.float32])


@pytest.mark.parametrize("dtype", [pytest.param(jnp.float16, marks=pytest.mark.long), jnp.bfloat16])
@pytest.mark.parametrize(
    ("name", "reset"), [pytest.param(n, "subtract", marks=LONG if i % 2 else ()) for i, n in enumerate(PRESETS)]
)
def test_fused_equals_plain_in_sixteen_bits(name, reset, dtype):
    """Two units in the last place for the current; beta and threshold sum a hundred such terms."""
    current = jnp.asarray(CURRENT, dtype)
    args = (current, jnp.asarray(0.9, dtype), jnp.asarray(0.7, dtype))
    runs = [partial(neuron.lif, method=method, **PRESETS[name]) for method in ("fused", "plain")]
    fused, plain = (jax.jit(jax.grad(partial(loss, run), (0, 1, 2), has_aux=True))(*args) for run in runs)
    np.testing.assert_array_equal(*[spikes.astype(jnp.float32) for _, spikes in (fused, plain)])
    assert fused[0][0].dtype == dtype
    agree(fused[0], plain[0], TOLERANCE[dtype])


def test_a_float32_membrane_under_half_precision_currents():
    run = partial(neuron.lif, state_dtype=jnp.float32)
    current = jnp.asarray(CURRENT, jnp.bfloat16)
    spikes, membrane = run(current, beta=0.9, threshold=0.7, spike=surrogate.arctan())
    assert (spikes.dtype, membrane.dtype) == (jnp.bfloat16, jnp.float32)
    got, _ = jax.grad(partial(loss, run), has_aux=True)(current, 0.9, 0.7)
    want, _ = jax.grad(partial(loss, run), has_aux=True)(current.astype(jnp.float32), 0.9, 0.7)
    agree([got], [want], [2**-8])  # one rounding, at the end


@pytest.mark.parametrize("kind", ["lif", *(pytest.param(k, marks=LONG) for k in ("synaptic", "adaptive_lif"))])
def test_shard_map_over_neurons_changes_nothing(kind):
    """The batch spread over two devices: the same bits, and the parameters' gradients summed over both."""
    options = {"synaptic": {"alpha": 0.8}, "adaptive_lif": {"rho": 0.9}}.get(kind, {})
    mesh = Mesh(np.asarray(jax.devices()[:2]), ("batch",))

    def pull(current, beta, threshold):
        grads, spikes = jax.grad(partial(loss, partial(getattr(neuron, kind), **options)), (0, 1, 2), has_aux=True)(
            current, beta, threshold
        )
        return grads, spikes

    across = PartitionSpec(None, "batch")
    whole = PartitionSpec()
    spread = jax.shard_map(pull, mesh=mesh, in_specs=(across, whole, whole), out_specs=((across, whole, whole), across))
    args = (jnp.asarray(CURRENT), jnp.float32(0.9), jnp.float32(0.7))
    (by_x, *by_p), spikes = jax.jit(spread)(*args)
    halves = [jax.jit(pull)(args[0][:, i : i + 1], *args[1:]) for i in range(2)]
    np.testing.assert_array_equal(spikes, jnp.concatenate([s for _, s in halves], 1))
    agree([by_x], [jnp.concatenate([g[0] for g, _ in halves], 1)], [1e-6])
    agree(by_p, [sum(g[i] for g, _ in halves) for i in (1, 2)], (1e-6, 1e-6))
