"""Names of surrogates, and of code of the caller's own."""

import jax
import jax.numpy as jnp
import pytest

from jaxsnn_mia.kernels import surrogate
from jaxsnn_mia.models import by_name


def test_an_unknown_surrogate_names_the_known_ones():
    with pytest.raises(ValueError, match=r"one of \['arctan'.*got 'atan'"):
        by_name.surrogate("atan")


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
    assert surrogate.default_slope(by_name.surrogate("own_surrogates:tent")) == 1.0
    spike = surrogate.with_slope(by_name.surrogate("own_surrogates:tent"), 2.0, at_zero=1.0)
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
            by_name.surrogate(bad)
