"""GRU and LSTM: those of flax with the same parameters, in bits, and under attack."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsnn_mia import config
from jaxsnn_mia.config.specs import largest_codes
from jaxsnn_mia.models import Hyper, ModelSpec, QuantSpec
from jaxsnn_mia.models.gated import gru, lstm
from tests.models.small import built

T, B, D, N = 6, 3, 5, 4
X = np.random.default_rng(0).normal(size=(T, B, D)).astype(np.float32)


@pytest.mark.parametrize(("ours", "theirs"), [("gru", nnx.GRUCell), ("lstm", nnx.LSTMCell)])
def test_a_layer_is_that_of_flax(ours, theirs):
    cell = theirs(D, N, rngs=nnx.Rngs(0))
    state = nnx.to_pure_dict(nnx.state(cell, nnx.Param))
    if ours == "gru":
        drive = X @ state["dense_i"]["kernel"] + state["dense_i"]["bias"][None, None]
        found = gru(drive, state["dense_h"]["kernel"], jnp.zeros(N))  # flax has no second bias
    else:
        order = "ifgo"
        kernel = np.concatenate([state["if_" if gate == "f" else f"i{gate}"]["kernel"] for gate in order], 1)
        back = np.concatenate([state[f"h{gate}"]["kernel"] for gate in order], 1)
        bias = np.concatenate([state[f"h{gate}"]["bias"] for gate in order])
        found = lstm(X @ kernel + bias[None, None], jnp.asarray(back))
    carry = cell.initialize_carry((B, D), rngs=nnx.Rngs(1))
    with jax.numpy_rank_promotion("allow"):
        for t in range(T):
            carry, expected = cell(carry, X[t])
            np.testing.assert_allclose(found[t], expected, rtol=1e-5, atol=1e-6)


def test_the_second_bias_of_a_gru_is_inside_of_the_reset_gate():
    rng = np.random.default_rng(1)
    drive, back, bias = rng.normal(size=(1, B, 3 * N)), rng.normal(size=(N, 3 * N)), rng.normal(size=N)
    (found,) = gru(jnp.asarray(drive, jnp.float32), jnp.asarray(back, jnp.float32), jnp.asarray(bias, jnp.float32))
    reset, update = (1 / (1 + np.exp(-drive[0, :, i * N : (i + 1) * N])) for i in (0, 1))  # h = 0 before
    np.testing.assert_allclose(found, (1 - update) * np.tanh(drive[0, :, 2 * N :] + reset * bias), rtol=1e-5)


@pytest.mark.parametrize("architecture", ["gru", "lstm"])
def test_what_has_a_sign_has_the_levels_of_its_bits(architecture):
    """4 bits: 15 levels with a sign; the ReLU network of the same family has 16 without one."""
    quantized = {"quantization": {"bits": 4, "what": "both"}}
    gated = config.from_dict({"model": {"family": "ann", "architecture": architecture}, **quantized})
    assert largest_codes(gated)["qmax_activation"] == 7
    assert largest_codes(config.from_dict({"model": {"family": "ann"}, **quantized}))["qmax_activation"] == 15


@pytest.mark.long
@pytest.mark.parametrize("architecture", [pytest.param("gru", marks=pytest.mark.long), "lstm"])
def test_every_parameter_learns_and_few_bits_change_the_answers(architecture):
    spec = ModelSpec("ann", (T, D), 3, hidden=(4, 3), time_steps=T, timed=True, architecture=architecture,
                     quant=QuantSpec(parts=("weight", "activation")))  # fmt: skip
    model, x = built(spec), X.swapaxes(0, 1)
    params = model.init(jax.random.key(0))

    def loss(trained, bits):
        hyper = Hyper(qmax_weight=bits, qmax_activation=bits)
        out = model.apply({**params, "params": trained}, x, hyper, jax.random.key(1), train=True)
        return (out.logits_bc * jnp.arange(1.0, 4.0)[None]).sum(), out

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, out), slopes = run(params["params"], 0.0)
    assert out.logits_bc.shape == (B, 3)
    for path, leaf in jax.tree_util.tree_leaves_with_path(slopes):
        assert float(jnp.abs(leaf).max()) > 0, jax.tree_util.keystr(path)
    (_, narrow), _ = run(params["params"], 7.0)
    assert float(jnp.abs(narrow.logits_bc - out.logits_bc).max()) > 1e-3
    if architecture == "lstm":
        np.testing.assert_array_equal(params["params"]["layers"][0]["bias"], [0] * 4 + [1] * 4 + [0] * 8)
