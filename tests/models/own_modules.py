"""Modules as callers write them, named "tests.models.own_modules:NAME"."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxsnn_mia.kernels import quantize
from jaxsnn_mia.kernels.neuron import lif
from jaxsnn_mia.kernels.surrogate import with_slope
from jaxsnn_mia.models import Output, by_name


class Linear(nnx.Module):
    """Reads nothing but its input."""

    def __init__(self, spec, *, rngs):
        self.layer = nnx.Linear(spec.n_features, spec.n_classes, rngs=rngs)

    def __call__(self, x, hyper, key, train):
        return Output(self.layer(x.reshape(len(x), -1)), None, {})


class Dropping(Linear):
    """With flax's standard dropout and batch normalisation."""

    def __init__(self, spec, *, rngs):
        super().__init__(spec, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x, hyper, key, train):
        return super().__call__(self.drop(x), hyper, key, train)


class Normalised(Linear):
    def __init__(self, spec, *, rngs):
        super().__init__(spec, rngs=rngs)
        self.norm = nnx.BatchNorm(spec.n_features, rngs=rngs)

    def __call__(self, x, hyper, key, train):
        return super().__call__(self.norm(x), hyper, key, train)


class Narrow(Linear):
    """Applies the bits of weights."""

    def __call__(self, x, hyper, key, train):
        kernel = quantize.weight(self.layer.kernel[...], qmax=hyper.qmax_weight)
        return Output(x @ kernel, None, {})


class Spiking(Linear):
    """Reads beta, the threshold, and the surrogate with its slope."""

    def __init__(self, spec, *, rngs):
        super().__init__(spec, rngs=rngs)
        self.spec = spec

    def __call__(self, x, hyper, key, train):
        spike = with_slope(by_name.surrogate(self.spec.surrogate), hyper.slope)
        spikes, _ = lif(self.layer(x), beta=hyper.beta, threshold=hyper.threshold, spike=spike, steps=4)
        return Output(spikes.sum(0), None, {})


class Bfloat(Linear):
    def __call__(self, x, hyper, key, train):
        return Output(super().__call__(x, hyper, key, train).logits_bc.astype(jnp.bfloat16), None, {})


class Bare(Linear):
    def __call__(self, x, hyper, key, train):
        return self.layer(x)


class OneTooMany(Linear):
    def __call__(self, x, hyper, key, train):
        return Output(jnp.pad(self.layer(x), ((0, 0), (0, 1))), None, {})


class Single(Linear):
    def __call__(self, x, hyper, key, train):
        return Output(self.layer(x)[:, :1], None, {})


class Other(Linear):
    def __call__(self, x):
        return Output(self.layer(x), None, {})


class Unmade(nnx.Module):
    def __init__(self, features, *, rngs):
        self.layer = nnx.Linear(features, features, rngs=rngs)


def attack(phi, keep, *, partner_s=None, valid_s=None):
    """An attack of the caller's own: the confidence, mean over queries."""
    return np.asarray(phi).mean(-1)


def unknown_need(confidence, *, valid_s=None):
    return confidence
