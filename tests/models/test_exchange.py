"""A network of this project runs in Spyx and goes through NIR with its weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia import models
from jaxsnn_mia.models import Hyper, ModelSpec

SPEC = ModelSpec("snn", (6,), 3, hidden=(8,), time_steps=7, readout="spike_count")
HYPER = Hyper(beta=0.8, threshold=0.4)
X = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def exported():
    from jaxsnn_mia.models import exchange

    model = models.build(SPEC)
    params = model.init(jax.random.key(0))
    return model, params, exchange.to_spyx(SPEC, params, HYPER)


def test_spyx_runs_the_same_network(exported):
    import spyx

    model, params, sequential = exported
    with jax.numpy_rank_promotion("allow"):  # flax's own Linear adds its bias so
        spikes_tbc, _ = spyx.nn.run(sequential, jnp.broadcast_to(X, (7, *X.shape)))
    counts = model.apply(params, X, HYPER, jax.random.key(0), train=False).logits_bc
    np.testing.assert_array_equal(spikes_tbc.sum(0), counts)
    assert float(counts.sum()) > 0


def test_weights_and_constants_survive_a_round_trip_through_nir(exported):
    import spyx

    from jaxsnn_mia.models import exchange

    _, params, sequential = exported
    graph = exchange.to_nir(sequential, (6,), (3,))
    affine, lif = graph.nodes["layer_2"], graph.nodes["layer_3"]
    np.testing.assert_array_equal(affine.weight, np.asarray(params["params"]["layers"][1]["kernel"]).T)
    np.testing.assert_allclose(lif.tau, 1 / (1 - 0.8), rtol=1e-6)
    np.testing.assert_allclose(lif.v_threshold, 0.4, rtol=1e-6)
    with jax.numpy_rank_promotion("allow"):
        back, _ = spyx.nir.from_nir(graph, jnp.asarray(X)[None], dt=1)
    kernels = [layer.kernel[...] for layer in back.layers if hasattr(layer, "kernel")]
    np.testing.assert_array_equal(kernels[0], params["params"]["layers"][0]["kernel"])
    np.testing.assert_array_equal(kernels[1], params["params"]["layers"][1]["kernel"])


def test_another_family_is_refused():
    from jaxsnn_mia.models import exchange

    with pytest.raises(ValueError, match="got family 'ann'"):
        exchange.to_spyx(ModelSpec("ann", (6,), 3), {}, HYPER)
