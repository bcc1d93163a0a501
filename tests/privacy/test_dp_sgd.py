"""Private training, audited by the lower bounds: planted canaries and noise, against what is accounted."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxsnn_mia.models import Hyper, ModelSpec
from jaxsnn_mia.privacy import accounting, dp_sgd, lower_bounds
from jaxsnn_mia.training.ensemble import Shadows, make_ensemble
from jaxsnn_mia.training.step import TrainSpec

LARGE = 0.01  # delta


def test_noise_is_normal_and_each_keys_and_each_leafs_own():
    """Of gradients of 0, in a batch of 4 with 3 rows: deviation noise x clip / size."""
    gradients = {"a": np.zeros((4, 5), np.float32), "b": np.zeros((4, 3), np.float32)}
    mask, hyper = np.array([1, 1, 1, 0]), Hyper(dp_clip=2.0, dp_noise=1.5)
    keys = jax.random.split(jax.random.key(3), 4000)
    draw = jax.jit(jax.vmap(lambda key: dp_sgd.private_mean(gradients, mask, hyper, key, 6)))
    drawn = np.concatenate([np.asarray(leaf) for leaf in jax.tree.leaves(draw(keys))], 1)
    assert drawn.shape == (4000, 8)
    assert stats.kstest(drawn.ravel() * 6 / 3, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(drawn.T) - np.eye(8)).max() < 4.5 / 4000**0.5
    assert len(np.unique(drawn[:, 0])) > 0.99 * 4000


def test_gradients_are_clipped_and_those_that_are_not_finite_count_as_none():
    a, b = [[3.0, 0.0], [0.3, 0.0], [np.nan, 1.0], [9.0, 9.0]], [4.0, 0.4, 0.0, 9.0]
    gradients, mask = {"a": np.float32(a), "b": np.float32(b)}, np.array([1, 1, 1, 0])
    mean = jax.jit(lambda: dp_sgd.private_mean(gradients, mask, Hyper(dp_clip=1.0), jax.random.key(0), 2))()
    # of norm 5 and so divided by 5; of norm .5; not finite; and masked out
    np.testing.assert_allclose(mean["a"], [(0.6 + 0.3) / 2, 0.0], rtol=1e-6)
    np.testing.assert_allclose(mean["b"], (0.8 + 0.4) / 2, rtol=1e-6)


# the canary alone has the third feature, so that its clipped gradient alone moves some weights
X = np.zeros((9, 3), np.float32)
X[:8, :2] = np.random.default_rng(0).normal(size=(8, 2))
X[8, 2] = 5
Y = np.arange(9) % 2
CLIP, NOISE = 0.02, 1.0


def shadows_of(member_s, hyper, ids):
    mask = np.ones((len(member_s), 9), np.float32)
    mask[:, 8] = member_s
    columns = {**Hyper()._asdict(), "lr": 1.0, "dp_clip": CLIP, "dp_noise": NOISE, **hyper}
    full = Hyper(**{name: np.full(len(member_s), value, np.float32) for name, value in columns.items()})
    return Shadows(ids.astype(np.int32), full, (np.tile(np.arange(9, dtype=np.int32), (len(member_s), 1)), mask))


def trained(n, spec, *, width=500, devices=None, ids=None, **hyper):
    """(the movement of the canary's weights [n], whether it was a training row [n], parameters) of n trainings."""
    ids = np.arange(n) if ids is None else ids
    member_s = (np.random.default_rng(7).random(n) < 0.5)[ids]
    shadows = shadows_of(member_s, hyper, ids)
    engine = make_ensemble(spec, seed=11, width=width, devices=devices or jax.devices())
    first = engine.init(shadows, (X, Y))
    group = engine.run(first, shadows, (X, Y), 0, spec.epochs)
    moved = jax.tree.map(lambda b, a: np.asarray(b) - np.asarray(a), group.state.params, first.state.params)
    (kernel,) = [leaf for leaf in jax.tree.leaves(moved) if leaf.ndim == 3]
    return kernel[:, 2, Y[8]] - kernel[:, 2, 1 - Y[8]], member_s, moved


def canary_spec(rate, steps):
    return TrainSpec(
        ModelSpec("ann", (3,), 2, hidden=()), optimizer="sgd", momentum=0.0, epochs=steps, batch_size=9, rows=9,
        private=True, rate=rate, capacity=9,
    )  # fmt: skip


SPEC, MANY = canary_spec(0.25, 8), 20000
SOME = 4000


def bounds_of_trainings(scores, member, per, first):
    """A bound from each `per` trainings, at the threshold that is best on the `first` ones, which are left out."""

    def bound(rows, threshold):
        counts = lower_bounds.canary_counts(scores[rows], member[rows], threshold)
        return lower_bounds.epsilon_clopper_pearson(*counts, delta=LARGE, alpha=0.05)

    chosen = max(np.quantile(scores[:first], np.linspace(0.02, 0.98, 49)), key=functools.partial(bound, slice(first)))
    return np.array([bound(slice(i, i + per), chosen) for i in range(first, len(scores) - per + 1, per)])


@pytest.mark.long
def test_audits_of_honest_training_stay_below_and_of_broken_ones_do_not():
    accounted = accounting.epsilon(NOISE, SPEC.rate, SPEC.epochs, LARGE)
    bounds = bounds_of_trainings(*trained(MANY, SPEC)[:2], per=500, first=4000)
    assert len(bounds) == 32
    assert (bounds > accounted).sum() <= stats.binom.ppf(0.999, 32, 0.05)
    assert np.mean(bounds) > 0.1  # it does find the canary
    for broken in (
        {"dp_noise": 0.0},
        {"dp_clip": 10 * CLIP, "dp_noise": NOISE / 10},  # as much noise, but gradients are not clipped
    ):
        bounds = bounds_of_trainings(*trained(MANY, SPEC, **broken)[:2], per=500, first=4000)
        assert (bounds > accounted).mean() > 0.9


@pytest.mark.long
@pytest.mark.parametrize(("rate", "steps", "noise"), [(1.0, 4, 2.0), (0.25, 8, 1.0)])
def test_larger_audits_come_close_and_stay_below(rate, steps, noise):
    """A million trainings: the bound is nearly what is accounted, so that neither is much too large; and halved noise,
    or a rate of one where less is accounted, is seen."""
    spec = canary_spec(rate, steps)
    accounted = accounting.epsilon(noise, rate, steps, LARGE)
    scores, member, _ = trained(1_000_000, spec, dp_noise=noise, width=2500)
    (bound,) = bounds_of_trainings(scores, member, per=900_000, first=100_000)
    assert (0.85 if rate == 1 else 0.6) * accounted < bound <= accounted
    bounds = bounds_of_trainings(scores, member, per=2000, first=100_000)
    assert (bounds > accounted).sum() <= stats.binom.ppf(0.999, len(bounds), 0.05)
    for broken, noisy in ((spec, noise / 2), (canary_spec(1.0, steps), noise if rate < 1 else noise / 2)):
        scores, member, _ = trained(300_000, broken, dp_noise=noisy, width=2500)
        (bound,) = bounds_of_trainings(scores, member, per=200_000, first=100_000)
        assert bound > accounted


@pytest.mark.long
def test_a_private_model_is_the_same_alone():
    """Alone at width 1, another order of sums; the same rows and the same noise."""
    _, _, together = trained(SOME, SPEC)
    _, _, alone = trained(SOME, SPEC, width=1, devices=jax.devices()[:1], ids=np.array([3]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[3], b[0], rtol=1e-4, atol=1e-6), together, alone)


@pytest.mark.long
def test_noise_of_a_training_is_each_models_own():
    _, _, noise = trained(SOME, SPEC, dp_clip=1e-9, dp_noise=1e9)  # what moves is noise: 8 steps of deviation 1 / 9
    moved = np.concatenate([np.reshape(leaf, (SOME, -1)) for leaf in jax.tree.leaves(noise)], 1)
    assert moved.shape[1] == 8
    assert stats.kstest(moved.ravel() * 9 / 8**0.5, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(moved.T) - np.eye(8)).max() < 4.5 / SOME**0.5  # leaves and weights
    assert len(np.unique(moved[:, 0])) > 0.99 * SOME  # models


def test_private_noise_is_normal_beyond_the_reach_of_one_float32_draw(monkeypatch):
    shape = (512, 512)
    drawn = np.asarray(dp_sgd.gaussian(jax.random.key(0), shape, jnp.float32), np.float64)
    assert stats.kstest(drawn.ravel()[:100_000], "norm").pvalue > 1e-3
    assert drawn.var() == pytest.approx(1, abs=0.01)
    assert stats.kurtosis(drawn.ravel()) == pytest.approx(0, abs=0.04)
    largest = jax.random.normal(jax.random.key(0), (4, *shape)).max()
    assert largest < 5.5
    monkeypatch.setattr(jax.random, "normal", lambda key, shape, dtype: jnp.full(shape, 5.2, dtype))
    assert float(dp_sgd.gaussian(jax.random.key(0), (), jnp.float32)) == pytest.approx(10.4)
