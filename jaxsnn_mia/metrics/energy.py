"""Operations and energy of one inference: the third side of privacy and accuracy.

Public: `Work`, `work`. Synaptic operations (SynOps) are additions that spikes cause: a spike of a neuron with F
synapses onwards costs F. Products of real inputs and weights are multiply-accumulates (MACs). The dynamics of neurons,
memory and the sparsity of weights are left out, so this compares networks and predicts no chip.
"""

import itertools
from typing import NamedTuple

import numpy as np

# pJ of one operation of 32-bit floats in 45 nm: Horowitz 2014 (ISSCC, doi 10.1109/ISSCC.2014.6757323), figure 1.1.9
ADDITION, MULTIPLICATION = 0.9, 3.7
MAC = ADDITION + MULTIPLICATION


class Work(NamedTuple):
    """Of one inference, means over models and examples. firing_rate: spikes of a hidden neuron in a step, NaN where
    nothing spikes; synops: additions; macs; energy_nj in nJ."""

    firing_rate: float
    synops: float
    macs: float
    energy_nj: float


def work(
    sizes: tuple[int, ...], rates: np.ndarray, steps: int, *, spiking: bool, recurrent: bool = False,
    input_rate: float | None = None,
) -> Work:  # fmt: skip
    """What a network of dense layers does for one example.

    Args:
      sizes: features, hidden units of each layer, classes.
      rates: [..., H], how often each hidden unit spikes in a step, layers side by side; only read where `spiking`.
      steps: time steps.
      spiking: hidden units send spikes; otherwise values at every step.
      recurrent: each hidden layer is fed back to itself.
      input_rate: spikes of an input in a step; None: the input is real and the same at every step, and its product is
        taken once.

    Raises:
      ValueError: rates that do not fit the hidden units.

    Source: SynOps as Merolla et al. 2014 (Science 345, 668) count them.
    """
    features, *hidden, classes = sizes
    if spiking and np.shape(rates)[-1] != sum(hidden):
        raise ValueError(f"`rates` must be [..., {sum(hidden)}], the hidden units, got {np.shape(rates)}.")
    first = hidden[0] if hidden else classes
    macs = float(features * first) if input_rate is None else 0.0
    synops = 0.0 if input_rate is None else steps * input_rate * features * first
    rate = float("nan")
    if not spiking:
        pairs = [(n, after) for n, after in itertools.pairwise((*hidden, classes))]
        pairs += [(n, n) for n in hidden] if recurrent else []
        again = 1 if input_rate is None and not recurrent else steps
        macs += again * float(sum(n * after for n, after in pairs))
    elif hidden:
        mean_h = np.asarray(rates, np.float64).reshape(-1, sum(hidden)).mean(0)
        rate = float(mean_h.mean())
        start = 0
        for n, after in itertools.pairwise((*hidden, classes)):
            spikes = steps * mean_h[start : start + n].sum()
            synops += float(spikes * (after + (n if recurrent else 0)))
            start += n
    return Work(rate, float(synops), macs, float(ADDITION * synops + MAC * macs) / 1000)
