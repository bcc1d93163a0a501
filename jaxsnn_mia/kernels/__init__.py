"""Spike functions, neurons and quantizers: jax and numpy only, no shadow axis, nothing run at import."""

from jaxsnn_mia.kernels import neuron, quantize, surrogate

__all__ = ["neuron", "quantize", "surrogate"]
