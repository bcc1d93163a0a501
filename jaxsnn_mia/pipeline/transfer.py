"""How far a label holds along a perturbation that fools other models: the signal of a label-only attack.

The pairs of shadows are two halves. For the models of one half the perturbations are made on models of the other, of
each example on those that did not train on it. A model is then asked for labels along it. No model, and no partner of
it, has a part in its own perturbations.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.attacks.difficulty import halves
from jaxsnn_mia.attacks.references import usable
from jaxsnn_mia.data.splits import partners
from jaxsnn_mia.pipeline.trained import Trained, blocks
from jaxsnn_mia.signals import catalogue, queries
from jaxsnn_mia.signals.from_logits import logit_confidence
from jaxsnn_mia.training.step import make_train

MAKERS = 8  # models, whole pairs, that the perturbations of a half are made on
STEPS = 10  # of the ascent
RADIUS = 0.3  # within which it ascends, in the length of the noise of `signals.queries`
SIZES = np.geomspace(0.03, 3.0, 16)  # at which labels are asked, in that length


def survival(models: Trained, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """float32 [S, N, 1] in [0, 1]: the share of `SIZES`, from the smallest, up to which every label is right; 0 where
    the label of the example itself is wrong.

    Args:
      models: the trained models of a variant.
      x, y: its candidates [N, ...] and their labels [N], as in the data stage.

    Source: Peng et al. 2024 (OSLO, arXiv 2405.16978), with one direction and a ladder of sizes for each example.
    """
    keep_sn = models.keep
    half_s, usable_s = halves(len(keep_sn)), usable(len(keep_sn), partners(len(keep_sn)), models.valid)
    unmoved = right(models, x, y)
    out = np.zeros((*keep_sn.shape, 1), np.float32)
    for half in (0, 1):
        makers = np.flatnonzero((half_s != half) & usable_s)[:MAKERS]
        if not len(makers):
            raise ValueError("the signal 'survival' needs a valid pair in every half of the shadows, got none in one.")
        moves = perturbations(models, makers, x, y, ~keep_sn[makers])
        held, reached = unmoved.copy(), np.zeros(unmoved.shape)
        for size in SIZES:
            held &= right(models, moved(x, size * moves), y)
            reached += held
        own_s = half_s == half
        out[own_s, :, 0] = reached[own_s] / len(SIZES)
    return out


def perturbations(models: Trained, makers: np.ndarray, x, y, outside_mn: np.ndarray) -> np.ndarray:
    """float32 [N, ...] of the length of the noise: where the loss of the models `makers` [M] that did not train on an
    example rises, by steps along its gradient; through spikes that of the surrogate."""
    chosen = models.chosen(makers, models.config.signals.epoch or None)
    state = jax.tree.map(lambda leaf: leaf[: len(makers)], chosen.state)
    train, reach = make_train(models.spec), length(x)

    @jax.jit
    def of_block(state, x, y, outside_mn):
        x = x.astype(jnp.float32)

        def loss(move, state, outside_n):
            logits = train.apply(state.params, state.norm, x + move, models.hyper, jax.random.key(0)).logits_bc
            return (outside_n * jax.nn.softplus(-logit_confidence(logits[:, None], y)[:, 0])).sum()

        def step(_, move):
            uphill = jax.vmap(jax.grad(loss), (None, 0, 0))(move, state, outside_mn).sum(0)
            move = move + unit(uphill) * (2 * RADIUS * reach / STEPS)
            size = jnp.sqrt((move**2).sum(tuple(range(1, x.ndim)), keepdims=True) + 1e-30)
            return move * jnp.minimum(1.0, RADIUS * reach / size)

        return unit(jax.lax.fori_loop(0, STEPS, step, jnp.zeros_like(x))) * reach

    out = np.zeros(x.shape, np.float32)
    for part in blocks(len(x)):
        out[part] = of_block(state, x[part], y[part], outside_mn[:, part].astype(np.float32))
    return out


def unit(x: jax.Array) -> jax.Array:
    """Each example's direction; 0 where it has none."""
    return x * jax.lax.rsqrt((x**2).sum(tuple(range(1, x.ndim)), keepdims=True) + 1e-30)


def length(x: np.ndarray) -> float:
    """The length of noise as `queries.label_noise` adds it to an example."""
    deviation = queries.PIXEL_NOISE if x.dtype == np.uint8 else queries.NOISE
    return float(deviation * np.sqrt(np.prod(x.shape[1:])))


def moved(x: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Inputs that are asked; pixels stay pixels."""
    out = x.astype(np.float32) + move.astype(np.float32)
    return np.clip(np.round(out), 0, 255).astype(np.uint8) if x.dtype == np.uint8 else out


def right(models: Trained, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """bool [S, N]: whether each model gives the label."""
    query = catalogue.Query(("correct",), 1, models.config.defence)
    asked = models.ask(query, x, y, models.config.signals.epoch or None)
    return np.concatenate([part["correct"] for part in asked])[:, :, 0] > 0
