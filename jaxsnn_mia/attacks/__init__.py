"""Membership-inference attacks: arrays in, scores out, all S targets at once, higher = more likely a member."""

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from jaxsnn_mia.attacks import combine, difficulty, lira, population, quantile, rmia, shokri, signals
from jaxsnn_mia.attacks.lira import bavaria, multivariate
from jaxsnn_mia.runtime.own_code import imported
from jaxsnn_mia.signals.catalogue import ACROSS, SIGNALS


class Attack(NamedTuple):
    """fn(*arrays named by `needs`, valid_s=...) -> scores float32 [S, N].

    Signals have the names of `jaxsnn_mia.signals.SIGNALS`. They are [S, N, A, ...] of the candidates, or of the
    population where "_population" follows the name. Other needs: "keep" bool [S, N], with which the attack also takes
    partner_s; "labels" int [N]; "x", the inputs [N, ...]; "scores" of the other attacks, {name: [S, N] or a function of
    valid_s} (`combine`).
    """

    fn: Callable
    needs: tuple[str, ...]
    fewest: int = 6  # shadows
    inside: bool = True  # whether it needs IN models of every example; offline attacks compare with OUT models alone


def by_outputs(logits_snac, keep_sn, labels_n, **options) -> np.ndarray:
    """`shokri.score` from the sorted softmax and the loss of the first query."""
    features = {"logits": logits_snac[:, :, 0]}
    return shokri.score(features, keep_sn, labels_n, names=("sorted_softmax", "loss"), **options)


def by_class(logits_snac, keep_sn, labels_n, **options) -> np.ndarray:
    """`shokri.score` as `shokri.PRESETS` describes the attack of an earlier study."""
    return shokri.score({"logits": logits_snac[:, :, 0]}, keep_sn, labels_n, **shokri.PRESETS["predecessor"], **options)


def by_signal(signal_snf, keep_sn, labels_n, **options) -> np.ndarray:
    """`shokri.score` from any signal."""
    return shokri.score({"signal": signal_snf}, keep_sn, labels_n, **options)


def negated(attack: Callable) -> Callable:
    """The attack on a signal that is smaller for members."""

    def of_negative(signal, *arrays, **options) -> np.ndarray:
        return attack(-np.asarray(signal), *arrays, **options)

    return of_negative


def repeats(phi_snr, keep_sn, **options) -> np.ndarray:
    """Multivariate LiRA on the mean and the log variance of the answers to one repeated query."""
    answers = np.asarray(phi_snr, np.float64)
    both = np.stack([answers.mean(2), np.log(answers.var(2) + 1e-6)], axis=2).astype(np.float32)
    return multivariate.score(both, keep_sn, **options)


def by_inputs(phi_sna, x, phi_sza, x_z, **options) -> np.ndarray:
    """`quantile.score` from flattened inputs."""
    x_nd, x_zd = (np.asarray(inputs, np.float32).reshape(len(inputs), -1) for inputs in (x, x_z))
    return quantile.score(phi_sna, x_nd, phi_sza, x_zd, **options)


ATTACKS: dict[str, Attack] = {
    # the target alone
    "loss": Attack(population.loss, ("phi",)),
    "confidence": Attack(population.confidence, ("phi",)),
    "entropy": Attack(population.entropy, ("entropy",)),
    "modified_entropy": Attack(population.modified_entropy, ("modified_entropy",)),
    "gap": Attack(population.gap, ("correct",)),
    "gradient_norm": Attack(negated(population.mean), ("gradient_norm",)),
    "label_noise": Attack(population.mean, ("label_noise",)),
    "boundary": Attack(population.mean, ("boundary",)),
    # the target and a population
    "attack_p": Attack(population.attack_p, ("phi", "phi_population")),
    "quantile": Attack(by_inputs, ("phi", "x", "phi_population", "x_population")),
    # the target and reference models
    "lira": Attack(lira.score, ("phi", "keep")),
    "lira_offline": Attack(partial(lira.score, mode="offline"), ("phi", "keep"), inside=False),
    "lira_shrinkage": Attack(partial(lira.score, variance="shrinkage"), ("phi", "keep")),
    "lira_shrinkage_offline": Attack(
        partial(lira.score, variance="shrinkage", mode="offline"), ("phi", "keep"), inside=False
    ),
    "lira_pooled": Attack(partial(lira.score, variance="pooled"), ("phi", "keep")),
    "lira_per_example": Attack(partial(lira.score, variance="per_example"), ("phi", "keep")),
    "lira_fixed": Attack(partial(lira.score, variance="fixed"), ("phi", "keep")),
    "lira_median": Attack(partial(lira.score, location="median"), ("phi", "keep")),
    "bavaria": Attack(bavaria.score, ("phi", "keep")),
    "bavaria_n": Attack(partial(bavaria.score, kind="n"), ("phi", "keep")),
    "bavaria_offline": Attack(partial(bavaria.score, mode="offline"), ("phi", "keep")),
    "lira_multivariate": Attack(multivariate.score, ("phi", "keep")),
    "rmia": Attack(rmia.score, ("logp", "keep", "logp_population"), inside=False),
    "rmia_online": Attack(partial(rmia.score, mode="online"), ("logp", "keep", "logp_population")),
    "rmia_gamma1": Attack(partial(rmia.score, gamma=1.0), ("logp", "keep", "logp_population"), inside=False),
    "rmia_online_gamma1": Attack(partial(rmia.score, mode="online", gamma=1.0), ("logp", "keep", "logp_population")),
    "rmia_t2": Attack(rmia.score, ("logp_t2", "keep", "logp_t2_population"), inside=False),
    "rmia_online_t2": Attack(partial(rmia.score, mode="online"), ("logp_t2", "keep", "logp_t2_population")),
    "rmia_tuned": Attack(partial(rmia.score, a="tuned"), ("logp", "keep", "logp_population"), fewest=8),
    "attack_r": Attack(difficulty.attack_r, ("phi", "keep"), inside=False),
    "watson": Attack(difficulty.watson, ("phi", "keep"), inside=False),
    "sablayrolles": Attack(difficulty.sablayrolles, ("phi", "keep")),
    "label_only_transfer": Attack(difficulty.transfer, ("survival", "keep"), fewest=12, inside=False),
    # a classifier that is learned on other shadows
    "shokri": Attack(by_outputs, ("logits", "keep", "labels")),
    "shokri_mlp": Attack(partial(by_outputs, model="mlp"), ("logits", "keep", "labels")),
    "shokri_predecessor": Attack(by_class, ("logits", "keep", "labels")),
    "trajectory": Attack(by_signal, ("trajectory", "keep", "labels")),
    # inside the network, over its time, and under changed inputs
    "gradient_lira": Attack(negated(lira.score), ("gradient_norm", "keep")),
    "rates": Attack(by_signal, ("rates", "keep", "labels")),
    "steps": Attack(multivariate.score, ("phi_steps", "keep")),
    "longer": Attack(multivariate.score, ("phi_longer", "keep")),
    "dropout": Attack(lira.score, ("phi_dropout", "keep")),
    "repeats": Attack(repeats, ("phi_repeats", "keep")),
    # all other attacks of the run
    "combine": Attack(combine.score, ("scores", "keep")),
}
# the name with its mode, beside the short one: both families may be called alike
ALIASES = {"lira_online": "lira", "rmia_offline": "rmia"}
# learned attacks, and one of halves of the shadows, which `combine` leaves out
LEARNED = ("shokri", "shokri_mlp", "shokri_predecessor", "trajectory", "rates", "combine", "label_only_transfer")
NOT_SIGNALS = ("keep", "labels", "x", "scores")


def named(name: str) -> Attack:
    """The attack of a name of `ATTACKS`, or of "package.module:NAME" of the caller's own: an `Attack`, or a function
    whose positional parameters are called as what it needs.

    Raises ValueError for a name that is neither, and for a parameter that is no signal.
    """
    name = ALIASES.get(name, name)
    if name in ATTACKS:
        return ATTACKS[name]
    own = imported("attacks.names", name, ATTACKS, "function")
    if not isinstance(own, Attack):
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        given = inspect.signature(own).parameters.values()
        own = Attack(own, tuple(parameter.name for parameter in given if parameter.kind in positional))
    known = {*SIGNALS, *ACROSS}
    unknown = [need for need in own.needs if need not in NOT_SIGNALS and need.removesuffix("_population") not in known]
    unknown += [need for need in own.needs if need == "scores"]
    if unknown or not own.needs:
        raise ValueError(
            f"`attacks.names` {name!r}: its positional parameters must be signals ({', '.join(sorted(known))}, perhaps "
            f"with _population), keep, labels or x, got {list(own.needs)}."
        )
    return own


def signals_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """The signals that these attacks need."""
    needs = {need.removesuffix("_population") for name in names for need in named(name).needs}
    return tuple(sorted(needs - set(NOT_SIGNALS)))


def fewest_shadows(names: tuple[str, ...]) -> int:
    """How many shadows the named attacks need. `combine` runs those that it combines without a fold of pairs too, so
    what is left must be enough for them."""
    fewest = max(named(name).fewest for name in names)
    if not any("scores" in named(name).needs for name in names):
        return fewest
    of_combined = max((ATTACKS[name].fewest for name in names if name not in LEARNED), default=fewest)
    pairs = of_combined // 2
    while pairs - math.ceil(pairs / combine.FOLDS) < of_combined // 2:
        pairs += 1
    return max(2 * pairs, fewest)


__all__ = [
    "ALIASES", "ATTACKS", "LEARNED", "NOT_SIGNALS", "Attack", "combine", "difficulty", "fewest_shadows", "lira",
    "multivariate", "named", "population", "quantile", "rmia", "shokri", "signals", "signals_of",
]  # fmt: skip
