"""Quantile regression (Bertran et al. 2023, arXiv 2307.03694): an example's own false-positive rate, without shadows.

How confident a model is on an example that it never saw depends on the example. One regressor for each target learns,
on the population, the quantiles of the target's confidence from the input. A candidate whose confidence is far above
the quantiles of its input is likely a member. No membership is used, so nothing has to be left out.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.attacks import mlp, references

DEFAULT_LEVELS = tuple(np.geomspace(0.5, 0.001, 12).tolist())
FEWEST_ABOVE = 10  # population examples expected above a quantile
CHECK = 100  # steps between two looks at the held-out loss
PATIENCE = 10  # looks without a lower loss, after which training stops
BATCH = 512
LEARNING_RATE = 3e-3
HALVED = 1500  # steps after which the learning rate is a half: it falls as 1 / sqrt(1 + t / 500)
SMALLEST_GAP = 1e-3  # between neighbouring quantiles, in standard deviations of the confidence


class Regressors(NamedTuple):
    """S regressors, one for each target, from inputs [., D] to the quantiles of its confidence at false-positive rates
    `levels_l`. Centres and scales standardise inputs and confidences."""

    layers: tuple  # ((weight [S, I, O], bias [S, O]), ...)
    centre_d: np.ndarray
    scale_d: np.ndarray
    centre_s: np.ndarray
    scale_s: np.ndarray
    levels_l: np.ndarray  # float32 [L], falling: what was found on `held_z`, over all targets
    held_z: np.ndarray  # bool [Z], the fifth of the population that no step was taken on


def score(
    phi_sna: np.ndarray,
    x_nd: np.ndarray,
    phi_sza: np.ndarray,
    x_zd: np.ndarray,
    *,
    valid_s=None,
    levels=None,
    hidden: tuple[int, ...] = (64,),
    steps: int = 10_000,
    seed: int = 0,
) -> np.ndarray:
    """-log of the false-positive rate of each target's confidence, among the confidences that the input predicts.

    Args:
      phi_sna: logit confidences of the candidates [S, N, A]; the mean over queries is used.
      x_nd: the candidates' inputs [N, D] (images flattened).
      phi_sza, x_zd: the same of the population, [S, Z, A] and [Z, D]; its examples are in no training set.
      valid_s: bool [S]; the others get NaN.
      levels, hidden, steps, seed: as in `fit`.

    Returns:
      float32 [S, N], higher = more likely a member. It is linear in the confidence between two quantiles and beyond the
      outer ones, so that examples are ranked beyond the population too.

    Raises:
      ValueError: shapes that do not fit, values that are not finite, and as `fit`.
    """
    phi_sna, phi_sza = np.asarray(phi_sna), np.asarray(phi_sza)
    x_nd, x_zd = np.asarray(x_nd, np.float32), np.asarray(x_zd, np.float32)
    check_shapes(phi_sna, x_nd, phi_sza, x_zd)
    s, n, _ = phi_sna.shape
    valid_s = np.ones(s, bool) if valid_s is None else np.asarray(valid_s, bool)
    for name, values in (("phi_sna", phi_sna[valid_s]), ("phi_sza", phi_sza[valid_s]), ("x_nd", x_nd), ("x_zd", x_zd)):
        references.check_finite(values, name)
    regressors = fit(phi_sza[valid_s].mean(-1), x_zd, levels=levels, hidden=hidden, steps=steps, seed=seed)
    scores_sn = np.full((s, n), np.nan, np.float32)
    scores_sn[valid_s] = _scores(regressors, x_nd, phi_sna[valid_s].mean(-1, dtype=np.float32))
    return scores_sn


def check_shapes(phi_sna, x_nd, phi_sza, x_zd) -> None:
    """ValueError unless confidences and inputs of candidates and population fit each other."""
    fits = phi_sna.ndim == phi_sza.ndim == 3 and x_nd.ndim == x_zd.ndim == 2
    if fits:
        fits = (
            x_nd.shape[0] == phi_sna.shape[1] > 0
            and x_zd.shape[0] == phi_sza.shape[1]
            and phi_sza.shape[::2] == phi_sna.shape[::2]
            and x_zd.shape[1] == x_nd.shape[1]
        )
    if not fits:
        raise ValueError(
            "`phi_sna`, `x_nd`, `phi_sza` and `x_zd` must be [S, N, A], [N, D], [S, Z, A] and [Z, D], got "
            f"{phi_sna.shape}, {x_nd.shape}, {phi_sza.shape} and {x_zd.shape}. Flatten the inputs."
        )


def fit(
    phi_sz: np.ndarray,
    x_zd: np.ndarray,
    *,
    levels=None,
    hidden: tuple[int, ...] = (64,),
    steps: int = 10_000,
    seed: int = 0,
) -> Regressors:
    """All S regressors at once, by the pinball loss (Koenker and Bassett 1978, Econometrica 46, 33-50) and Adam.

    They start from the quantiles that ignore the input. No step is taken on a random fifth of the population: each
    target keeps the moment whose loss on that fifth is lowest, and stops when `PATIENCE` looks found none lower. All
    targets have the same first weights and batches, so that a regressor does not depend on the other targets. At last
    each level becomes the share of that fifth, over all targets, that lies above its quantile.

    Args:
      phi_sz: confidences of the population [S, Z].
      x_zd: its inputs [Z, D].
      levels: false-positive rates, falling, in (0, 1), at least 2; None: 12 from .5 to .001, as far as Z resolves them
        (10 expected above each quantile).
      hidden: widths of the hidden layers.
      steps: of Adam, at most, on 512 population examples each.
      seed: of the fifth, of the weights and of the batches.

    Raises:
      ValueError: levels that do not fall or need a larger population, a population that resolves fewer than 2 levels,
        steps below 1.
    """
    phi_sz, x_zd = np.asarray(phi_sz, np.float64), np.asarray(x_zd, np.float32)
    size = phi_sz.shape[1]
    levels_l = check_levels(levels, size)
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1, got {steps}.")
    held_z = np.zeros(size, bool)
    held_z[np.random.default_rng(seed).permutation(size)[: size // 5]] = True
    centre_d, scale_d = x_zd.mean(0), x_zd.std(0)
    scale_d[scale_d == 0] = 1.0
    centre_s, scale_s = phi_sz.mean(1), np.maximum(phi_sz.std(1), 1e-6)
    target_sz = ((phi_sz - centre_s[:, None]) / scale_s[:, None]).astype(np.float32)
    x_zd = np.asarray(standardised(x_zd, centre_d, scale_d))
    marginal_sl = np.quantile(target_sz[:, ~held_z], 1 - levels_l, axis=1).T.astype(np.float32)
    learn, held = ((x_zd[part], target_sz[:, part]) for part in (~held_z, held_z))
    layers = _fit(jax.random.key(seed), marginal_sl, learn, held, levels_l, hidden=tuple(hidden), steps=steps)
    centre_s, scale_s = centre_s.astype(np.float32), scale_s.astype(np.float32)
    regressors = Regressors(layers, centre_d, scale_d, centre_s, scale_s, levels_l, held_z)
    return regressors._replace(levels_l=found_levels(_network(layers, held[0]), held[1]))


def found_levels(quantiles_szl: np.ndarray, phi_sz: np.ndarray) -> np.ndarray:
    """float32 [L], falling: the share of non-members above each quantile, over all targets, at least half of one."""
    found_l = realised_fpr(quantiles_szl, phi_sz).mean(0)
    found_l = np.minimum.accumulate(np.maximum(found_l, 0.5 / np.size(phi_sz)))
    return (found_l * (1 - 1e-3 * np.arange(len(found_l)))).astype(np.float32)  # equal ones would be one level


def check_levels(levels, size: int) -> np.ndarray:
    """float32 [L]: the levels; None: those of `DEFAULT_LEVELS` that a population of this size resolves."""
    levels_l = np.array(DEFAULT_LEVELS if levels is None else levels, np.float64)
    resolved_l = levels_l * size >= FEWEST_ABOVE * (1 - 1e-9)
    if levels is None:
        levels_l = levels_l[resolved_l]
        if len(levels_l) < 2:
            raise ValueError(f"quantile regression needs a larger population, got {size}. Set `data.population`.")
    elif not resolved_l.all():
        raise ValueError(
            f"`levels` must be at least {FEWEST_ABOVE} / Z = {FEWEST_ABOVE / max(size, 1):.3g} for a population of "
            f"{size}, got {levels_l[~resolved_l].max():g}. Drop it, or enlarge `data.population`."
        )
    if levels_l.ndim != 1 or len(levels_l) < 2 or (np.diff(levels_l) >= 0).any() or not 0 < levels_l[0] < 1:
        raise ValueError(f"`levels` must be at least 2 falling rates in (0, 1), got {levels}.")
    return levels_l.astype(np.float32)


def quantiles(regressors: Regressors, x_nd: np.ndarray) -> np.ndarray:
    """float32 [S, N, L]: the confidence that a non-member with this input exceeds at each rate, rising along L."""
    return np.asarray(_quantiles(regressors, np.asarray(x_nd, np.float32)))


def realised_fpr(quantiles_szl: np.ndarray, phi_sz: np.ndarray) -> np.ndarray:
    """float64 [S, L]: the share of non-members whose confidence is above their quantile.

    On the population examples that no step was taken on (`held_z`) it must be near `levels_l`; else the scores are no
    false-positive rates.
    """
    return (np.asarray(phi_sz)[..., None] > np.asarray(quantiles_szl)).mean(1, dtype=np.float64)


def standardised(x_nd, centre_d, scale_d):
    """Standardised inputs, at most 5 in size: a pixel that is hardly ever used in the population must not dominate."""
    return jnp.clip((x_nd - centre_d[None]) / scale_d[None], -5.0, 5.0)


def network(layers: tuple, x_bd: jax.Array) -> jax.Array:
    """Standardised quantiles [B, L]: the lowest, then positive steps, so that they cannot cross."""
    out_bl = mlp.forward(layers, x_bd)
    return jnp.cumsum(jnp.concatenate([out_bl[:, :1], SMALLEST_GAP + jax.nn.softplus(out_bl[:, 1:])], 1), axis=1)


def pinball(quantiles_bl: jax.Array, target_b: jax.Array, levels_l: jax.Array) -> jax.Array:
    """The pinball loss at quantiles 1 - level, mean over examples, summed over levels; each level is divided by
    sqrt(tau (1 - tau))."""
    above_bl = target_b[:, None] - quantiles_bl
    tau = 1 - levels_l[None]
    return (jnp.maximum(tau * above_bl, (tau - 1) * above_bl) / jnp.sqrt(tau * (1 - tau))).mean(0).sum()


def initial(key: jax.Array, inputs: int, hidden: tuple[int, ...], marginal_l: jax.Array) -> tuple:
    """Random hidden layers, and a last layer whose bias gives the marginal quantiles."""
    keys = []
    for _ in hidden:
        key, of_layer = jax.random.split(key)
        keys.append(of_layer)
    *layers, (weight, _) = mlp.first_layers(keys, (inputs, *hidden, len(marginal_l)))
    gap = jnp.maximum(jnp.diff(marginal_l) - SMALLEST_GAP, 1e-3)
    bias = jnp.concatenate([marginal_l[:1], gap + jnp.log(-jnp.expm1(-gap))])  # the inverse of softplus
    return (*layers, (weight, bias))


@partial(jax.jit, static_argnames=("hidden", "steps"))
def _fit(key, marginal_sl, learn, held, levels_l, *, hidden, steps):
    """The layers of all regressors. Of each target, those of the moment with the lowest loss on the held-out part."""
    import optax

    (x_zd, target_sz), (held_x, held_target) = learn, held
    size = x_zd.shape[0]
    batch, inner = min(size, BATCH), min(steps, CHECK)
    adam = optax.adam(lambda t: LEARNING_RATE * jax.lax.rsqrt(1.0 + 3.0 * t / HALVED))

    def fit_one(marginal_l, target_z, held_target_z):
        def loss(layers, row_b):
            return pinball(network(layers, x_zd[row_b]), target_z[row_b], levels_l)

        def step(carry, t):
            layers, state = carry
            row_b = jax.random.randint(jax.random.fold_in(key, t), (batch,), 0, size)
            return mlp.step(adam, jax.grad(loss)(layers, row_b), layers, state), None

        def look(carry):
            learning, best, lowest, since, t = carry
            (layers, state), _ = jax.lax.scan(step, learning, t + jnp.arange(inner))
            now = pinball(network(layers, held_x), held_target_z, levels_l)
            best = jax.tree.map(lambda new, old: jnp.where(now < lowest, new, old), layers, best)
            since = jnp.where(now < lowest, 0, since + 1)
            return (layers, state), best, jnp.minimum(now, lowest), since, t + inner

        def goes_on(carry):
            return (carry[3] < PATIENCE) & (carry[4] < steps)

        layers = initial(key, x_zd.shape[1], hidden, marginal_l)
        start = pinball(network(layers, held_x), held_target_z, levels_l)
        first = (layers, adam.init(layers)), layers, start, jnp.int32(0), jnp.int32(0)
        return jax.lax.while_loop(goes_on, look, first)[1]

    return jax.vmap(fit_one)(marginal_sl, target_sz, held_target)


@jax.jit
def _network(layers, x_nd):
    """Standardised quantiles [S, N, L] of standardised inputs."""
    return jax.lax.map(lambda of_target: network(of_target, x_nd), layers)


@jax.jit
def _quantiles(regressors, x_nd):
    layers, centre_d, scale_d, centre_s, scale_s, *_ = regressors
    x_nd = standardised(x_nd, centre_d, scale_d)

    def of_target(regressor):
        layers, centre, scale = regressor
        return centre + scale * network(layers, x_nd)

    # one target at a time: hidden units of all targets [S, N, width] would not fit into memory
    return jax.lax.map(of_target, (layers, centre_s, scale_s))


@jax.jit
def _scores(regressors, x_nd, phi_sn):
    layers, centre_d, scale_d, centre_s, scale_s, levels_l, _ = regressors
    x_nd = standardised(x_nd, centre_d, scale_d)
    phi_sn = (phi_sn - centre_s[:, None]) / scale_s[:, None]

    def of_target(target):
        layers, phi_n = target
        return depth(network(layers, x_nd), phi_n, levels_l)

    return jax.lax.map(of_target, (layers, phi_sn))


def depth(quantiles_nl: jax.Array, phi_n: jax.Array, levels_l: jax.Array) -> jax.Array:
    """-log false-positive rate [N] of each confidence: linear between two quantiles and beyond the outer ones."""
    upper_n = jnp.clip((phi_n[:, None] > quantiles_nl).sum(1), 1, len(levels_l) - 1)

    def quantile(at_n):
        return jnp.take_along_axis(quantiles_nl, at_n[:, None], axis=1)[:, 0]

    low, high = quantile(upper_n - 1), quantile(upper_n)
    log_low, log_high = jnp.log(levels_l)[upper_n - 1], jnp.log(levels_l)[upper_n]
    return (phi_n - low) / (high - low) * (log_low - log_high) - log_low
