"""Integrate-and-fire neurons: one step, and whole sequences whose backward stores no more than it needs.

Each neuron is a `..._step` and a sequence function of the same arguments. Arrays may have any trailing shape: [B, n],
[B, H, W, C]. `reset.py` spells the conventions out; `PRESETS` names those of the libraries.
"""

from jaxsnn_mia.kernels.neuron.adaptive import Adaptive, adaptive_lif, adaptive_lif_step
from jaxsnn_mia.kernels.neuron.current_based import Synaptic, synaptic, synaptic_step
from jaxsnn_mia.kernels.neuron.leaky import leaky_integrator, lif, lif_step
from jaxsnn_mia.kernels.neuron.reset import PRESETS, RESETS, conventions
from jaxsnn_mia.kernels.numerics import unit_clip

__all__ = [
    "PRESETS", "RESETS", "Adaptive", "Synaptic", "adaptive_lif", "adaptive_lif_step", "conventions", "leaky_integrator",
    "lif", "lif_step", "synaptic", "synaptic_step", "unit_clip",
]  # fmt: skip
