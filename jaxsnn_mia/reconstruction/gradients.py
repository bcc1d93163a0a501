"""Reconstruction of a batch from the gradient that a client of federated training sends.

The client computes the gradient of its mean cross-entropy at parameters that the server knows. The server reads
examples off a first dense layer (`analytic`, `candidates`), labels off the last (`labels`), and searches for a batch of
the same gradient (`match`). Letters: R restart, B batch, D feature (any trailing shape [...] will do), C class, U unit.

Labels are known or those of `labels`; the soft labels that Zhu et al. optimise along with x are left out.

Two derivatives of a surrogate gradient exist. A kernel with a backward of its own ("fused", what models use on a CPU)
lets the surrogate stand in for the derivative of the spikes a second time, as a double backward in PyTorch does. A
plain scan ("plain") differentiates its slopes alone, for spikes as numbers do not change: the limit of finite
differences. A Pallas kernel, which models may use on a GPU, is "fused" here. `client_loss(method=...)` chooses.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from scipy.optimize import linear_sum_assignment

from jaxsnn_mia import models
from jaxsnn_mia.kernels.numerics import align
from jaxsnn_mia.models import Hyper, ModelSpec
from jaxsnn_mia.models.dense import flat
from jaxsnn_mia.models.heads import read_out
from jaxsnn_mia.models.neurons import KINDS, arguments
from jaxsnn_mia.models.quantized import weights
from jaxsnn_mia.reconstruction.images import total_variation

Loss = Callable[..., jax.Array]  # loss_of(params, x [B, ...], y int [B], key) -> scalar, of one model
TINY = 1e-30  # keeps the slope of a norm finite at zero
DROPS = (3 / 8, 5 / 8, 7 / 8)  # of all steps, after which the rate is a tenth: Geiping et al. 2020
METHODS = ("auto", "plain", "fused")


class Settings(NamedTuple):
    """Of `match`. `steps`, `distance` and `signed` are static; the others may be traced."""

    steps: int = 300
    lr: Any = 0.1  # of Adam, in the unit of x
    distance: str = "l2"  # of `DISTANCES`
    tv: Any = 0.0  # weight of the total variation (`images.total_variation`, a mean); images [B, H, W, C] alone
    low: Any = -np.inf  # x stays in [low, high]
    high: Any = np.inf
    signed: bool = False  # Adam sees the signs of the slope


def gradient_of(loss_of: Loss, params: Any, x_bd: jax.Array, y_b: jax.Array, key: jax.Array) -> Any:
    """What a client sends: the gradient of loss_of(params, x [B, ...], y int [B], key), of the shapes of `params`."""
    return jax.grad(loss_of)(params, x_bd, y_b, key)


def through_first_layer(
    loss_of: Loss, params: Any, x_bd: jax.Array, y_b: jax.Array, key: jax.Array, *, input_of: Callable = lambda x: x
) -> Any:
    """`gradient_of` of a loss that draws nothing, to be differentiated by x through one place alone: the input of the
    first dense layer, whose kernel has the gradient mean_b input_b delta_b (but for what quantization clips). The error
    signals delta_b stay as they are.

    Through a trained spiking network the full slope, with the surrogate in it twice, leads nowhere; this one is smooth,
    and as fast as a gradient. `params` are {"layers": {0: {"kernel": [D, U], "bias": [U]}, ...}, ...}; `input_of(x)`
    [B, D] is what the layer sees of x, the same at each step; loss_of is a mean over examples that do not see each
    other. Gives a tree of the shapes of `params`; KeyError where they have no such layer. For one example the ratio of
    `candidates` is what a search with it should end at.
    """
    each = jax.vmap(lambda x_d, y: gradient_of(loss_of, params, x_d[None], y[None], key))(x_bd, y_b)
    each = lax.stop_gradient(each)
    slope = jax.tree.map(lambda leaf_b: leaf_b.mean(0), each)
    kernel_du = input_of(x_bd).T @ each["layers"][0]["bias"] / len(x_bd)
    first = slope["layers"][0]
    first = {**first, "kernel": first["kernel"] + kernel_du - lax.stop_gradient(kernel_du)}
    return {**slope, "layers": {**slope["layers"], 0: first}}


def client_loss(spec: ModelSpec, hyper: Hyper, statistics: Any = None, *, method: str = "auto") -> Loss:
    """loss_of(params, x [B, ...], y int [B], key): mean cross-entropy of a model in training, without smoothing.

    `params` and `statistics` are the two parts of a model's variables. `method` "auto" is the model as it trains, on
    whatever kernel; the others run the neurons of a dense spiking network so, on input that is not coded.

    Raises ValueError for another method, and for another than "auto" on any other network.
    """
    if method not in METHODS:
        raise ValueError(
            f"`method` must be one of {METHODS}, got {method!r}. Pass method='auto' for the model as it trains."
        )
    if method != "auto":
        refuse_unless_dense(spec)
    model = models.build(spec)

    def loss_of(params, x, y_b, key):
        if method == "auto":
            variables = {"params": params, "statistics": {} if statistics is None else statistics}
            logits_bc = model.apply(variables, x, hyper, key, train=True).logits_bc
        else:
            logits_bc = dense_logits(spec, hyper, method, params, x, key)
        return optax.softmax_cross_entropy_with_integer_labels(logits_bc, y_b).mean()

    return loss_of


def refuse_unless_dense(spec: ModelSpec) -> None:
    """Raises ValueError for a network that `dense_logits` does not hold."""
    learned = bool(spec.learned)
    kind = (spec.architecture, spec.family, spec.over_time, spec.dropout, "activation" in spec.quant.parts, learned)
    if kind != ("dense", "snn", False, False, False, False):
        raise ValueError(
            "`method` other than auto takes (architecture, family, input over time, dropout, quantized activations, "
            f"learned constants) = ('dense', 'snn', False, False, False, False), got {kind}. Pass method='auto'."
        )


def dense_logits(spec: ModelSpec, hyper: Hyper, method: str, params: dict, x: jax.Array, key: jax.Array) -> jax.Array:
    """Logits [B, C] of `models.dense.DenseSNN` whose neurons run by `method` of `neuron.lif`."""
    layers = [layer for _, layer in sorted(params["layers"].items())]
    h = flat(spec, x)
    for i, layer in enumerate(layers):
        kernel = weights(layer["kernel"], hyper, spec.quant, i in (0, len(layers) - 1))
        drive = h @ kernel
        drive = drive + align(layer["bias"], drive)
        if i < len(layers) - 1:
            steps = None if i else spec.time_steps
            h, _ = KINDS[spec.neuron](drive, steps=steps, method=method, **arguments(spec, hyper, key, i))
    drive = drive if drive.ndim == 3 else jnp.broadcast_to(drive, (spec.time_steps, *drive.shape))
    return read_out(spec, drive, arguments(spec, hyper, key) | {"method": method}).logits_bc


def candidates(weight_gradient_du: jax.Array, bias_gradient_u: jax.Array) -> jax.Array:
    """The ratios dW_u / db_u [U, D] of the units of a first dense layer (kernel [D, U]) with a bias.

    Unit u gives sum_b delta_bu x_b / sum_b delta_bu: a mean of the examples whose weights sum to one, though some may
    be negative. Where one example alone reaches a unit (ReLU), it is that example (Boenisch et al. 2023, arXiv
    2112.02918, section 4). In a spiking network on direct input delta_bu is its sum over time, and the same holds.
    Coded input differs between steps, and the ratios mix them. Rows of units without bias gradient are NaN.
    """
    there_u = bias_gradient_u != 0
    ratio_ud = weight_gradient_du.T / jnp.where(there_u, bias_gradient_u, 1)[:, None]
    return jnp.where(there_u[:, None], ratio_ud, jnp.nan)


def analytic(weight_gradient_du: jax.Array, bias_gradient_u: jax.Array) -> jax.Array:
    """The one example [D] of a batch of one, from the gradient of a first dense layer (kernel [D, U]) with a bias:
    the ratio of `candidates` at the unit of the largest |db|; NaN where no unit has a gradient.

    Source: Phong et al. 2018 (IEEE TIFS 13(5)), section III; Geiping et al. 2020 (arXiv 2003.14053), prop. 3.1.
    """
    u = jnp.argmax(jnp.abs(bias_gradient_u))
    return candidates(weight_gradient_du[:, u][:, None], bias_gradient_u[u][None])[0]


def labels(bias_gradient_c: jax.Array, count: int, *, gain: Any = 1.0, expected_c: Any = None) -> jax.Array:
    """The labels int32 [count] of a batch of `count`, sorted, from the bias gradient [C] of the last layer.

    Under mean cross-entropy it is gain x (mean_b p_bc - n_c / B), n_c examples of class c. A batch of one has a single
    negative entry, its label: Zhao et al. 2020 (arXiv 2001.02610), eq. 4. A larger batch is resolved greedily, as in
    Wainakh et al. 2021 (arXiv 2105.09369), algorithm 1: each class of a negative entry holds an example for certain and
    is taken once, the most negative first; then, again and again, the class of which the most of n_c / B is left.

    `gain` is the sum of what each step's bias gives the logit: 1 without time, sum_t beta^t for a last membrane. It
    does not matter for a batch of one. `expected_c` guesses mean_b p_bc, as from the model on inputs of the server's
    own; without it all classes are equal. Raises ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1, got {count}. Pass the size of the client's batch.")
    left_c = bias_gradient_c / gain - (0.0 if expected_c is None else expected_c)

    def pick(carry, _):
        left_c, certain_c = carry
        c = jnp.argmin(jnp.where(certain_c | ~certain_c.any(), left_c, jnp.inf))
        return (left_c.at[c].add(1 / count), certain_c.at[c].set(False)), c

    return jnp.sort(lax.scan(pick, (left_c, bias_gradient_c < 0), length=count)[1].astype(jnp.int32))


def dot(a: Any, b: Any) -> jax.Array:
    """Inner product of two trees."""
    return sum(map(jnp.vdot, jax.tree.leaves(a), jax.tree.leaves(b)), jnp.zeros(()))


def l2(guessed: Any, sent: Any) -> jax.Array:
    """|g - g*|^2 / |g*|^2. Zhu et al. 2019 (arXiv 1906.08935), eq. 4, in units of what was sent."""
    apart = jax.tree.map(jnp.subtract, guessed, sent)
    return dot(apart, apart) / (dot(sent, sent) + TINY)


def cosine(guessed: Any, sent: Any) -> jax.Array:
    """1 - <g, g*> / |g| |g*| in [0, 2]; 1 where either is zero. Geiping et al. 2020 (arXiv 2003.14053), eq. 4."""
    norms = [jnp.sqrt(dot(a, a) + TINY) for a in (guessed, sent)]
    return 1 - dot(guessed, sent) / norms[0] / norms[1]


DISTANCES: dict[str, Callable[[Any, Any], jax.Array]] = {"l2": l2, "cosine": cosine}


def match(
    loss_of: Loss,
    params: Any,
    gradient: Any,
    start_rbd: jax.Array,
    y_b: jax.Array,
    settings: Settings,
    key: jax.Array,
    *,
    gradient_of: Callable[..., Any] = gradient_of,
) -> tuple[jax.Array, jax.Array]:
    """Batches whose gradient is the one that was sent, from R starts at once.

    Args:
      loss_of: the client's loss; `params` the parameters that the server sent; `gradient` what came back.
      start_rbd: floating [R, B, ...], where the search starts.
      y_b: int [B], known or from `labels`. An order other than the client's gives x in that order.
      key: goes to loss_of. The client's own key, where it drops units or codes its input, is more than a server knows.
      gradient_of: what is matched and differentiated, `gradient_of` or `through_first_layer`.

    Returns:
      (x_rbd, of all that each restart saw that of the least distance + tv x total variation; its distance [R]).

    Raises ValueError for settings outside their range, and total variation of what is no image.

    Source: Zhu et al. 2019 (arXiv 1906.08935), algorithm 1; Geiping et al. 2020 (arXiv 2003.14053), section 4: Adam,
    the rate a tenth after 3/8, 5/8 and 7/8 of the steps, x clipped to its box after each.
    """
    check(settings, start_rbd)
    distance, of_images = DISTANCES[settings.distance], start_rbd.ndim == 5

    def cost(x_bd):
        apart = distance(gradient_of(loss_of, params, x_bd, y_b, key), gradient)
        return (apart + settings.tv * total_variation(x_bd).mean() if of_images else apart), apart

    adam = optax.scale_by_adam()
    drops_k = (jnp.arange(settings.steps)[:, None] >= settings.steps * jnp.asarray(DROPS)[None]).sum(1)
    rates_k = jnp.append(settings.lr * 0.1**drops_k, 0.0)  # the last only looks at where the others led

    def restart(start_bd):
        def step(carry, rate):
            x_bd, moments, best = carry
            (total, apart), slope = jax.value_and_grad(cost, has_aux=True)(x_bd)
            now = (total, apart, x_bd)
            best = jax.tree.map(lambda new, old: jnp.where(total < best[0], new, old), now, best)
            direction, moments = adam.update(jnp.sign(slope) if settings.signed else slope, moments)
            return (boxed(x_bd - rate * direction), moments, best), None

        def boxed(x_bd):
            return jnp.clip(x_bd, settings.low, settings.high).astype(start_bd.dtype)

        x_bd, unseen = boxed(start_bd), jnp.asarray(jnp.inf, start_bd.dtype)
        (_, _, best), _ = lax.scan(step, (x_bd, adam.init(x_bd), (unseen, unseen, x_bd)), rates_k)
        return best[2], best[1]

    return jax.vmap(restart)(start_rbd)


def check(settings: Settings, start_rbd: jax.Array) -> None:
    """Raises ValueError for settings that make no search."""
    if settings.steps < 1:
        raise ValueError(f"`steps` must be at least 1, got {settings.steps}. Geiping et al. take 4,800.")
    if settings.distance not in DISTANCES:
        raise ValueError(f"`distance` must be one of {sorted(DISTANCES)}, got {settings.distance!r}.")
    no_tv = isinstance(settings.tv, int | float) and settings.tv == 0
    if start_rbd.ndim != 5 and not no_tv:
        raise ValueError(
            f"`tv` needs images [R, B, H, W, C], got a start of shape {start_rbd.shape}. Set it to 0 for other data."
        )


def matched_error(x_bd: Any, truth_bd: Any) -> np.ndarray:
    """Mean squared error float64 [B] of each true example under the assignment of least total error.

    x [K, ...] holds at least as many reconstructions as truth [B, ...] has examples; each serves one. Where K > B, the
    truth itself chooses among them: a bound, not what an attacker would hand in. Rows that are not finite are left out.

    Raises ValueError for other shapes, and for fewer finite reconstructions than examples.
    """
    x_kd, truth_bd = (np.asarray(a, np.float64) for a in (x_bd, truth_bd))
    if x_kd.shape[1:] != truth_bd.shape[1:]:
        raise ValueError(
            f"examples have one shape, got {x_kd.shape[1:]} and {truth_bd.shape[1:]}. Reshape one of them."
        )
    x_kd, truth_bd = (a.reshape(len(a), -1) for a in (x_kd, truth_bd))
    x_kd = x_kd[np.isfinite(x_kd).all(1)]
    if len(x_kd) < len(truth_bd):
        raise ValueError(f"`x_bd` must hold {len(truth_bd)} finite rows or more, got {len(x_kd)}. Add reconstructions.")
    error_bk = np.stack([((x_kd - truth_d) ** 2).mean(1) for truth_d in truth_bd])
    b, k = linear_sum_assignment(error_bk)
    return error_bk[b, k]
