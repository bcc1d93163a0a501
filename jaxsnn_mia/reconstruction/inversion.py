"""Model inversion by gradient: an input that the model takes for a class, found by ascent.

MI-Face (Fredrikson et al. 2015, CCS) climbs the confidence of a label by the gradient to the input. A spiking network
gives that gradient through its surrogate; the ascent is over the analogue input, or over the spike train that the
network sees (Poursiami et al. 2024, arXiv 2402.00906). All functions are of ONE model; its rows are R independent
reconstructions, provided that the model treats its rows apart from each other.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxsnn_mia.kernels import encoding as code
from jaxsnn_mia.kernels import surrogate
from jaxsnn_mia.reconstruction.images import Image, smoothed, total_variation

DIFFERENTIABLE = ("direct", "rate")  # encodings with a gradient to the input; of "rate" by `through_rate`


class Ascent(NamedTuple):
    """How to climb. `steps` and `process_every` are static ints, the others may be traced."""

    steps: int = 300
    lr: Any = 0.05  # of Adam, in units of the input; falls to 0 by a cosine
    tv: Any = 0.0  # weight of the total variation of an image (`images.total_variation`, a mean)
    l2: Any = 0.0  # the prior takes l2/2 |x|^2 off the objective
    low: Any = None  # the box, after each step: a scalar or an array of the variables' rank; None: no bound
    high: Any = None
    process_every: int = 0  # so many steps to a 3x3 mean filter of images (MI-Face's PROCESS); 0: never


def invert(
    logits_of: Callable, start_rd: jax.Array, labels_r: jax.Array, settings: Ascent, key: jax.Array,
    *, image: Image | None = None,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """R reconstructions at once, by ascent on log softmax(logits)[label] - l2/2 |x|^2 - tv TV(x).

    Args:
      logits_of: (x_rd, key) -> logits [R, C], differentiable by x.
      start_rd: where to start, float [R, D].
      labels_r: int [R] in [0, C); or float [R, C], an answer to come near to: the objective is then the mean of log
        softmax(logits) under it, largest where the model answers the same.
      settings: the box is one of x.
      key: typed; step i asks the model with fold_in(key, i).
      image: (H, W, channels) of the D features; for `tv` and `process_every`.

    Returns:
      x_rd [R, D] after the last step, and score_r [R], the objective there under `key` itself: the same draws for all.

    Raises:
      ValueError: shapes that do not fit, settings out of range, "image shape missing".
    """
    check(settings, start_rd, labels_r, 2, image)

    def objective(x_rd, key):
        return log_confidence(logits_of(x_rd, key), labels_r) - prior(x_rd, settings, image)

    return ascend(objective, start_rd, settings, key, image)


def invert_spikes(
    logits_of_spikes: Callable, start_trd: jax.Array, labels_r: jax.Array, settings: Ascent, key: jax.Array,
    *, slope: Any = 1.0, image: Image | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:  # fmt: skip
    """R spike trains at once, by ascent over potentials u [T, R, D] with spikes = Heaviside(u).

    Backwards a spike has the derivative of the logistic function, k s(k u) s(-k u). The priors are those of the rates;
    the box and the mean filter act on u, where a box such as [-2, 2] keeps silent inputs within reach.

    Args:
      logits_of_spikes: (spikes_trd, key) -> logits [R, C]; spikes 0 or 1 in the dtype of `start_trd`.
      start_trd: potentials to start from, float [T, R, D].
      labels_r, settings, key, image: as in `invert`.
      slope: k, may be traced.

    Returns:
      rates_rd [R, D] in [0, 1], the mean over time of spikes_trd [T, R, D], and score_r [R] as in `invert`.

    Raises:
      ValueError: as `invert`.
    """
    check(settings, start_trd, labels_r, 3, image)
    spike = surrogate.sigmoid(slope)

    def objective(u_trd, key):
        spikes_trd = spike(u_trd)
        return log_confidence(logits_of_spikes(spikes_trd, key), labels_r) - prior(spikes_trd.mean(0), settings, image)

    u_trd, score_r = ascend(objective, start_trd, settings, key, image)
    spikes_trd = spike(u_trd)
    return spikes_trd.mean(0), spikes_trd, score_r


def ascend(objective: Callable, start, settings: Ascent, key: jax.Array, image: Image | None):
    """(variables, objective [R] there) after Adam on the sum of `objective(variables, key)` [R]."""
    adam = optax.adam(optax.cosine_decay_schedule(settings.lr, settings.steps))
    gradient = jax.grad(lambda x, key: -objective(x, key).sum())

    def step(carry, i):
        x, state = carry
        updates, state = adam.update(gradient(x, jax.random.fold_in(key, i)), state)
        x = optax.apply_updates(x, updates)
        if settings.process_every:
            assert image is not None
            x = jnp.where((i + 1) % settings.process_every == 0, smoothed(x, image), x)
        if settings.low is not None or settings.high is not None:
            x = jnp.clip(x, settings.low, settings.high)
        return (x, state), None

    (x, _), _ = lax.scan(step, (start, adam.init(start)), jnp.arange(settings.steps))
    return x, objective(x, key)


def best(x_rd: jax.Array, score_r: jax.Array, targets: int) -> tuple[jax.Array, jax.Array]:
    """(x [targets, D], score [targets]) of the best restart of each target, rows ordered target by target:
    R = targets x restarts, as `jnp.repeat(labels, restarts)` gives. A score that is not a number never wins.

    Raises ValueError where R is no multiple of `targets`.
    """
    if targets < 1 or len(score_r) % targets or len(x_rd) != len(score_r):
        raise ValueError(f"`targets` must divide the number of rows, got {targets} for {len(x_rd)}, {len(score_r)}.")
    score_tr = score_r.reshape(targets, -1)
    at_t1 = jnp.where(jnp.isnan(score_tr), -jnp.inf, score_tr).argmax(1)[:, None]
    x_trd = x_rd.reshape(*score_tr.shape, -1)
    return jnp.take_along_axis(x_trd, at_t1[..., None], 1)[:, 0], jnp.take_along_axis(score_tr, at_t1, 1)[:, 0]


def through_rate(logits_of_spikes: Callable, steps: int) -> Callable:
    """(x_rd, key) -> logits [R, C], for `invert`: the network on Bernoulli spikes [steps, R, D] with probability x in
    [0, 1], and backwards as if the spikes were x (straight through; Bengio et al. 2013, arXiv 1308.3432).

    The draws depend on the key alone and are the same for every row: a row's answer does not depend on the others. A
    network with `encoding="rate"` takes such spikes as events: `ModelSpec(timed=True, in_shape=(steps, ...))`.
    """
    code.check_steps(steps)

    def logits_of(x_rd, key):
        draw, inside = jax.random.split(key)
        uniform_t1d = jax.random.uniform(draw, (steps, 1, *x_rd.shape[1:]), x_rd.dtype)
        drawn_trd = (uniform_t1d < x_rd[None]).astype(x_rd.dtype)
        # x + stop(drawn - x), in an order of sums that leaves the spikes exactly 0 or 1
        return logits_of_spikes(drawn_trd + (x_rd - lax.stop_gradient(x_rd))[None], inside)

    return logits_of


def check_differentiable(encoding: str) -> None:
    """ValueError for an encoding of `models.coding` without a gradient to the input, or of another name."""
    if encoding not in DIFFERENTIABLE:
        raise ValueError(
            f"`encoding` must be one of {DIFFERENTIABLE}, got {encoding!r}: a spike's time has no gradient to the "
            'input. Set "direct" or "rate", search spikes with `invert_spikes`, or train a decoder.'
        )


def check(settings: Ascent, start, labels_r, rank: int, image: Image | None) -> None:
    """ValueError for what `invert` refuses; the variables have `rank` axes, the last two R and D."""
    if start.ndim != rank or labels_r.ndim not in (1, 2) or labels_r.shape[:1] != start.shape[-2:-1]:
        raise ValueError(
            f"`start` and `labels_r` must be {'[T, R, D]' if rank == 3 else '[R, D]'} and [R], got {start.shape} and "
            f"{labels_r.shape}. Flatten each input, and give one label a row."
        )
    if not jnp.issubdtype(start.dtype, jnp.floating):
        raise ValueError(f"`start` must be floating, got {start.dtype}. Convert it first.")
    for name, least in (("steps", 1), ("process_every", 0)):
        value = getattr(settings, name)
        if not isinstance(value, int) or value < least:
            raise ValueError(f"`{name}` must be an int of at least {least}, got {value!r}.")
    if image is None and (settings.process_every or given(settings.tv)):
        raise ValueError(
            "image shape missing: `tv` and `process_every` see the neighbours of a pixel. Pass image=(H, W, channels), "
            "or set both to 0."
        )
    if image is not None and (len(image) != 3 or math.prod(image) != start.shape[-1]):
        raise ValueError(f"`image` must be (H, W, channels) of {start.shape[-1]} features, got {image}.")


def given(weight: Any) -> bool:
    """Whether a weight may differ from 0: a traced one may."""
    return isinstance(weight, jax.Array) or weight != 0


def log_confidence(logits_rc: jax.Array, labels_r: jax.Array) -> jax.Array:
    """log softmax(logits)[label], [R]; its mean under a distribution [R, C]."""
    if labels_r.ndim == 2:
        return (labels_r * jax.nn.log_softmax(logits_rc)).sum(-1)
    return jnp.take_along_axis(jax.nn.log_softmax(logits_rc), labels_r[:, None], 1)[:, 0]


def prior(x_rd: jax.Array, settings: Ascent, image: Image | None) -> jax.Array:
    """What the priors take off the objective, [R]."""
    penalty_r = settings.l2 / 2 * (x_rd**2).sum(-1)
    if image is None or not given(settings.tv):
        return penalty_r
    return penalty_r + settings.tv * total_variation(x_rd.reshape(*x_rd.shape[:-1], *image))
