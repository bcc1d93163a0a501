from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxsnn_mia.kernels import neuron, quantize, surrogate

LONG = pytest.mark.long

GOLDEN = np.load(Path(__file__).parents[1] / "fixtures/reference_libraries.npz")
W = jnp.asarray(np.random.default_rng(0).normal(size=(20, 10)), jnp.float32)
X = jnp.asarray(GOLDEN["quant/x"])
BITS = (2, 3, 4, 6, 8, 16)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("axis", [None, -1])
def test_weights_lie_on_a_narrow_symmetric_grid(bits, axis):
    q = np.asarray(quantize.weight(W, bits, axis=axis))
    qmax = 2 ** (bits - 1) - 1
    scale = np.abs(W).max(0 if axis else None) / qmax
    codes = q / scale
    np.testing.assert_allclose(codes, np.round(codes), atol=5e-3 if bits == 16 else 1e-3)
    assert np.abs(np.round(codes)).max() == qmax
    assert len(np.unique(np.round(codes))) <= 2**bits
    if bits <= 8:
        assert np.all(np.abs(q - np.asarray(W)) <= scale / 2 * (1 + 1e-4))
    if bits <= 4:
        assert np.abs(q - np.asarray(W)).max() > 0.01  # really quantized


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("how", "axis"), [("per_tensor", None), ("per_channel", 0)])
@pytest.mark.parametrize("differentiate", [False, True])
def test_weights_are_those_of_brevitas(bits, how, axis, differentiate):
    got = quantize.weight(X, bits, axis=axis, differentiate=differentiate)
    np.testing.assert_array_equal(got, GOLDEN[f"quant/brevitas_weight/{how}/{bits}"])


def test_compiled_weights_of_one_scale_are_divided_by_it_ties_included():
    """Values at and beside the ties of their grid, as numpy and torch round them: a product with 1 / scale takes other
    sides of 8 % of them."""
    rng, scale = np.random.default_rng(0), np.float32(0.0731)
    ties = ((rng.integers(-7, 7, (64, 64)) + 0.5) * scale).astype(np.float32)
    w = np.nextafter(ties, ties + rng.choice([-1, 0, 1], ties.shape).astype(np.float32))
    w[0] = 7 * scale
    step = np.abs(w).max() / np.float32(7)
    want = np.clip(np.round(w / step), -7, 7) * step
    np.testing.assert_array_equal(jax.jit(lambda w: quantize.weight(w, 4))(w), want)


def test_float_is_selected_bitwise_under_a_traced_width():
    widths = jnp.array([0.0, 7.0])
    q = jax.vmap(lambda qmax: quantize.weight(W, qmax=qmax, axis=-1))(widths)
    np.testing.assert_array_equal(q[0], W)
    assert np.abs(q[1] - W).max() > 0
    np.testing.assert_array_equal(q[1], quantize.weight(W, 4, axis=-1))
    np.testing.assert_array_equal(quantize.weight(W, 32), W)
    np.testing.assert_array_equal(quantize.weight(W), W)


def test_every_quantizer_under_vmap_equals_a_loop_over_static_widths():
    bits = [2, 4, 8, 16, 32]
    symmetric, unsigned = (jnp.asarray([f(b) for b in bits]) for f in (quantize.qmax_symmetric, quantize.qmax_unsigned))
    x = jnp.abs(W)
    cases = [
        (partial(quantize.activation, W, 2.0, signed=True), symmetric),
        (partial(quantize.activation, x, 2.0, signed=False), unsigned),
        (partial(quantize.state_uniform, W, threshold=1.0), unsigned),
        (partial(quantize.state_exponential, W, threshold=1.0), unsigned),
    ]
    for quantizer, qmax in cases:
        traced = jax.jit(jax.vmap(lambda q, f=quantizer: f(qmax=q)))(qmax)
        for b, got in zip(bits, traced, strict=True):
            np.testing.assert_allclose(got, jax.jit(partial(quantizer, bits=b))(), rtol=0, atol=2e-6)
        np.testing.assert_array_equal(traced[-1], quantizer(bits=32))  # float: bitwise


def test_the_gradient_is_one_inside_and_at_the_largest_weight():
    gradient = jax.jit(jax.grad(lambda w: quantize.weight(w, 4, axis=-1).sum()))(W)
    np.testing.assert_array_equal(gradient, 1.0)
    x = jnp.array([-1.2, -1.0, 0.3, 1.0, 1.04, 1.3])
    clipped = jax.jit(jax.grad(lambda x: quantize.fake_quant(x, 0.1, -10.0, 10.0).sum()))(x)
    np.testing.assert_array_equal(clipped, [0, 1, 1, 1, 1, 0])


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.float32, 12, elements=st.floats(-50, 50, width=32)), st.sampled_from(BITS))
def test_the_largest_activation_always_has_a_gradient(x, bits):
    """Masks on |x| instead of round(x / scale) lose it in some draws."""
    absmax = np.abs(x).max()
    if absmax < 1e-3:
        return
    got = jax.grad(lambda x: quantize.activation(x, absmax, bits, signed=True).sum())(jnp.asarray(x))
    np.testing.assert_array_equal(got, 1.0)


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.float32, 9, elements=st.floats(-30, 30, width=32)), st.sampled_from(BITS), st.booleans())
def test_activations_are_idempotent_bounded_and_few(x, bits, signed):
    x = x if signed else np.abs(x)
    absmax = np.float32(5.0)
    q = np.asarray(quantize.activation(jnp.asarray(x), absmax, bits, signed=signed))
    np.testing.assert_array_equal(q, quantize.activation(jnp.asarray(q), absmax, bits, signed=signed))
    scale = absmax / (quantize.qmax_symmetric(bits) if signed else quantize.qmax_unsigned(bits))
    inside = np.abs(x) <= absmax
    tolerance = 1e-4 if bits <= 8 else 5e-2
    assert np.all(np.abs(q - x)[inside] <= scale / 2 * (1 + tolerance))
    assert np.abs(q).max() <= absmax * (1 + 1e-6)
    assert q.dtype == np.float32


def test_spikes_lie_on_the_unsigned_grid_exactly():
    spikes = (W > 0).astype(jnp.float32)
    for bits in BITS:
        np.testing.assert_array_equal(quantize.fake_quant(spikes, 1.0, 0.0, 2.0**bits - 1), spikes)


def test_layer_gradients_are_those_at_the_dequantized_operands():
    x = jnp.abs(W[:, :4])

    def operands(w, x):
        return quantize.weight(w, 4, axis=-1), quantize.activation(x, 3.0, 4, signed=False)

    def loss(w, x):
        return jnp.tanh(x.T @ w).sum()

    want = jax.jit(lambda w, x: jax.grad(loss, (0, 1))(*operands(w, x)))(W, x)
    found = jax.jit(jax.grad(lambda w, x: loss(*operands(w, x)), (0, 1)))(W, x)
    for got, expected in zip(found, want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


def test_a_learned_scale_has_the_gradient_of_lsq():
    x, s = jnp.array([-3.0, -0.26, 0.1, 0.34, 9.0]), 0.25
    got = jax.jit(jax.grad(lambda s: quantize.fake_quant(x, s, -2.0, 7.0, learned=True).sum()))(s)
    inside = [-1 + 0.26 / s, 0 - 0.1 / s, 1 - 0.34 / s]
    np.testing.assert_allclose(got, -2 + sum(inside) + 7, rtol=1e-5)
    per_row = jax.jit(jax.grad(lambda s: quantize.fake_quant(jnp.stack([x, x]), s, -2.0, 7.0, learned=True)[0].sum()))
    np.testing.assert_allclose(per_row(jnp.full((2, 1), s))[:, 0], [got, 0.0], rtol=1e-5)


def test_a_differentiated_scale_reaches_the_largest_weight_alone():
    got, plain = (
        jax.jit(jax.grad(lambda w, d=d: (quantize.weight(w, 3, differentiate=d) * W).sum()))(W) for d in (True, False)
    )
    np.testing.assert_array_equal(plain, W)
    assert np.flatnonzero(got != plain).tolist() == [int(np.abs(W).argmax())]


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("lower", "upper"), [(0.0, 0.2), (0.1, 0.5)])
def test_uniform_states_are_those_of_snntorch(bits, lower, upper):
    got = quantize.state_uniform(X, bits, threshold=1.0, lower=lower, upper=upper)
    want = GOLDEN[f"quant/snntorch_state/uniform/bits={bits}/lower={lower}/upper={upper}"]
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("bits", [2, *(pytest.param(bits, marks=LONG) for bits in (4, 8))])
@pytest.mark.parametrize("centred", [True, False])
def test_exponential_states_are_those_of_snntorch(bits, centred):
    name = f"quant/snntorch_state/exponential/bits={bits}/thr_centered={centred}"
    got = quantize.state_exponential(X, bits, threshold=1.0, threshold_centred=centred)
    np.testing.assert_allclose(got, GOLDEN[name], atol=1e-6)
    levels = GOLDEN[f"{name}/levels"]
    np.testing.assert_allclose(
        quantize.state_exponential(jnp.asarray(levels), bits, threshold=1.0, threshold_centred=centred),
        levels, atol=2e-6,
    )  # fmt: skip


def test_states_pass_the_whole_gradient_and_can_keep_zero():
    for f in (quantize.state_uniform, quantize.state_exponential):
        gradient = jax.jit(jax.grad(lambda v, f=f: f(v, 3, threshold=0.7).sum()))
        np.testing.assert_array_equal(gradient(10 * W), 1.0)
    assert quantize.state_uniform(jnp.zeros(1), 4, threshold=1.0)[0] != 0
    for bits in (2, 4, 8):
        for lower, upper in ((0.0, 0.2), (0.3, 0.2), (0.8, 0.01)):
            options = {"threshold": 1.0, "lower": lower, "upper": upper, "keep_zero": True}
            kept = quantize.state_uniform(30 * W, bits, **options)
            assert quantize.state_uniform(jnp.zeros(1), bits, **options)[0] == 0
            assert len(np.unique(kept)) <= 2**bits
            assert kept.max() > 1  # a neuron can still fire


def test_levels_that_end_at_the_threshold_are_refused():
    with pytest.raises(ValueError, match=r"`upper` must be above 0, got 0\.0"):
        quantize.state_exponential(W, 4, threshold=1.0, upper=0.0)


@pytest.mark.parametrize("quantizer", [pytest.param(quantize.state_uniform, marks=LONG), quantize.state_exponential])
def test_the_fused_backward_through_a_state_quantizer_is_that_of_the_plain_scan(quantizer):
    current = jnp.asarray(np.random.default_rng(2).normal(0.4, 0.6, (12, 3, 5)), jnp.float32)

    def loss(current, beta, threshold, qmax, method):
        spikes, membrane = neuron.lif(
            current, beta=beta, threshold=threshold, spike=surrogate.arctan(), method=method,
            state_fn=lambda v: quantizer(v, qmax=qmax, threshold=threshold),
        )  # fmt: skip
        return (spikes * jnp.linspace(0.1, 1, 12)[:, None, None]).sum() + (membrane**2).mean()

    args = (current, jnp.float32(0.9), jnp.float32(0.7), jnp.float32(15.0))
    gradient = jax.jit(jax.grad(loss, (0, 1, 2)), static_argnums=4)
    fused, plain = (gradient(*args, method) for method in ("fused", "plain"))
    for a, b, tolerance in zip(fused, plain, (1e-6, 1e-5, 1e-5), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * float(jnp.abs(b).max()))


@pytest.mark.parametrize("method", ["fused", pytest.param("plain", marks=LONG)])
def test_a_quantized_membrane_inside_the_neuron(method):
    """Membranes lie on the levels, traced width and threshold get through the fused backward, and float is bitwise."""
    current = jnp.asarray(np.random.default_rng(1).normal(0.4, 0.6, (12, 3, 5)), jnp.float32)

    def run(qmax, threshold):
        return neuron.lif(
            current, beta=0.9, threshold=threshold, spike=surrogate.arctan(), method=method,
            state_fn=lambda v: quantize.state_uniform(v, qmax=qmax, threshold=threshold),
        )  # fmt: skip

    _, membrane = jax.jit(jax.vmap(run))(jnp.array([3.0, 15.0, 0.0]), jnp.array([1.0, 0.7, 1.0]))
    assert len(np.unique(np.round(membrane[0], 5))) <= 4
    assert 4 < len(np.unique(np.round(membrane[1], 5))) <= 16
    plain = neuron.lif(current, beta=0.9, threshold=1.0, spike=surrogate.arctan(), method=method)[1]
    np.testing.assert_array_equal(membrane[2], plain)
    slope = jax.jit(jax.vmap(jax.grad(lambda q, t: run(q, t)[0].sum(), 1)))(
        jnp.array([3.0, 15.0]), jnp.array([1.0, 0.7])
    )
    assert np.isfinite(slope).all()
    assert (slope != 0).all()


def test_calibration_by_range_percentile_and_running_average():
    x = jnp.asarray(np.r_[np.linspace(-1, 1, 999), 50.0], jnp.float32)
    assert quantize.largest(x) == 50
    assert 0.98 < quantize.largest(x, 99.0) <= 1.0
    average = quantize.running(jnp.float32(0.0), quantize.largest(x), 0.9)
    assert average == 50
    np.testing.assert_allclose(quantize.running(average, 10.0, 0.9), 46, rtol=1e-6)


@pytest.mark.parametrize("bits", [1, 17, 4.0, "4", True, 0])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValueError, match=r"`bits` must be an int in \[2, 16\] or None"):
        quantize.weight(W, bits)


def test_an_axis_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"`axis` must be in \[-2, 1\]"):
        quantize.weight(W, 4, axis=2)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_no_step_is_refused(scale):
    with pytest.raises(ValueError, match="`scale` must be positive and finite, got"):
        quantize.fake_quant(W, scale, -7, 7)


def test_codes_agree_with_qwix_under_our_scale():
    qwix = pytest.importorskip("qwix._src.core.qarray")
    scale = quantize.weight_scale(W, 7.0, -1)
    theirs = qwix.quantize_with_scale_zero_point(W, "int4", scale, None).qvalue
    np.testing.assert_array_equal(np.asarray(theirs, np.int32), np.round(quantize.weight(W, 4, axis=-1) / scale))


@pytest.mark.parametrize(
    "quantized",
    [
        lambda x: quantize.activation(x, 2.0, 4, signed=True),
        lambda x: quantize.activation(x, 2.0, 8, signed=True, learned=True),
        lambda x: quantize.state_uniform(x, 8, threshold=1.0),
        lambda x: quantize.state_exponential(x, 8, threshold=1.0),
    ],
)
def test_rounding_is_straight_through_a_second_time(quantized):
    """d^2 f(q(x)) / dx^2 = f''(q(x)) inside the range, as of `x + (q - x).detach()` in PyTorch."""
    x = jnp.asarray([-0.83, 0.111, 0.49])
    f = lambda x: (quantized(x) ** 3).sum()  # noqa: E731
    twice = jax.jit(jax.grad(lambda x: jax.grad(f)(x).sum()))(x)
    np.testing.assert_allclose(twice, 6 * jax.jit(quantized)(x), rtol=1e-5)
