import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsnn_mia import models
from jaxsnn_mia.models import Hyper, ModelSpec
from tests.models.small import built

X = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)


def make(**changes):
    spec = ModelSpec(
        **{"family": "snn", "in_shape": (6,), "n_classes": 3, "hidden": (8, 5), "time_steps": 4, **changes}
    )
    model = built(spec)
    return model, model.init(jax.random.key(0))


@pytest.mark.parametrize(
    "readout",
    [
        pytest.param(r, marks=[] if r in ("leaky_integrator", "spike_count") else pytest.mark.long)
        for r in models.READOUTS
    ],
)
def test_every_readout_reads_the_last_of_its_steps_and_has_gradients(readout):
    model, params = make(readout=readout)
    hyper = Hyper(threshold=0.3)

    def loss(params):
        out = model.apply(params, X, hyper, jax.random.key(1), train=True)
        return (out.logits_bc * jnp.arange(1.0, 4.0)[None]).sum(), out.logits_bc

    gradient, trained_bc = jax.jit(jax.grad(loss, has_aux=True))(params)
    out = model.apply(params, X, hyper, jax.random.key(1), train=False)
    np.testing.assert_allclose(out.logits_bc, trained_bc, rtol=1e-5, atol=1e-6)
    assert out.logits_bc.shape == (7, 3)
    assert out.logits_tbc.shape == (4, 7, 3)
    np.testing.assert_allclose(out.logits_tbc[-1], out.logits_bc, rtol=1e-5, atol=1e-6)
    assert all(float(jnp.abs(leaf).sum()) > 0 for leaf in jax.tree.leaves(gradient))


def test_quantized_weights_change_the_output_and_float_does_not():
    for family in models.MODELS["dense"]:
        model, params = make(family=family)

        @jax.jit
        def logits(qmax, model=model, params=params):
            hyper = Hyper(qmax_weight=qmax, threshold=0.3)
            return model.apply(params, X, hyper, jax.random.key(0), train=False).logits_bc

        full, again, low = logits(0.0), logits(jnp.float32(0.0)), logits(1.0)
        np.testing.assert_array_equal(full, again)
        assert float(jnp.abs(full - low).max()) > 1e-3


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"one of \['ann', 'snn'\] for dense, got 'rnn'"):
        make(family="rnn")
    model, params = make(readout="membrane")
    with pytest.raises(ValueError, match="got 'membrane'"):
        model.apply(params, X, Hyper(), jax.random.key(0), train=False)


class Own(nnx.Module):
    """A model of a caller's own: this file names it."""

    def __init__(self, spec, *, rngs):
        self.layer = nnx.Linear(spec.n_features, spec.n_classes, rngs=rngs)

    def __call__(self, x, hyper, key, train):
        return models.Output(self.layer(x), None, {})


def test_a_module_of_ones_own_is_built_for_every_family_and_what_is_none_is_refused():
    for family in models.FAMILIES:
        model, params = make(architecture=f"{__name__}:Own", family=family)
        found = model.apply(params, X, Hyper(), jax.random.key(0), train=False).logits_bc
        layer = jax.tree.map(np.asarray, params["params"]["layer"])
        np.testing.assert_allclose(found, X @ layer["kernel"] + layer["bias"], rtol=1e-5, atol=1e-6)
    for name, message in (
        ("densely", r"must be one of \['convnet', .*got 'densely'\. Name an own one package\.module:Class"),
        ("no.such.module:Own", r"'no\.such\.module:Own' could not be found: ModuleNotFoundError"),
        (f"{__name__}:Other", ".*could not be found: AttributeError"),
        (f"{__name__}:make", ".*must be a flax.nnx.Module class, got <function make"),
    ):
        with pytest.raises(ValueError, match=f"`model.architecture` {message}"):
            make(architecture=name)
