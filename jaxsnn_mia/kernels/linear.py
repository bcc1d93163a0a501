"""A matrix product whose narrow form is fast on CPUs.

XLA's CPU matrix products are two to four times slower where the result has few columns (a classifier's 10) than
where the same product is taken transposed. So narrow layers compute (w' x')', and their weight gradient as (g' x)'.
"""

import jax
from jax import lax

from jaxsnn_mia.kernels.platform import platform

NARROW = 32  # columns; measured on x86: above it the plain product wins


def product(x: jax.Array, w: jax.Array) -> jax.Array:
    """x @ w for x [..., I] and w [I, O], any one floating dtype: [..., O]."""
    if platform() != "cpu" or w.shape[1] > NARROW or w.shape[1] >= w.shape[0]:
        return x @ w
    return _narrow(x.reshape(-1, x.shape[-1]), w).reshape(*x.shape[:-1], w.shape[1])


def transposed(a: jax.Array, b: jax.Array, contract: int) -> jax.Array:
    """The transpose of a matrix product over axis `contract` of both, kept from being folded into its operands."""
    dims = (((contract,), (contract,)), ((), ()))
    return lax.optimization_barrier(lax.dot_general(a, b, dims)).T


@jax.custom_vjp
def _narrow(x_ri: jax.Array, w_io: jax.Array) -> jax.Array:
    return transposed(lax.optimization_barrier(w_io.T), x_ri, 1)


def _narrow_forward(x_ri, w_io):
    return _narrow(x_ri, w_io), (x_ri, w_io)


def _narrow_backward(saved, cotangent_ro):
    x_ri, w_io = saved
    return cotangent_ro @ w_io.T, transposed(cotangent_ro, x_ri, 0)


_narrow.defvjp(_narrow_forward, _narrow_backward)
