"""Signals that need more than the logits of one plain query: time steps, masked or noisy inputs, gradients, rates.

Each is fn(apply, params, x, y, hyper, key) -> [N, ...] of ONE model, apply(params, x, hyper, key) -> Output. Masks,
noise and directions are drawn from a fixed key, so they are the same for every model and every example: queries are
aligned, and an example's answer does not depend on the other examples of its batch.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxsnn_mia.signals.from_logits import logit_confidence

MASKS = 8  # of the input
DROPPED = 0.2  # share of the input that each mask takes away
REPEATS = 8  # of the same query
DRAWS = 16  # noisy copies of an example
NOISE = 0.5  # deviation of the noise on a standardised feature
PIXEL_NOISE = 25.0  # deviation of the noise on a uint8 pixel
DIRECTIONS = 16  # random rays from an example
ROUNDS = 4  # of looking for a nearer point around the nearest ray
AROUND = 0.3  # how far a new ray is from the best one, in its length; it halves with every round
BISECTIONS = 10  # along a ray
FARTHEST = 4.0  # half the length of a ray, in deviations of the noise
ROWS_AT_ONCE = 16  # examples whose gradients are held together


def phi_steps(apply, params, x, y, hyper, key):
    """Logit confidence of the answer after each time step [N, T]; [N, 1] of a network without time steps."""
    output = apply(params, x, hyper, key)
    logits_tbc = output.logits_bc[None] if output.logits_tbc is None else output.logits_tbc
    return logit_confidence(jnp.moveaxis(logits_tbc, 0, 1), y)


def phi_dropout(apply, params, x, y, hyper, key):
    """Logit confidence under input masks [N, MASKS]. Source: Guan et al. 2025 (arXiv 2502.13191)."""
    kept = jax.random.bernoulli(jax.random.key(0), 1 - DROPPED, (MASKS, *x.shape[1:]))

    def masked(kept):
        return apply(params, x * kept[None].astype(x.dtype), hyper, key).logits_bc

    return logit_confidence(jnp.moveaxis(lax.map(masked, kept), 0, 1), y)


def phi_repeats(apply, params, x, y, hyper, key):
    """Logit confidence of the same query, asked REPEATS times [N, REPEATS]. It varies where the model is random."""
    asked = lax.map(lambda i: apply(params, x, hyper, jax.random.fold_in(key, i)).logits_bc, jnp.arange(REPEATS))
    return logit_confidence(jnp.moveaxis(asked, 0, 1), y)


def gradient_norm(apply, params, x, y, hyper, key):
    """log of the Euclidean norm of the loss's gradient by all parameters [N, 1].
    Source: Nasr et al. 2019 (arXiv 1812.00910)."""

    def log_norm(example):
        x_1, y_1 = (a[None] for a in example)

        def loss(weights):
            logits = apply(params | {"params": weights}, x_1, hyper, key).logits_bc
            return jax.nn.softplus(-logit_confidence(logits[:, None], y_1)).sum()

        squares = sum((leaf**2).sum() for leaf in jax.tree.leaves(jax.grad(loss)(params["params"])))
        return 0.5 * jnp.log(squares + 1e-30)

    return lax.map(log_norm, (x, y), batch_size=ROWS_AT_ONCE)[:, None]


def _float_and_deviation(x: jax.Array) -> tuple[jax.Array, float]:
    """(x as float32, the deviation of the noise on it)."""
    return x.astype(jnp.float32), PIXEL_NOISE if x.dtype == jnp.uint8 else NOISE


def label_noise(apply, params, x, y, hyper, key):
    """The share of noisy copies that get the right label [N, 1], from labels alone.
    Source: Choquette-Choo et al. 2021 (arXiv 2007.14321), section 4."""
    x, deviation = _float_and_deviation(x)
    noise = deviation * jax.random.normal(jax.random.key(1), (DRAWS, *x.shape[1:]))
    right = lax.map(lambda n: apply(params, x + n[None], hyper, key).logits_bc.argmax(-1) == y, noise)
    return right.mean(0, dtype=jnp.float32)[:, None]


def boundary(apply, params, x, y, hyper, key):
    """The distance to the nearest other label [N, 1], from labels alone, as a share of the longest distance; 0 where
    the label is wrong already.

    DIRECTIONS random rays are tried by bisection. Then ROUNDS times as many rays around the nearest one of an example,
    closer to it every time. All rays have one length, so shares are distances. It takes
    (1 + ROUNDS) x DIRECTIONS x (BISECTIONS + 1) + 1 labels of an example.
    Source: Choquette-Choo et al. 2021 (arXiv 2007.14321), section 4; the search around the best ray is ours.
    """
    x, deviation = _float_and_deviation(x)
    shape = (DIRECTIONS, *x.shape[1:])
    longest = 2 * FARTHEST * deviation * math.prod(x.shape[1:]) ** 0.5

    def right(moved):
        return apply(params, moved, hyper, key).logits_bc.argmax(-1) == y

    def scaled(rays):
        """Rays [..., *example] of the longest distance."""
        axes = tuple(range(-len(shape) + 1, 0))
        return longest * rays * lax.rsqrt((rays**2).sum(axes, keepdims=True) + 1e-30)

    def along(ray):
        """The share of a ray [1 or N, ...] at which the label changes; 1 where it never does."""

        def at(share_n):
            return right(x + jnp.expand_dims(share_n, range(1, x.ndim)) * ray)

        def halve(_, ends):
            inside, outside = ends
            middle = (inside + outside) / 2
            kept = at(middle)
            return jnp.where(kept, middle, inside), jnp.where(kept, outside, middle)

        ends = jnp.zeros(len(x)), jnp.ones(len(x))
        return jnp.where(at(ends[1]), 1.0, lax.fori_loop(0, BISECTIONS, halve, ends)[1])

    def nearest_of(rays, best):
        """The nearest of `best`, (rays [N, ...], shares [N]), and of more rays [D, 1 or N, ...]."""

        def nearer(best, ray):
            ray, share_n = scaled(ray), along(scaled(ray))
            closer = share_n < best[1]
            kept = jnp.where(jnp.expand_dims(closer, range(1, x.ndim)), ray, best[0])
            return (kept, jnp.minimum(share_n, best[1])), None

        return lax.scan(nearer, best, rays)[0]

    draws = jax.random.normal(jax.random.key(2), (1 + ROUNDS, *shape))
    best = nearest_of(draws[0][:, None], (jnp.zeros(x.shape), jnp.ones(len(x))))
    for i in range(ROUNDS):
        around = AROUND * 0.5**i * scaled(draws[i + 1])[:, None]
        best = nearest_of(best[0][None] + around, best)
    return jnp.where(right(x), best[1], 0.0)[:, None]


def rates(apply, params, x, y, hyper, key):
    """Firing rates of a spiking network's hidden neurons, or activations of a conventional one's [N, H] (white box)."""
    aux = apply(params, x, hyper, key).aux
    if "rates" not in aux:
        raise ValueError("the signal 'rates' needs a network with hidden units, got one without. Leave it out.")
    return aux["rates"]


QUERY_SIGNALS: dict[str, Callable] = {
    "phi_steps": phi_steps, "phi_longer": phi_steps, "phi_dropout": phi_dropout, "phi_repeats": phi_repeats,
    "gradient_norm": gradient_norm, "label_noise": label_noise, "boundary": boundary, "rates": rates,
}  # fmt: skip
