"""What private training spends: epsilon and delta of DP-SGD, and the room that its random batches need.

Each step takes every row with probability `rate`, sums the clipped gradients and adds Gaussian noise of deviation
`noise` x the clip (Abadi et al. 2016, arXiv 1607.00133). Neighbouring data sets differ by one row that is added or
removed, so nothing here may depend on how many rows a model really has.

Batches are padded to `capacity` rows; a batch with more rows overflows: it loses its last ones. Let beta be the
probability that any step of a training overflows. If the training without a limit is (epsilon, delta)-private, the
training with the limit is (epsilon, delta + (1 + e^epsilon) beta)-private, since the two differ only where a step
overflows, with either of the neighbours (Chua et al. 2024, arXiv 2411.04205).
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

ADJACENCY = "add or remove one row"
GRID = 2.0**-23  # step of the uniform float32 numbers that choose rows
SPARE = 0.01  # share of delta that is kept for overflow
LARGEST = 32.0  # the largest epsilon that is claimed
RARE = SPARE / (1 + math.exp(LARGEST))  # share of delta that beta may be; SPARE then pays for it up to LARGEST
FINE = 1e-4  # step of the discretised privacy losses; and relative precision of a noise multiplier


class Privacy(NamedTuple):
    """A private training: with `noise` it is (epsilon, delta)-differentially private, add or remove one row."""

    epsilon: float  # inf: none is claimed
    delta: float
    noise: float  # deviation of the noise on a sum of gradients, in units of the clip
    rate: float  # probability of each row in each step
    batch_size: int  # expected rows of a batch, where a model has half of the candidates
    capacity: int  # rows of a padded batch
    steps: int


def plan(
    batch_size: int, half: int, rows: int, steps_per_epoch: int, epochs: int, *, delta: float, noise: float = 0.0,
    target: float = 0.0,
) -> Privacy:  # fmt: skip
    """The private training in batches of about `batch_size` of `half` rows, the half of all candidates.

    Args:
      batch_size: expected rows of a batch; steps_per_epoch, epochs: how long the training is.
      rows: the most rows that a model has. Epsilon holds for data sets of at most so many rows, and one more in a
        neighbour.
      delta: of the guarantee, in (0, 1 / half).
      noise: the noise multiplier; 0 where `target` decides it.
      target: an epsilon, at most `LARGEST`: for a larger one overflow would be too likely.

    Raises:
      ValueError: delta is no less than 1 / half (a mechanism that publishes a random row would pass), or no noise
        reaches the target.
    """
    if not 0 < delta < 1 / half:
        raise ValueError(f"`train.dp_delta` must be in (0, 1 / {half}), {half} the rows of a model, got {delta}.")
    steps = steps_per_epoch * epochs
    rate = min(math.ceil(batch_size / half / GRID) * GRID, 1.0)
    room = capacity(rate, rows + 1, steps, RARE * delta)
    beta = overflow(room, rate, rows + 1, steps)
    if target:
        noise = noise_for(target, rate, steps, delta, beta=beta)
    noise = float(np.float32(noise))
    spent = epsilon(noise, rate, steps, delta, beta=beta)
    return Privacy(spent, delta, noise, rate, batch_size, room, steps)


@functools.cache
def epsilon(noise: float, rate: float, steps: int, delta: float, *, beta: float = 0.0) -> float:
    """Upper bound of the epsilon at `delta` of `steps` noisy sums of rows that are chosen with probability `rate`.

    inf where there is no bound: without noise, or where overflow with probability `beta` takes more than its share of
    delta. It comes from privacy loss distributions in both directions, whose discretisation is rounded so that epsilon
    is never too small (Doroshenko et al. 2022, arXiv 2207.04380). The noise is taken to be real numbers; float32 noise
    comes close (`dp_sgd.gaussian`).
    """
    if noise == 0:
        return math.inf
    spare = SPARE * delta if beta else 0.0
    delta -= spare
    # with a fixed step, a large epsilon would need much memory: begin with a bound that ignores sampling, then refine
    rho = steps / (2 * noise**2)
    value, step = rho + 2 * math.sqrt(rho * math.log(1 / delta)), math.inf
    while FINE * max(1.0, value) < step / 2:
        step = FINE * max(1.0, value)
        value = min(value, _discretised(noise, rate, steps, delta, step))
    return value if not beta or (1 + math.exp(min(value, 700.0))) * beta <= spare else math.inf


def _discretised(noise: float, rate: float, steps: int, delta: float, step: float) -> float:
    """The upper bound of epsilon from privacy losses in steps of `step`."""
    import dp_accounting
    from dp_accounting import pld

    sampled = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
    accountant = pld.PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE, step)
    return accountant.compose(dp_accounting.SelfComposedDpEvent(sampled, steps)).get_epsilon(delta)


@functools.cache
def noise_for(target: float, rate: float, steps: int, delta: float, *, beta: float = 0.0) -> float:
    """The least noise multiplier, up to a relative 1e-4, whose `epsilon` is at most `target`.

    A bisection of our own. `dp_accounting.calibrate_dp_mechanism` searches with one accountant of a fixed step, and not
    with `epsilon`, which refines its step and pays for overflow. It also ends at another root: the noise of a training
    that is done would change in its last bits.

    Raises ValueError where 1e6 is not enough.
    """

    def enough(noise):
        return epsilon(noise, rate, steps, delta, beta=beta) <= target

    low, high = 0.0, 1.0
    while not enough(high):
        low, high = high, 2 * high
        if high > 1e6:
            raise ValueError(
                f"`train.dp_epsilon` must be larger, got {target}: no noise reaches it in {steps} steps at delta="
                f"{delta}. Train fewer epochs or allow more."
            )
    while high - low > FINE / 2 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high * (1 + FINE / 4)  # float32 may round it down


def overflow(capacity: int, rate: float, rows: int, steps: int) -> float:
    """Upper bound of the probability that some step takes more than `capacity` of `rows` rows."""
    return min(1.0, steps * float(binom.sf(capacity, rows, rate)))


def capacity(rate: float, rows: int, steps: int, probability: float) -> int:
    """The fewest rows of a padded batch that overflow in all `steps` together with at most `probability`."""
    low, high = 0, rows  # `high` is enough
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if overflow(middle, rate, rows, steps) <= probability else (middle + 1, high)
    return high
