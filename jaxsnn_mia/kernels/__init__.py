"""Spike functions, neurons, encodings and quantizers: jax and numpy only, no shadow axis, nothing run at import."""

from jaxsnn_mia.kernels import encoding, neuron, quantize, surrogate

__all__ = ["encoding", "neuron", "quantize", "surrogate"]
