"""The strict modes of `conftest.py` are on where it says so: a path that moved would switch them off in silence."""

import jax
import jax.numpy as jnp
import pytest

from tests.conftest import STRICT_DTYPES


def test_the_strict_places_are_there():
    assert all(place.exists() for place in STRICT_DTYPES)


def test_ranks_are_never_promoted_in_silence():
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.ones(3) + jnp.ones((2, 3))


def test_dtypes_are_promoted_here():
    assert jax.config.jax_numpy_dtype_promotion == "standard"
