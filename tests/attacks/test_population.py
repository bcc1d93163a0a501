import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxsnn_mia import attacks, metrics
from jaxsnn_mia.attacks import population
from tests.attacks import planted, population_loops

S, N, Z = 4, 40, 25
KEEP = planted.pairs(S, N)
PHI = planted.phi(KEEP, A=3, leak=1.0)
POPULATION = planted.phi(np.zeros((S, Z), bool), A=3, seed=3)


@pytest.mark.parametrize("A", [1, 3])
def test_attack_p_equals_the_loop(A):
    phi, phi_z = PHI[..., :A].copy(), POPULATION[..., :A].copy()
    phi_z[:, :6] = phi_z[:, 6:12]  # ties within the population
    phi_z[:, 12:14] = phi_z[:, 6:8]
    phi[:, :3] = phi_z[:, 5:8]  # and with it
    phi[:, 3:5] = [[-30.0], [30.0]]  # beyond both ends
    got = population.attack_p(phi, phi_z)
    losses, losses_z = (np.logaddexp(0, -x.astype(np.float64)).mean(-1).astype(np.float32) for x in (phi, phi_z))
    rows = zip(losses.astype(float), losses_z.astype(float), strict=True)
    want = np.array([population_loops.attack_p(*row) for row in rows])
    np.testing.assert_allclose(got, want, rtol=1e-5)
    share = (losses_z[:, None] > losses[:, :, None]).mean(-1)  # the published statistic
    assert (np.abs(got - share) <= 4 / (Z + 1)).all()  # ties of four share their place
    assert got.min() > 0
    assert got.max() < 1


@pytest.mark.parametrize("steps", [False, True])
def test_attack_p_never_turns_the_order_of_the_losses(steps):
    phi, phi_z = PHI[..., :1], POPULATION[..., :1]
    if steps:
        phi, phi_z = np.round(phi * 2) / 2, np.round(phi_z * 2) / 2
    score, loss = population.attack_p(phi, phi_z), population.loss(phi)
    order = np.argsort(loss, axis=1)
    ordered, by_loss = np.take_along_axis(score, order, 1), np.take_along_axis(loss, order, 1)
    np.testing.assert_array_equal(np.diff(ordered) > 0, np.diff(by_loss) > 0)


def test_the_most_confident_are_told_apart():
    """Beyond the population losses differ by 1e-6 and less, which on their own scale no score in float32 would show."""
    phi = np.arange(12, 80, 2, dtype=np.float32)[None, :, None]
    score = population.attack_p(phi, np.linspace(-3, 10, 1000, dtype=np.float32)[None, :, None])
    assert (np.diff(score[0]) > 0).all()


def test_attack_p_is_the_same_for_every_level_of_confidence():
    """What a target adds to all confidences cancels, up to the curve of the loss between two steps."""
    shift = np.float32([0, 2, -1, 5])[:, None, None]
    phi, phi_z = PHI[..., :1], POPULATION[..., :1]
    plain, moved = population.attack_p(phi, phi_z), population.attack_p(phi + shift, phi_z + shift)
    inside = (phi > phi_z.min(1, keepdims=True)) & (phi < phi_z.max(1, keepdims=True))
    assert np.abs(plain - moved)[inside[..., 0]].max() < 1 / (Z + 1)


SIGNALS = {
    "loss": (PHI, np.log(scipy.special.expit(PHI.astype(np.float64)))),
    "confidence": (PHI, scipy.special.expit(PHI.astype(np.float64))),
    "gap": ((PHI > 2).astype(np.uint8), (PHI > 2).astype(float)),
    "entropy": (np.abs(PHI), -np.abs(PHI).astype(float)),
    "modified_entropy": (np.abs(PHI), -np.abs(PHI).astype(float)),
    "gradient_norm": (PHI, -PHI.astype(float)),
    "label_noise": (PHI, PHI.astype(float)),
    "boundary": (PHI, PHI.astype(float)),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_a_threshold_on_the_mean_over_queries(name, tmp_path):
    signal, want = SIGNALS[name]
    np.save(tmp_path / "signal.npy", signal)
    got = attacks.ATTACKS[name].fn(np.load(tmp_path / "signal.npy", mmap_mode="r"))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want.mean(-1), rtol=1e-6)


def test_losses_and_confidences_do_not_overflow():
    phi = np.array([[[-3000.0], [3000.0]]], np.float32)
    np.testing.assert_allclose(population.loss(phi), [[-3000, 0]])
    np.testing.assert_allclose(population.confidence(phi), [[0, 1]], atol=1e-30)


def test_a_planted_leak_is_found():
    keep = planted.pairs(8, 1000)
    phi, phi_z = planted.phi(keep, leak=2.0), planted.phi(np.zeros((8, 300), bool), seed=3)
    assert metrics.auc(population.loss(phi), keep) > 0.7  # the offsets of examples are noise to it
    assert metrics.auc(population.attack_p(phi, phi_z), keep) == pytest.approx(
        metrics.auc(population.loss(phi), keep), abs=1e-3
    )


@pytest.mark.parametrize("name", ["loss", "entropy", "attack_p"])
def test_a_diverged_shadow_is_nan_and_must_be_marked(name):
    broken, valid = PHI.copy(), np.arange(S) != 1
    broken[1, 0] = np.nan
    arrays = (broken, POPULATION) if name == "attack_p" else (broken,)
    score = getattr(population, name)(*arrays, valid_s=valid)
    assert np.isnan(score[1]).all()
    sound = getattr(population, name)(*[array[valid] for array in arrays])
    np.testing.assert_array_equal(score[valid], sound)
    with pytest.raises(ValueError, match="NaN for valid shadows"):
        getattr(population, name)(*arrays)


@pytest.mark.parametrize("phi_z", [POPULATION[:, :0], POPULATION[:2], POPULATION[..., :2], POPULATION[0]])
def test_a_population_that_does_not_fit_is_refused(phi_z):
    with pytest.raises(ValueError, match=r"`phi_sza` must be \[S, Z, A\] with Z >= 1"):
        population.attack_p(PHI, phi_z)


def test_dtypes_are_strict_here():
    with pytest.raises(ValueError, match="promotion"):
        jnp.ones(3, jnp.float32) + jnp.ones(3, jnp.bfloat16)
