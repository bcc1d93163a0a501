import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.attacks import signals
from jaxsnn_mia.attacks.population import loss


def test_the_published_logit_confidence():
    logits = jnp.array([[[[1.0, 2.0, -3.0]]]])
    assert float(signals.logit_confidence(logits, jnp.array([1]))[0, 0, 0]) == pytest.approx(0.981850, abs=1e-6)


def test_confidences_are_stable_where_a_softmax_saturates():
    logits = jnp.array([[[[200.0, -200.0, 0.0]], [[-200.0, 200.0, 0.0]]]])
    labels = jnp.array([0, 0])
    phi = signals.logit_confidence(logits, labels)
    np.testing.assert_allclose(phi[0, :, 0], [200, -400], rtol=1e-6)
    np.testing.assert_allclose(signals.log_confidence(logits, labels)[0, :, 0], [0, -400], atol=1e-5)


def test_the_loss_attack_ranks_as_the_confidence():
    phi = np.random.default_rng(0).normal(size=(2, 50, 1)).astype(np.float32) * 5
    np.testing.assert_array_equal(np.argsort(loss(phi)), np.argsort(phi[..., 0]))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"got logits \(2, 3, 4\) and labels \(5,\)"):
        signals.logit_confidence(jnp.zeros((2, 3, 4)), jnp.zeros(5, int))
