"""Frozen models: integers that give the logits of the fake-quantized ones, and what has no such form."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia import models
from jaxsnn_mia.models import ModelSpec, frozen
from tests.models.small import FEATURES, hyper, logits, make, seen

LONG = pytest.mark.long


@pytest.mark.parametrize("family", [pytest.param("ann", marks=LONG), "snn"])
@pytest.mark.parametrize("bits", [8, *(pytest.param(bits, marks=LONG) for bits in (2, 4, 16))])
@pytest.mark.parametrize("preset", ["default", pytest.param("brevitas", marks=LONG)])
def test_a_frozen_model_gives_the_logits_of_the_fake_quantized_one(family, bits, preset):
    spec, model = make(family, parts=("weight", "activation", *(["state"] if family == "snn" else [])), preset=preset)
    h = hyper(family, bits)
    fresh = model.init(jax.random.key(0))
    for i, layer in fresh["params"]["layers"].items():  # without a bias, currents lie on ties of the rounding
        layer["bias"] = 0.1 * jax.random.normal(jax.random.key(i), layer["bias"].shape)
    params = seen(model, h, fresh)
    cut = frozen.freeze(spec, params, h)
    want = logits(model, params, h)
    got = jax.jit(frozen.apply)(cut, FEATURES).logits_bc
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * float(jnp.abs(want).max()))
    n_weights = 6 * 16 + 16 * 8 + 8 * 3
    whole = 4 * n_weights if bits == 16 else n_weights if bits == 8 else n_weights // 2
    n_scales = 0 if bits == 16 else 27 if preset == "default" else 3
    assert cut.nbytes == whole + 4 * (n_scales + 27 + len([r for r in cut.ranges if r is not None]))


def test_what_cannot_be_frozen_is_refused():
    spec, model = make("ann", parts=("activation",))
    with pytest.raises(ValueError, match="never calibrated: a range is 0, got"):
        frozen.freeze(spec, model.init(jax.random.key(0)), hyper("ann", 4))
    spec, model = make("ann", parts=("activation",), calibration="lsq")
    with pytest.raises(ValueError, match="has no integer form"):
        frozen.freeze(spec, model.init(jax.random.key(0)), hyper("ann", 4))


@pytest.mark.parametrize("change", [{"encoding": "rate"}, {"timed": True, "in_shape": (4, 6)}])
def test_networks_on_input_over_time_are_not_frozen(change):
    spec = dataclasses.replace(ModelSpec("snn", (6,), 3, hidden=(4,), time_steps=4), **change)
    with pytest.raises(ValueError, match="only networks on direct input are frozen"):
        frozen.freeze(spec, models.build(spec).init(jax.random.key(0)), hyper("snn", 4))
