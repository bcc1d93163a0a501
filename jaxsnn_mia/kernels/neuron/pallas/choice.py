"""Whether the Pallas kernel can be used: for this neuron, on this machine."""

import functools
import logging

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.kernels.neuron.cell import Cell, Parameters
from jaxsnn_mia.kernels.neuron.pallas import mosaic
from jaxsnn_mia.kernels.neuron.pallas.scan import backward, forward
from jaxsnn_mia.kernels.platform import is_here, platform
from jaxsnn_mia.kernels.surrogate import Surrogate, arctan

log = logging.getLogger(__name__)


def refusal(p: Parameters, steps: int) -> str | None:
    """What of the parameters a kernel of elementwise operations cannot hold, in words; None where all fits."""
    if platform() == "tpu" and steps > mosaic.LONGEST:
        return f"more than {mosaic.LONGEST} steps on a TPU"
    if p.recurrent is not None:
        return "recurrent weights"
    if p.state_fn is not None:
        return "`state_fn`"
    if p.spike is None:
        return None
    if not isinstance(p.spike, Surrogate):
        return "spike function other than a `Surrogate`"
    return "stochastic surrogate" if p.spike.stochastic else None


def works() -> bool:
    """Whether programs are made for an accelerator and the kernel works there; one that is not here is trusted."""
    return platform() in ("gpu", "tpu") and (not is_here() or tried())


@functools.cache
def tried() -> bool:
    """Whether the kernel compiles on the default device and gives the numbers of plain numpy. Tried once a process; the
    answer is logged."""
    try:
        with jax.ensure_compile_time_eval():
            error = probe()
    except Exception as reason:  # whatever the compiler says, the scan is there
        log.warning("neurons run as a lax.scan: the Pallas kernel does not compile here (%s)", first_line(reason))
        return False
    if not error < 1e-5:
        log.warning("neurons run as a lax.scan: the Pallas kernel is off by %g here", error)
        return False
    log.info("neurons run as a Pallas kernel on %s", jax.devices()[0].device_kind)
    return True


def first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def probe() -> float:
    """The largest error of a small leaky integration and its gradient, where both are geometric sums."""
    steps, beta = 7, 0.5
    cell = Cell(
        lambda p, v, x, t: p.beta * v + x,
        lambda p, v, raw, t: (raw, (p.spike(raw - 1.0), raw)),
        lambda p, raw: (raw, (p.spike(raw - 1.0), raw)),
    )
    p = Parameters(beta=jnp.float32(beta), spike=arctan())
    first, x_tb, times = jnp.zeros(300), jnp.ones((steps, 300)), jnp.arange(steps)
    last, out, raw, before = forward(cell, p, first, x_tb, times)
    ones = jnp.ones_like(x_tb)
    _, _, x_ct = backward(cell, p, first, raw, before, times, jnp.zeros(300), (0 * ones, ones))
    sums = (2 * (1 - 0.5 ** np.arange(1, steps + 1)))[:, None]
    pairs = [(last, sums[-1]), (out[1], sums), (out[0], sums > 1), (x_ct, sums[::-1])]
    return max(float(np.abs(np.asarray(got, np.float64) - want).max()) for got, want in pairs)
