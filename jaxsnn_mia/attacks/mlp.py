"""A dense network with ReLU, as what an attack learns: layers ((weight [I, O], bias [O]), ...), of one attacked model.

The loss, the steps and the data are those of who trains it (`quantile`, `reconstruction.decoder`).
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


def first_layers(keys: Sequence[jax.Array], widths: tuple[int, ...]) -> tuple:
    """Hidden layers of normal weights with variance 2 / inputs and zero biases (He et al. 2015, arXiv 1502.01852); a
    last layer of zeros, so that training starts from a constant.

    Args:
      keys: one for each hidden layer; more are not used.
      widths: of the input, of each hidden layer and of the output.
    """
    *hidden, last = itertools.pairwise(widths)
    layers = []
    for key, (inputs, outputs) in zip(keys, hidden, strict=False):
        weight = (2 / inputs) ** 0.5 * jax.random.normal(key, (inputs, outputs))
        layers.append((weight, jnp.zeros(outputs)))
    return (*layers, (jnp.zeros(last), jnp.zeros(last[1])))


def forward(layers: tuple, x_bi: jax.Array) -> jax.Array:
    """[B, O] of inputs [B, I]: ReLU behind every layer but the last."""
    *hidden, (last_weight, last_bias) = layers
    for weight, bias in hidden:
        x_bi = jax.nn.relu(x_bi @ weight + bias[None])
    return x_bi @ last_weight + last_bias[None]


def step(optimizer: Any, gradients: Any, layers: tuple, state: Any) -> tuple[tuple, Any]:
    """(layers, state) after one step of an optax optimiser, from the gradients of the loss by the layers."""
    import optax

    with jax.numpy_dtype_promotion("standard"):  # optax takes powers of an integer count of steps
        updates, state = optimizer.update(gradients, state)
    return optax.apply_updates(layers, updates), state
