"""Trained networks as Spyx models and as NIR graphs, which other frameworks and chips read.

Only this module and `layers.py` import spyx, and nothing imports them at start: ``from jaxsnn_mia.models import
exchange``.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import spyx
from flax import nnx

from jaxsnn_mia.kernels import surrogate
from jaxsnn_mia.models import by_name
from jaxsnn_mia.models.layers import ALIF, LI, LIF
from jaxsnn_mia.models.quantized import weights
from jaxsnn_mia.models.spec import Hyper, ModelSpec


def to_spyx(spec: ModelSpec, params: dict, hyper: Hyper) -> spyx.nn.Sequential:
    """One trained dense SNN as a Spyx model of linear and LIF layers, its weights as the network used them (quantized
    where it was). Its input is [B, D] at each step, its output the spikes of the output layer.

    `params` are the variables of one model, {"params", "statistics"}. Raises ValueError for another family, or where
    currents or membranes are quantized, which a Spyx layer has no place for.
    """
    if spec.family != "snn":
        raise ValueError(f"only the dense spiking network goes to Spyx, got family {spec.family!r}.")
    lost = [part for part in ("activation", "state") if part in spec.quant.parts and getattr(hyper, f"qmax_{part}") > 0]
    if lost:
        raise ValueError(f"Spyx layers cannot hold the quantization of {lost}. Train with quantization.what=weight.")
    rngs = nnx.Rngs(0)
    layers = []
    given = [layer for _, layer in sorted(params["params"]["layers"].items())]
    for i, layer in enumerate(given):
        kernel = weights(jnp.asarray(layer["kernel"]), hyper, spec.quant, i in (0, len(given) - 1))
        linear = nnx.Linear(*kernel.shape, rngs=rngs)
        linear.kernel[...], linear.bias[...] = kernel, jnp.asarray(layer["bias"])
        spike = surrogate.with_slope(by_name.surrogate(spec.surrogate), float(np.asarray(hyper.slope)))
        cell = LIF(
            (kernel.shape[1],),
            beta=float(np.asarray(hyper.beta)),
            threshold=float(np.asarray(hyper.threshold)),
            activation=spike,
            rngs=rngs,
            reset=spec.reset,
        )
        layers += [linear, cell]
    return spyx.nn.Sequential(*layers)


def to_nir(model: spyx.nn.Sequential, in_shape: tuple[int, ...], out_shape: tuple[int, ...], *, dt: float = 1.0) -> Any:
    """The NIR graph of a Spyx model: weights, decays (as time constants, dt the time step) and thresholds. NIR has no
    word for when a reset acts, nor for a surrogate.

    Raises ValueError for a layer without a node in NIR, which Spyx's export would leave out.
    """
    unknown = [type(layer).__name__ for layer in model.layers if isinstance(layer, (ALIF, LI))]
    if unknown:
        raise ValueError(f"NIR has no node for {unknown}; export a network of IF, LIF, CuBaLIF or their recurrent kin.")
    return spyx.nir.to_nir(model, {"input": np.array(in_shape)}, {"output": np.array(out_shape)}, dt=dt)
