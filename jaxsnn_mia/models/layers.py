"""Neurons as flax.nnx layers of the Spyx protocol: `initial_state(batch)` and `__call__(x, state) -> (out, state)`.

They run in `spyx.nn.Sequential` and `spyx.nn.run` beside Spyx's own, take this project's surrogates and conventions
(`**neuron.PRESETS["snntorch"]`, reset=, emit=, ...), and may learn their threshold. `over_time(x_tb)` runs a whole
sequence at once, with the fused backward. `exchange` writes all but ALIF as NIR graphs, where their reset is to zero.

Every layer takes what Spyx's layer of its name takes: hidden_shape, decays (None: one a neuron, drawn around .5; a
number: one for all; either learns), threshold, activation; then learn_threshold and the conventions of
`neuron.lif_step`. Inputs are [B, *hidden_shape], in float32.
"""

from typing import Any

import jax
import jax.numpy as jnp
import spyx
from flax import nnx

from jaxsnn_mia.kernels import neuron, surrogate


class Firing:
    """What the firing layers share, mixed into a layer of Spyx: thresholds, conventions, and a recurrent product for
    those that have `recurrent_w`, whose state also holds the last spikes."""

    decays: tuple[tuple[str, str], ...] = ()  # (Spyx's name, the kernel's name) of each parameter
    step: Any  # the kernels
    sequence: Any
    hidden_shape: tuple[int, ...]
    threshold: Any
    spike: Any

    def __init__(self, hidden_shape, *args, activation=None, learn_threshold=False, rngs: nnx.Rngs, **options: Any):
        spyx_options = {k: options.pop(k) for k in ("alpha", "beta", "gamma", "threshold") if k in options}
        super().__init__(  # type: ignore[call-arg]
            hidden_shape, *args, activation=activation or surrogate.arctan(), rngs=rngs, **spyx_options
        )
        neuron.conventions(**options)
        self.conventions = tuple(options.items())
        if learn_threshold:
            self.threshold = nnx.data(nnx.Param(jnp.full(hidden_shape, self.threshold)))

    def settings(self) -> dict:
        """The keyword arguments of the kernel."""
        decays = {name: getattr(self, theirs)[...] for theirs, name in self.decays}
        threshold = self.threshold[...] if isinstance(self.threshold, nnx.Param) else self.threshold
        return {"beta": 1.0, "threshold": threshold, "spike": self.spike, **decays, **dict(self.conventions)}

    def zeros(self, batch_size: int) -> Any:
        return jnp.zeros((batch_size, *self.hidden_shape))

    def initial_state(self, batch_size: int) -> Any:
        """Zeros; (state, last spikes) where the layer is recurrent."""
        state = self.zeros(batch_size)
        return (state, jnp.zeros((batch_size, *self.hidden_shape))) if hasattr(self, "recurrent_w") else state

    def __call__(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        """(spikes [B, ...], state) after one step."""
        if not hasattr(self, "recurrent_w"):
            state, spikes = self.step(state, x, **self.settings())
            return spikes, state
        inner, last = state
        inner, spikes = self.step(inner, x + last @ self.recurrent_w[...], **self.settings())
        return spikes, (inner, spikes)

    def over_time(self, x_tb: jax.Array) -> jax.Array:
        """Spikes [T, B, ...] of a whole sequence from the zero state."""
        recurrent = self.recurrent_w[...] if hasattr(self, "recurrent_w") else None
        return self.sequence(x_tb, recurrent=recurrent, **self.settings())[0]


class IF(Firing, spyx.nn.IF):
    """Integrate and fire: no leak."""

    step, sequence = staticmethod(neuron.lif_step), staticmethod(neuron.lif)


class LIF(Firing, spyx.nn.LIF):
    """Leaky integrate and fire."""

    decays = (("beta", "beta"),)
    step, sequence = staticmethod(neuron.lif_step), staticmethod(neuron.lif)


class RIF(Firing, spyx.nn.RIF):
    """Recurrent integrate and fire."""

    step, sequence = staticmethod(neuron.lif_step), staticmethod(neuron.lif)


class RLIF(Firing, spyx.nn.RLIF):
    """Recurrent leaky integrate and fire."""

    decays = (("beta", "beta"),)
    step, sequence = staticmethod(neuron.lif_step), staticmethod(neuron.lif)


class CurrentBased(Firing):
    """State `neuron.Synaptic`: synaptic current (decay alpha), membrane (decay beta). Spyx's own layers also let the
    membrane's leak act on what a reset takes off."""

    decays = (("alpha", "alpha"), ("beta", "beta"))
    step, sequence = staticmethod(neuron.synaptic_step), staticmethod(neuron.synaptic)

    def zeros(self, batch_size):
        return neuron.Synaptic(super().zeros(batch_size), super().zeros(batch_size))


class CuBaLIF(CurrentBased, spyx.nn.CuBaLIF):
    """Current-based leaky integrate and fire."""


class RCuBaLIF(CurrentBased, spyx.nn.RCuBaLIF):
    """Recurrent current-based leaky integrate and fire."""


class ALIF(Firing, spyx.nn.ALIF):
    """Adaptive leaky integrate and fire; gamma is the decay of the adaptation."""

    decays = (("beta", "beta"), ("gamma", "rho"))
    step, sequence = staticmethod(neuron.adaptive_lif_step), staticmethod(neuron.adaptive_lif)

    def zeros(self, batch_size):
        return neuron.Adaptive(super().zeros(batch_size), super().zeros(batch_size))


class LI(spyx.nn.LI):
    """Leaky integrator, which never fires; the layer of Spyx with `over_time`."""

    def over_time(self, x_tb: jax.Array) -> jax.Array:
        """Membrane [T, B, ...] of a whole sequence from the zero state."""
        return neuron.leaky_integrator(x_tb, beta=self.beta[...])
