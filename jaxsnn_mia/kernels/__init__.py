"""Spike functions, neurons, encodings and quantizers: jax and numpy only, no shadow axis, nothing run at import."""

from jaxsnn_mia.kernels import encoding, integer, quantize, surrogate

__all__ = ["encoding", "integer", "neuron", "quantize", "surrogate"]
