"""Membership-inference attacks: arrays in, scores out, all S targets at once, higher = more likely a member."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from jaxsnn_mia.attacks import combine, difficulty, lira, population, quantile, rmia, shokri, signals
from jaxsnn_mia.attacks.lira import multivariate


class Attack(NamedTuple):
    """fn(*arrays named by `needs`, valid_s=...) -> scores float32 [S, N].

    Signals are named as in `jaxsnn_mia.signals` and are [S, N, A, ...], of candidates, or of the population with
    "_population" behind the name. Beside them: "keep" bool [S, N], which comes with partner_s; "labels" int [N]; "x",
    the inputs [N, ...]; "scores", those of the other attacks, {name: [S, N] or a function of valid_s (`combine`)}.
    """

    fn: Callable
    needs: tuple[str, ...]
    fewest: int = 6  # shadows


def by_outputs(logits_snac, keep_sn, labels_n, **options) -> np.ndarray:
    """`shokri.score` of the first query's sorted softmax and loss."""
    features = {"logits": logits_snac[:, :, 0]}
    return shokri.score(features, keep_sn, labels_n, names=("sorted_softmax", "loss"), **options)


def by_values(values_snf, keep_sn, labels_n, **options) -> np.ndarray:
    """`shokri.score` of any values that a model has for an example."""
    return shokri.score({"values": values_snf}, keep_sn, labels_n, **options)


def by_class(logits_snac, keep_sn, labels_n, **options) -> np.ndarray:
    """The predecessor's attack model: `shokri.PRESETS`."""
    return shokri.score({"logits": logits_snac[:, :, 0]}, keep_sn, labels_n, **shokri.PRESETS["predecessor"], **options)


def less(fn: Callable) -> Callable:
    """`fn` of a signal that is smaller for members."""
    return lambda signal, *rest, **options: fn(-np.asarray(signal), *rest, **options)


def repeats(phi_snr, keep_sn, **options) -> np.ndarray:
    """LiRA on the mean and the log variance of a query that is asked again and again."""
    answers = np.asarray(phi_snr, np.float64)
    both = np.stack([answers.mean(2), np.log(answers.var(2) + 1e-6)], axis=2).astype(np.float32)
    return multivariate.score(both, keep_sn, **options)


def inputs(phi_sna, x, phi_sza, x_z, **options) -> np.ndarray:
    """`quantile.score` on flat inputs."""
    flat = [np.asarray(a, np.float32).reshape(len(a), -1) for a in (x, x_z)]
    return quantile.score(phi_sna, flat[0], phi_sza, flat[1], **options)


ATTACKS: dict[str, Attack] = {
    # the target alone
    "loss": Attack(population.loss, ("phi",)),
    "confidence": Attack(population.confidence, ("phi",)),
    "entropy": Attack(population.entropy, ("entropy",)),
    "modified_entropy": Attack(population.modified_entropy, ("modified_entropy",)),
    "gap": Attack(population.gap, ("correct",)),
    "gradient_norm": Attack(less(population.mean), ("gradient_norm",)),
    "label_noise": Attack(population.mean, ("label_noise",)),
    "boundary": Attack(population.mean, ("boundary",)),
    # the target and a population
    "attack_p": Attack(population.attack_p, ("phi", "phi_population")),
    "quantile": Attack(inputs, ("phi", "x", "phi_population", "x_population")),
    # the target and reference models
    "lira": Attack(lira.score, ("phi", "keep")),
    "lira_offline": Attack(partial(lira.score, mode="offline"), ("phi", "keep")),
    "lira_pooled": Attack(partial(lira.score, variance="pooled"), ("phi", "keep")),
    "lira_per_example": Attack(partial(lira.score, variance="per_example"), ("phi", "keep")),
    "lira_fixed": Attack(partial(lira.score, variance="fixed"), ("phi", "keep")),
    "lira_median": Attack(partial(lira.score, location="median"), ("phi", "keep")),
    "lira_multivariate": Attack(multivariate.score, ("phi", "keep")),
    "rmia": Attack(rmia.score, ("logp", "keep", "logp_population")),
    "rmia_online": Attack(partial(rmia.score, mode="online"), ("logp", "keep", "logp_population")),
    "rmia_tuned": Attack(partial(rmia.score, a="tuned"), ("logp", "keep", "logp_population"), fewest=8),
    "attack_r": Attack(difficulty.attack_r, ("phi", "keep")),
    "watson": Attack(difficulty.watson, ("phi", "keep")),
    "sablayrolles": Attack(difficulty.sablayrolles, ("phi", "keep")),
    # what is learned on other shadows
    "shokri": Attack(by_outputs, ("logits", "keep", "labels")),
    "shokri_mlp": Attack(partial(by_outputs, model="mlp"), ("logits", "keep", "labels")),
    "shokri_predecessor": Attack(by_class, ("logits", "keep", "labels")),
    "trajectory": Attack(by_values, ("trajectory", "keep", "labels")),
    # inside the network, over its time, and under changed inputs
    "gradient_lira": Attack(less(lira.score), ("gradient_norm", "keep")),
    "rates": Attack(by_values, ("rates", "keep", "labels")),
    "steps": Attack(multivariate.score, ("phi_steps", "keep")),
    "longer": Attack(multivariate.score, ("phi_longer", "keep")),
    "dropout": Attack(lira.score, ("phi_dropout", "keep")),
    "repeats": Attack(repeats, ("phi_repeats", "keep")),
    # all that were asked for
    "combine": Attack(combine.score, ("scores", "keep")),
}
LEARNED = ("shokri", "shokri_mlp", "shokri_predecessor", "trajectory", "rates", "combine")  # no part of a combination
NOT_SIGNALS = ("keep", "labels", "x", "scores")


def signals_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """The signals that these attacks need."""
    needs = {need.removesuffix("_population") for name in names for need in ATTACKS[name].needs}
    return tuple(sorted(needs - set(NOT_SIGNALS)))


def fewest_shadows(names: tuple[str, ...]) -> int:
    """How many shadows all of the named attacks need; one that combines others runs them without a fold of pairs."""
    fewest = max(ATTACKS[name].fewest for name in names)
    if not any("scores" in ATTACKS[name].needs for name in names):
        return fewest
    pairs = fewest // 2
    while pairs - math.ceil(pairs / combine.FOLDS) < fewest // 2:
        pairs += 1
    return 2 * pairs


__all__ = [
    "ATTACKS", "LEARNED", "NOT_SIGNALS", "Attack", "combine", "difficulty", "fewest_shadows", "lira", "multivariate",
    "population", "quantile", "rmia", "shokri", "signals", "signals_of",
]  # fmt: skip
