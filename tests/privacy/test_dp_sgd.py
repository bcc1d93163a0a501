"""The noise on private gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxsnn_mia.privacy import dp_sgd


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
