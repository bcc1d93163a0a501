"""The time loop of `neuron.scan` as one kernel on an accelerator: each element is read and written once.

A program instance holds a tile of neurons in registers and walks through time, so that per neuron-step a LIF moves 12
bytes forward and 12 backward in float32. On GPUs it is lowered by Triton (Ampere and later; deprecated from jax 0.12
on, and without it neurons run as a scan), on TPUs by Mosaic; everywhere else the kernel can be interpreted, which tests
it. `works()` says whether this process has an accelerator on which it gave the right numbers.
"""

from jaxsnn_mia.kernels.neuron.pallas.choice import refusal, works
from jaxsnn_mia.kernels.neuron.pallas.scan import backward, forward

__all__ = ["backward", "forward", "refusal", "works"]
