"""The last membrane of an output layer, as one function of the spikes that drive it.

A delayed reset passes no gradient, so the membrane after T steps is linear in the currents, v_T = sum_t b^(T-1-t) I_t -
resets with I_t = s_t W + c. The cotangent of the spikes is therefore one product [B, C] W' with a decay for each step,
which the backward of the neurons below takes without its ever being spread over time.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.kernels.linear import product, transposed
from jaxsnn_mia.kernels.neuron import leaky_integrator, lif
from jaxsnn_mia.kernels.numerics import unit_clip

RESETS = ("subtract", "none")


def last_membrane(
    spikes_tbi: jax.Array, w_ic: jax.Array, bias_c: jax.Array, *, beta: Any, threshold: Any = 1.0, spike: Any = None,
    reset: str = "subtract",
) -> jax.Array:  # fmt: skip
    """`lif(spikes @ w + bias, ...)[1][-1]` with a delayed, detached reset; without `spike` that of `leaky_integrator`.

    Args:
      spikes_tbi: float32 [T, B, I], what drives the layer (any values, not only 0 and 1).
      w_ic, bias_c: float32 [I, C] and [C].
      beta, threshold: scalars as in `neuron.lif`; they receive gradients.
      spike: a deterministic surrogate, of which only the forward matters; None for a membrane that never fires.
      reset: "subtract" or "none".

    Returns:
      float32 [B, C]; equal to the general functions up to the order of sums.

    Raises:
      ValueError: reset "zero", whose membrane is not linear in the currents.
    """
    if reset not in RESETS:
        raise ValueError(f'`reset` must be one of {RESETS} here, got {reset!r}. Use `neuron.lif` for "zero".')
    beta = unit_clip(jnp.asarray(beta, w_ic.dtype))
    never = spike is None or reset == "none"
    return _last(never, spikes_tbi, w_ic, bias_c, beta, jnp.asarray(threshold, w_ic.dtype), None if never else spike)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _last(never, spikes_tbi, w_ic, bias_c, beta, threshold, spike):
    return _forward(never, spikes_tbi, w_ic, bias_c, beta, threshold, spike)[0]


def _forward(never, spikes_tbi, w_ic, bias_c, beta, threshold, spike):
    current_tbc = product(spikes_tbi, w_ic) + bias_c[None, None]
    if never:
        membrane_tbc, fired_tbc = leaky_integrator(current_tbc, beta=beta), jnp.zeros_like(current_tbc)
    else:
        fired_tbc, membrane_tbc = lif(current_tbc, beta=beta, threshold=threshold, spike=spike)
    steps = len(current_tbc)
    decay_t = beta ** jnp.arange(steps - 1, -1, -1, dtype=beta.dtype)
    # step t integrates the membrane, and takes off the spikes, of step t - 1
    by_beta_bc = (decay_t[1:, None, None] * membrane_tbc[:-1]).sum(0)
    by_threshold_bc = -(decay_t[1:, None, None] * fired_tbc[:-1]).sum(0)
    return membrane_tbc[-1], (decay_t, spikes_tbi, w_ic, by_beta_bc, by_threshold_bc, spike)


def _backward(never, saved, cotangent_bc):
    decay_t, spikes_tbi, w_ic, by_beta_bc, by_threshold_bc, spike = saved
    spikes_ct = decay_t[:, None, None] * (cotangent_bc @ w_ic.T)[None]
    current_ct = decay_t[:, None, None] * cotangent_bc[None]
    current_rc, spikes_ri = (a.reshape(-1, a.shape[-1]) for a in (current_ct, spikes_tbi))
    w_ct = transposed(current_rc, spikes_ri, 0)
    bias_ct = cotangent_bc.sum(0) * decay_t.sum()
    beta_ct, threshold_ct = ((cotangent_bc * by).sum() for by in (by_beta_bc, by_threshold_bc))
    return spikes_ct, w_ct, bias_ct, beta_ct, threshold_ct, jax.tree.map(nothing, spike)


def nothing(leaf: jax.Array) -> Any:
    """The zero cotangent of a surrogate's parameter."""
    is_float = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    return jnp.zeros_like(leaf) if is_float else np.zeros(jnp.shape(leaf), jax.dtypes.float0)


_last.defvjp(_forward, _backward)
