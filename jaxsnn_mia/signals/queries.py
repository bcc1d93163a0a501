"""Signals that query a model in ways of their own: step by step, with parts of the input missing, along its gradient.

Each is fn(apply, params, x, y, hyper, key) -> [N, ...] of ONE model, apply(params, x, hyper, key) -> Output. What is
drawn at random (masks, noise, directions) comes from a fixed key and so is the same for every model and every example:
queries are aligned, and an example's answer does not depend on its batch-mates.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxsnn_mia.signals.from_logits import logit_confidence

MASKS, DROPPED = 8, 0.2  # input masks, and the share of the input that each takes away
REPEATS = 8
DRAWS, NOISE = 16, 0.5  # noisy copies; deviation in units of a standardised feature
PIXEL_NOISE = 25.0  # of uint8 images
DIRECTIONS, BISECTIONS, FARTHEST = 16, 10, 4.0  # rays; halvings; their length in deviations of every feature
ROWS_AT_ONCE = 16  # examples whose gradients are held together


def phi_steps(apply, params, x, y, hyper, key):
    """Logit confidence had the time ended at each step [N, T]; [N, 1] where there is no time."""
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
    """Logit confidence of the same query asked REPEATS times [N, REPEATS]: it varies where the model draws."""
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


def spread(x: jax.Array) -> tuple[jax.Array, float]:
    """(x as float, the deviation of the noise for it)."""
    return x.astype(jnp.float32), PIXEL_NOISE if x.dtype == jnp.uint8 else NOISE


def label_noise(apply, params, x, y, hyper, key):
    """The share of noisy copies that keep the right label [N, 1]: labels alone.
    Source: Choquette-Choo et al. 2021 (arXiv 2007.14321), section 4."""
    x, deviation = spread(x)
    noise = deviation * jax.random.normal(jax.random.key(1), (DRAWS, *x.shape[1:]))
    right = lax.map(lambda n: apply(params, x + n[None], hyper, key).logits_bc.argmax(-1) == y, noise)
    return right.mean(0, dtype=jnp.float32)[:, None]


def boundary(apply, params, x, y, hyper, key):
    """How far the nearest of DIRECTIONS random rays stays within the right label, by bisection, as a share of their
    length [N, 1]; 0 where the label is wrong already. Labels alone.
    Source: Choquette-Choo et al. 2021 (arXiv 2007.14321), section 4, with random rays instead of an optimised one."""
    x, deviation = spread(x)
    rays = 2 * FARTHEST * deviation * jax.random.normal(jax.random.key(2), (DIRECTIONS, *x.shape[1:]))

    def right(ray, share_n):
        moved = x + share_n.reshape(-1, *[1] * (x.ndim - 1)) * ray[None]
        return apply(params, moved, hyper, key).logits_bc.argmax(-1) == y

    def along(ray):
        def halve(_, ends):
            inside, outside = ends
            middle = (inside + outside) / 2
            kept = right(ray, middle)
            return jnp.where(kept, middle, inside), jnp.where(kept, outside, middle)

        zero = jnp.zeros(len(x))
        return lax.fori_loop(0, BISECTIONS, halve, (zero, jnp.ones(len(x))))[0]

    nearest = lax.map(along, rays).min(0)
    return jnp.where(right(rays[0], jnp.zeros(len(x))), nearest, 0.0)[:, None]


def rates(apply, params, x, y, hyper, key):
    """What the hidden neurons do [N, H]: firing rates of a spiking network, activations of its twin (white box)."""
    aux = apply(params, x, hyper, key).aux
    if "rates" not in aux:
        raise ValueError("the signal 'rates' needs a network with hidden units, got one without. Leave it out.")
    return aux["rates"]


INQUIRIES: dict[str, Callable] = {
    "phi_steps": phi_steps, "phi_longer": phi_steps, "phi_dropout": phi_dropout, "phi_repeats": phi_repeats,
    "gradient_norm": gradient_norm, "label_noise": label_noise, "boundary": boundary, "rates": rates,
}  # fmt: skip
