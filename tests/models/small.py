"""Small quantized networks, their settings and their answers."""

import functools

import jax
import numpy as np

from jaxsnn_mia import models
from jaxsnn_mia.kernels import quantize
from jaxsnn_mia.models import Hyper, ModelSpec, QuantSpec

FEATURES = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
ALL = QuantSpec(parts=models.QUANTIZED["all"])


def hyper(family, bits, **changes):
    activation = quantize.qmax_unsigned if family == "ann" else quantize.qmax_symmetric
    return Hyper(qmax_weight=quantize.qmax_symmetric(bits), qmax_activation=activation(bits),
                 qmax_state=quantize.qmax_unsigned(bits), threshold=0.4, **changes)  # fmt: skip


@functools.cache
def built(spec):
    """The functions of a model, compiled once for all tests of a process."""
    model = models.build(spec)
    return model._replace(init=jax.jit(model.init), apply=jax.jit(model.apply, static_argnames="train"))


def make(family, **quant):
    spec = ModelSpec(family, (6,), 3, hidden=(16, 8), time_steps=5, quant=QuantSpec(**quant))
    return spec, built(spec)


def seen(model, h, params=None):
    """The variables of a model after one training batch."""
    params = model.init(jax.random.key(0)) if params is None else params
    out = model.apply(params, FEATURES, h, jax.random.key(1), train=True)
    return {**params, "statistics": out.aux["statistics"]}


def logits(model, params, h, x=FEATURES):
    return model.apply(params, x, h, jax.random.key(1), train=False).logits_bc
