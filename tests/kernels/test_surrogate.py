import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxsnn_mia.kernels import surrogate


def test_arctan_is_a_heaviside_with_the_published_derivative():
    x = jnp.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    spike = surrogate.arctan(alpha=2.0)
    np.testing.assert_array_equal(spike(x), [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(surrogate.arctan(at_zero=1.0)(x), [0, 0, 1, 1, 1])
    gradient = jax.vmap(jax.grad(spike))(x)
    np.testing.assert_allclose(gradient, 1 / (1 + (np.pi * np.asarray(x)) ** 2), rtol=1e-6)


@pytest.mark.parametrize("name", surrogate.SURROGATES)
def test_a_traced_slope_works_under_vmap_scan_and_grad(name):
    def loss(x, slope):
        spike = surrogate.with_slope(name, slope)
        keys = jax.random.split(jax.random.key(0), 4)

        def step(v, part):
            current, key = part
            v = v * 0.9 + current
            s = spike(v - 1.0, key)
            return v - s, s

        return lax.scan(step, jnp.zeros(3), (x, keys))[1].sum()

    x = jnp.linspace(0.1, 3.2, 12).reshape(4, 3)
    slopes = jnp.array([1.0, 3.0])
    together = jax.vmap(jax.grad(loss), (None, 0))(x, slopes)
    alone = jnp.stack([jax.grad(loss)(x, slope) for slope in slopes])
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    assert float(jnp.abs(together).sum()) > 0
    np.testing.assert_array_equal(jax.grad(loss, 1)(x, jnp.float32(2.0)), 0.0)


def test_an_unknown_surrogate_names_the_known_ones():
    with pytest.raises(ValueError, match=r"one of \['arctan'.*got 'atan'"):
        surrogate.with_slope("atan", 1.0)


OWN = """
import jax.numpy as jnp
from jaxsnn_mia.kernels import surrogate

def tent(width=1.0, **options):
    return surrogate.custom(lambda x, width: jnp.maximum(1 - abs(x) / width, 0), name="tent", width=width, **options)

def positional(width):
    return tent(width)

def number():
    return 1.0

def bare(alpha=2.0):
    return surrogate.arctan(alpha)

def renamed(width=2.0, **options):
    return surrogate.arctan(width, **options)
"""


def test_an_own_surrogate_is_named_by_its_module(tmp_path, monkeypatch):
    (tmp_path / "own_surrogates.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    assert surrogate.default_slope("own_surrogates:tent") == 1.0
    spike = surrogate.with_slope("own_surrogates:tent", 2.0, at_zero=1.0)
    assert spike(jnp.float32(0.0)) == 1
    assert jax.grad(spike)(jnp.float32(0.5)) == 0.75
    for bad, said in {
        "own_surrogates:tnet": "no attribute 'tnet'",
        "own_surrogate:tent": "No module named",
        "own_surrogates:positional": "missing 1 required",
        "own_surrogates:bare": "at_zero",
        "own_surrogates:renamed": "width",
        "own_surrogates:number": "must give a Surrogate, got float",
        "tent": "package.module:function",
    }.items():
        with pytest.raises(ValueError, match=said):
            surrogate.default_slope(bad)
