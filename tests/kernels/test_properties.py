"""Kernels hold for any finite input, dtype, trailing shape, and under vmap with settings of their own per model."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxsnn_mia.kernels import encoding, neuron, surrogate

KEY = jax.random.key(0)
CURRENT = jnp.asarray(np.random.default_rng(0).normal(0.4, 0.8, (12, 3, 5)), jnp.float32)
SPIKE = surrogate.arctan()


@pytest.mark.parametrize("name", surrogate.SURROGATES)
@pytest.mark.parametrize(
    "dtype", [jnp.bfloat16, *(pytest.param(dtype, marks=pytest.mark.long) for dtype in (jnp.float32, jnp.float16))]
)
def test_no_surrogate_has_a_gradient_that_is_not_finite(name, dtype):
    biggest = float(jnp.finfo(dtype).max)
    x = jnp.asarray([-biggest, -1e4, -3.5, -1e-4, 0.0, 1e-4, 1.0, 3.5, 1e4, biggest], dtype)
    spike = surrogate.SURROGATES[name]()

    @jax.jit
    def both(x):
        spikes, pull = jax.vjp(lambda x: spike(x, KEY), x)
        return spikes, *pull(jnp.ones_like(x))

    spikes, gradient = both(x)
    assert spikes.dtype == gradient.dtype == dtype
    np.testing.assert_array_equal(spikes.astype(jnp.float32), (x > 0).astype(jnp.float32))
    assert bool(jnp.isfinite(gradient).all())


@jax.jit
def slopes_of_all(x, slope):
    """The derivatives at x of all surrogates that have a slope."""
    names = ("arctan", "fast_sigmoid", "sigmoid", "tanh", "erf", "spike_rate_escape", "multi_gaussian")
    return [jax.grad(surrogate.with_slope(surrogate.SURROGATES[name], slope))(x) for name in names]


@settings(deadline=None, max_examples=100)
@given(st.floats(-(2.0**99), 2.0**99, width=32), st.floats(0.125, 64, width=32))
def test_every_slope_is_finite_everywhere(x, slope):
    assert np.isfinite(slopes_of_all(jnp.float32(x), jnp.float32(slope))).all()


def test_a_stochastic_spike_draws_in_its_backward_by_its_key():
    spike = surrogate.stochastic_spike(variance=0.2, mean=0.5)
    x = jnp.linspace(-1, 1, 2001)
    one, again, other = (jax.grad(lambda x, k=k: spike(x, k).sum())(x) for k in (KEY, KEY, jax.random.key(1)))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(one[x > 0], 1)
    below = np.asarray(one[x <= 0])
    assert (below != np.asarray(other[x <= 0])).any()
    assert 0.0 <= below.min() < below.max() <= 0.2
    assert below.mean() == pytest.approx(0.1, abs=0.01)
    with pytest.raises(ValueError, match="pass key="):
        spike(x)


def test_a_users_own_backward_and_a_closure_are_accepted():
    own = surrogate.custom(lambda x, width: jnp.exp(-width * x * x), width=2.0)
    assert float(jax.grad(own)(jnp.float32(1.0))) == pytest.approx(np.exp(-2))

    def loss(width, method):
        @jax.custom_vjp
        def spike(x):
            return surrogate.heaviside(x)

        spike.defvjp(lambda x: (surrogate.heaviside(x), x), lambda x, ct: (ct * jnp.exp(-jnp.abs(x)),))

        def level(v):
            return jnp.round(v * width) / width + v - jax.lax.stop_gradient(v)

        return neuron.lif(CURRENT, beta=0.9, spike=spike, state_fn=level, method=method)[1].sum()

    gradient = jax.jit(jax.vmap(jax.grad(loss), (0, None)), static_argnums=1)
    fused, plain = (gradient(jnp.array([2.0, 4.0]), way) for way in ("fused", "plain"))
    np.testing.assert_allclose(fused, plain, rtol=1e-5)


VARIANTS = {
    "recurrent": {"recurrent": np.float32(0.1 * np.eye(5) + 0.05)},
    "recurrent function": {"recurrent": lambda s: jnp.flip(s, -1) * 0.3},
    "immediate": {"reset_delay": False},
    "attached": {"detach_reset": False},
    "attached, immediate": {"reset_delay": False, "detach_reset": False},
    "snntorch immediate": neuron.PRESETS["snntorch_immediate"],
    "spyx": neuron.PRESETS["spyx"],
    "norse": neuron.PRESETS["norse"],
    "state_fn": {"state_fn": jnp.tanh},
    "recurrent, zero, attached": {
        "reset": "zero",
        "detach_reset": False,
        "recurrent": np.full((5, 5), 0.1, np.float32),
    },
    "stochastic": {"spike": surrogate.stochastic_spike(), "key": KEY},
    "stochastic, attached": {"spike": surrogate.stochastic_spike(), "key": KEY, "detach_reset": False},
}


# the other conventions run with --all, as those that others are made of
BY_DEFAULT = {
    "lif": (
        "attached, immediate",
        "spyx",
        "stochastic, attached",
    ),
    "synaptic": ("recurrent", "norse"),
    "adaptive_lif": ("recurrent, zero, attached",),
}
CASES = [
    pytest.param(kind, name, marks=() if name in BY_DEFAULT[kind] else pytest.mark.long)
    for kind in ("lif", "synaptic", "adaptive_lif")
    for name in VARIANTS
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_the_fused_backward_equals_autodiff_for_every_convention(kind, name):
    decays = {"lif": (), "synaptic": ("alpha",), "adaptive_lif": ("rho",)}[kind]
    weight = jnp.linspace(0.1, 1.0, 12)[:, None, None]

    def loss(current, beta, threshold, method):
        options = {"spike": SPIKE, **{d: 0.7 for d in decays}, **VARIANTS[name], "method": method}
        spikes, membrane = getattr(neuron, kind)(current, beta=beta, threshold=threshold, **options)
        return (weight * spikes).sum() + 0.3 * (membrane**2).mean()

    arguments = (CURRENT, jnp.float32(0.9), jnp.float32(0.7))
    gradient = jax.jit(jax.grad(loss, (0, 1, 2)), static_argnums=3)
    for got, want, tolerance in zip(
        gradient(*arguments, "fused"), gradient(*arguments, "plain"), (1e-6, 1e-5, 1e-5), strict=True
    ):
        assert float(jnp.abs(want).max()) > 0
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * float(jnp.abs(want).max()))


def test_checkpoints_in_time_change_nothing():
    def loss(current, every):
        spikes, membrane = neuron.lif(current, beta=0.9, spike=SPIKE, checkpoint_every=every)
        return (spikes * jnp.arange(12.0)[:, None, None]).sum() + (membrane**2).sum()

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    whole = gradient(CURRENT, None)
    for every in (1, 4, 5):
        np.testing.assert_allclose(gradient(CURRENT, every), whole, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="at least 1 or None, got 0"):
        loss(CURRENT, 0)


def test_the_associative_scan_equals_the_sequential_one():
    state = CURRENT[0]
    sequential, parallel = (
        neuron.leaky_integrator(CURRENT, beta=0.8, state=state, associative=way) for way in (False, True)
    )
    np.testing.assert_allclose(parallel, sequential, rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=3)
@given(
    st.sampled_from([(5,), (2, 3), (2, 3, 2)]),
    st.sampled_from([jnp.float32, jnp.bfloat16, jnp.float16]),
    st.sampled_from(["lif", "synaptic", "adaptive_lif"]),
)
def test_any_trailing_shape_and_dtype(shape, dtype, kind):
    x = jnp.ones((4, 2, *shape), dtype)
    decays = {"lif": {}, "synaptic": {"alpha": 0.5}, "adaptive_lif": {"rho": 0.5}}[kind]
    run = jax.jit(partial(getattr(neuron, kind), beta=0.9, spike=SPIKE, **decays), static_argnames="state_dtype")
    spikes, membrane = run(x, state_dtype=jnp.float32)
    assert spikes.shape == membrane.shape == x.shape
    assert (spikes.dtype, membrane.dtype) == (dtype, jnp.float32)
    own, _ = run(x)
    assert own.dtype == dtype


def test_steps_make_the_sequence():
    v, syn = jnp.zeros((3, 5)), neuron.Synaptic(jnp.zeros((3, 5)), jnp.zeros((3, 5)))
    adaptive = neuron.Adaptive(jnp.zeros((3, 5)), jnp.zeros((3, 5)))
    options = {"beta": 0.9, "threshold": 0.7, "spike": SPIKE}
    stepped = []
    for x in CURRENT:
        v, a = neuron.lif_step(v, x, **options)
        syn, b = neuron.synaptic_step(syn, x, alpha=0.8, **options)
        adaptive, c = neuron.adaptive_lif_step(adaptive, x, rho=0.8, **options)
        stepped.append((a, b, c))
    whole = (
        neuron.lif(CURRENT, **options)[0],
        neuron.synaptic(CURRENT, alpha=0.8, **options)[0],
        neuron.adaptive_lif(CURRENT, rho=0.8, **options)[0],
    )
    for got, want in zip(zip(*stepped, strict=True), whole, strict=True):
        np.testing.assert_array_equal(jnp.stack(got), want)


def test_models_with_settings_of_their_own_under_vmap_equal_each_alone():
    def loss(beta, threshold, slope):
        spikes, membrane = neuron.lif(CURRENT, beta=beta, threshold=threshold, spike=surrogate.arctan(slope))
        return (spikes.sum(), membrane.mean()), spikes.sum() + membrane.mean()

    settings_m = (jnp.array([0.5, 0.9]), jnp.array([0.7, 1.0]), jnp.array([2.0, 5.0]))
    gradient = jax.grad(lambda *s: loss(*s)[1], (0, 1))
    together = jax.jit(jax.vmap(gradient))(*settings_m)
    for m in range(2):
        alone = jax.jit(gradient)(*[s[m] for s in settings_m])
        np.testing.assert_allclose([t[m] for t in together], alone, rtol=1e-5)


def test_random_encodings_have_their_means():
    x = jnp.array([[0.0, 0.2, 0.5, 1.0]])
    for spikes in (encoding.rate(KEY, x, 4000), encoding.poisson(KEY, x, 4000)):
        assert spikes.shape == (4000, 1, 4)
        np.testing.assert_allclose(spikes.mean(0), x, atol=0.05)
    np.testing.assert_array_equal(encoding.direct(x, 3), jnp.stack([x] * 3))


def test_codes_in_time():
    x = jnp.array([0.0, 0.25, 0.6, 0.999])
    weights = 2.0 ** -(1.0 + jnp.arange(8.0))
    np.testing.assert_allclose((encoding.phase(x, 8) * weights[:, None]).sum(0), np.floor(x * 256) / 256)
    counts = encoding.burst(x, 12).sum(0)
    np.testing.assert_array_equal(counts, np.ceil(5 * np.asarray(x)))
    fields = encoding.population(x, 10, 6)
    assert fields.shape == (10, 4, 6)
    assert set(np.unique(fields.sum(0))) <= {0.0, 1.0}
    centres = np.asarray(jnp.where(fields.sum(0) > 0, fields.argmax(0), 100)).argmin(-1)
    assert (np.diff(centres) > 0).all()
    with pytest.raises(ValueError, match="`T` must be an int of at least 1, got 0"):
        encoding.direct(x, 0)
