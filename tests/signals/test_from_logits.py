import functools
from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia.attacks.population import loss
from jaxsnn_mia.signals import from_logits


@jax.jit
def confidences(logits, labels):
    return from_logits.logit_confidence(logits, labels), from_logits.log_confidence(logits, labels)


@functools.partial(jax.jit, static_argnames=("kind", "temperature", "margin"))
def log_confidence(logits, labels, **options):
    return from_logits.log_confidence(logits, labels, **options)


def test_the_published_logit_confidence():
    phi, logp = confidences(jnp.array([[[[1.0, 2.0, -3.0]], [[2.0, 1.0, -3.0]]]]), jnp.array([1, 0]))
    np.testing.assert_allclose(phi[0, :, 0], 0.981850, atol=1e-6)
    np.testing.assert_allclose(logp[0, :, 0], -np.log1p(np.exp(-0.981850)), atol=1e-6)


def test_confidences_are_stable_where_a_softmax_saturates():
    phi, logp = confidences(jnp.array([[[[200.0, -200.0, 0.0]], [[-200.0, 200.0, 0.0]]]]), jnp.array([0, 0]))
    np.testing.assert_allclose(phi[0, :, 0], [200, -400], rtol=1e-6)
    np.testing.assert_allclose(logp[0, :, 0], [0, -400], atol=1e-5)


def wide_logits(scale, C=4, N=12):
    """(float32 [1, N, 1, C], labels [N]); some equal, some at both ends."""
    rng = np.random.default_rng(scale)
    logits = (scale * rng.normal(size=(1, N, 1, C))).clip(-200, 200).astype(np.float32)
    logits[0, 0] = 1.0
    logits[0, 1, 0] = [scale, -scale, 0, 0]
    logits[0, 2, 0] = [scale, scale, -scale, -scale]
    return logits, np.arange(N, dtype=np.int32) % C


def entropies(logits_c, label):
    """(entropy, modified entropy) by their definitions, in 400 digits: 1 - p is not 0 where float64 says so."""
    with localcontext(prec=400):
        e = [Decimal(float(z)).exp() for z in logits_c]
        p = [x / sum(e) for x in e]
        rest = sum(-q * (1 - q).ln() for c, q in enumerate(p) if c != label)
        return float(sum(-q * q.ln() for q in p)), float(rest - (1 - p[label]) * p[label].ln())


@jax.jit
def both_entropies(logits, labels):
    return from_logits.entropy(logits), from_logits.modified_entropy(logits, labels)


@pytest.mark.parametrize("scale", [1, 10, 200])
def test_entropies_are_their_definitions_however_sure_the_model(scale):
    logits, labels = wide_logits(scale)
    want = np.array([entropies(z, y) for z, y in zip(logits[0, :, 0], labels, strict=True)]).T
    got = both_entropies(logits, labels)
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one[0, :, 0], other, rtol=1e-5, atol=1e-37)
    if scale == 200:
        assert want[1].max() > 300  # sure of a wrong class


def test_the_entropies_of_four_equal_classes():
    entropy, modified = both_entropies(np.zeros((1, 12, 1, 4), np.float32), np.zeros(12, np.int32))
    np.testing.assert_allclose(entropy, np.log(4), rtol=1e-6)
    np.testing.assert_allclose(modified, 0.75 * np.log(4) + 0.75 * np.log(4 / 3), rtol=1e-6)


@pytest.mark.parametrize("scale", [1, 10, 200])
@pytest.mark.parametrize(("temperature", "margin"), [(1.0, 0.6), (2.0, 0.0)])
def test_the_taylor_softmax_equals_its_definition(scale, temperature, margin):
    logits, labels = wide_logits(scale)
    options = {"kind": "sm_taylor", "temperature": temperature, "margin": margin}
    got = log_confidence(logits, labels, **options)
    z = logits[0, :, 0].astype(np.float64) / temperature
    own = labels[:, None] == np.arange(4)
    z = z - margin * own
    terms = 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
    assert (terms > 0).all()
    want = np.log(terms[own] / terms.sum(1))
    np.testing.assert_allclose(got[0, :, 0], want, rtol=1e-5, atol=1e-5)


def test_for_small_logits_the_taylor_softmax_is_the_softmax():
    logits, labels = wide_logits(1)
    taylor = log_confidence(logits / 10, labels, kind="sm_taylor", margin=0.0)
    np.testing.assert_allclose(taylor, confidences(logits / 10, labels)[1], atol=1e-5)


def test_the_temperature_divides_the_logits():
    logits, labels = wide_logits(10)
    warm = log_confidence(logits, labels, temperature=2.5)
    np.testing.assert_allclose(warm, confidences(logits / np.float32(2.5), labels)[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "got"), [({"kind": "taylor"}, "'taylor', 1.0"), ({"temperature": 0.0}, "'softmax', 0.0")]
)
def test_an_unknown_kind_or_temperature_is_refused(change, got):
    with pytest.raises(ValueError, match=f"got {got}"):
        from_logits.log_confidence(jnp.zeros((1, 2, 1, 3)), jnp.zeros(2, int), **change)


def test_the_loss_attack_ranks_as_the_confidence():
    phi = np.random.default_rng(0).normal(size=(2, 50, 1)).astype(np.float32) * 5
    np.testing.assert_array_equal(np.argsort(loss(phi)), np.argsort(phi[..., 0]))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"got logits \(2, 3, 4\) and labels \(5,\)"):
        from_logits.logit_confidence(jnp.zeros((2, 3, 4)), jnp.zeros(5, int))


def test_dtypes_are_strict_here():
    with pytest.raises(ValueError, match="promotion"):
        jnp.ones(3, jnp.float32) + jnp.ones(3, jnp.bfloat16)
