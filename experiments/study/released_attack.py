"""The predecessor's attack as it was released (arXiv 2411.06613), and with each of its confounders replaced.

As released: a fifth of the rows is the test split. The target trains on all the others, the shadow on 80 % of the same
rows. The mean and deviation of the target's training split standardise the inputs of both. One support vector machine
per class, with radial basis functions, learns from the shadow's whole output, raw logits (ANN) or last membrane (SNN),
to tell its training rows from a fifth of the test split. Then it ranks the target's training rows against the whole
test split. The AUC is the mean over classes: decision values of two machines have no common scale. A class that lacks
members or non-members on either side is left out. Attack data are balanced for the ANN, in fitting and in ranking, and
not for the SNN. The learning rate is 1e-4 for the ANN and 1e-3 for the SNN. Adam, 20 epochs, batches of 128. The hidden
layer has the 128 units of PROTOCOL.md (256 for Location-30) instead of 1000. Exact duplicates are dropped; with them
none of the sets below would be disjoint.

`REPLACED` names what is replaced. Two replacements change more than their name says, for both families alike: disjoint
data halve the training sets, and the 64 shadows of LiRA train on halves, so they are targets of half the data as well.

A seed draws splits, initial weights and batches, the same for both families.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from sklearn.svm import SVC

from experiments.study import conditions
from jaxsnn_mia import config, data, metrics, models
from jaxsnn_mia.attacks import lira
from jaxsnn_mia.config.specs import training_inputs
from jaxsnn_mia.data import splits
from jaxsnn_mia.signals.catalogue import compute
from jaxsnn_mia.training.ensemble import Shadows, make_ensemble
from jaxsnn_mia.training.inputs import first_rows, repeat_last
from jaxsnn_mia.training.step import Norm

FAMILIES = ("ann", "snn")
PARTS = {
    "balance": "as many members as non-members of each class, in fitting and in ranking, for both families",
    "rates": "those that the controlled search chose for the data set and the readout (rates.csv), or --rates",
    "readout": "an SNN that reads a leaky integrator; the logit confidence is the only feature, for both families",
    "overlap": "target and shadow have a half of the data each, of which 80 % train and 20 % are non-members",
    "attack": "64 shadows on complementary halves and online LiRA on the logit confidence; every shadow is a target",
}
REPLACED = {"none": frozenset(), **{part: frozenset({part}) for part in PARTS}, "all": frozenset(PARTS)}
NUMBERS = ("seed", "auc", "train_accuracy", "test_accuracy", "members", "non_members", "models")  # of a row
DRAW, BALANCE = range(2)  # purposes of a seed's generators
IDS = 1000  # of models for each seed
AT_ONCE = 64  # models in training


class Settings(NamedTuple):
    """Of the training: learning rates where they are replaced (by family, or of an SNN by its readout) and where they
    are not; hidden units; epochs; rows of a batch; shadows of LiRA for each seed."""

    rates: dict[str, float]
    released: dict[str, float] = conditions.AS_RELEASED
    hidden: int = 128
    epochs: int = 20
    batch_size: int = 128
    shadows: int = 64


class Roles(NamedTuple):
    """Rows of the data set, int arrays: what the target and the shadow train on, who their non-members are, and whose
    mean and deviation standardise the shadow's inputs (the target's: its own training rows)."""

    target: np.ndarray
    target_out: np.ndarray
    shadow: np.ndarray
    shadow_out: np.ndarray
    shadow_scale: np.ndarray


class Outputs(NamedTuple):
    """What a model says of rows: features float [R, F], their labels int [R], and whether it trained on them."""

    features_rf: np.ndarray
    labels_r: np.ndarray
    member_r: np.ndarray


def as_released(n: int, rng: np.random.Generator) -> Roles:
    """The shadow's rows are the target's."""
    inside, outside = fifth_out(rng.permutation(n))
    shadow = rng.permutation(inside)[: int(0.8 * len(inside))]
    return Roles(inside, outside, shadow, rng.permutation(outside)[: int(0.2 * len(outside))], inside)


def disjoint(n: int, rng: np.random.Generator) -> Roles:
    """Four sets without a common row."""
    halves = np.array_split(rng.permutation(n), 2)
    (target, target_out), (shadow, shadow_out) = map(fifth_out, halves)
    return Roles(target, target_out, shadow, shadow_out, shadow)


def fifth_out(order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(training rows, test rows): a fifth, rounded up, is of the test."""
    count = -(-len(order) // 5)
    return order[count:], order[:count]


def chosen(rows: Sequence[np.ndarray], n: int) -> np.ndarray:
    """bool [S, N]: which of N rows are in each of S lists."""
    return np.stack([np.isin(np.arange(n), of_model) for of_model in rows])


def asked(features_nf: np.ndarray, labels_n: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> Outputs:
    """The outputs of a model on its training rows and on other rows."""
    rows = np.concatenate([inside, outside])
    return Outputs(features_nf[rows], labels_n[rows], np.arange(len(rows)) < len(inside))


def balanced(member_r: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices of as many members as non-members, drawn from the larger side."""
    sides = [np.flatnonzero(member_r), np.flatnonzero(~member_r)]
    least = min(map(len, sides))
    return np.sort(np.concatenate([rng.permutation(side)[:least] for side in sides]))


def svc_auc(shadow: Outputs, target: Outputs, balance: bool, rng: np.random.Generator) -> tuple[float, int, int]:
    """(mean AUC over classes, members ranked, non-members ranked) of one support vector machine per class, learned on
    the shadow's outputs as they are. ValueError where no class has members and non-members on both sides."""
    aucs, ranked = [], np.zeros(2, int)
    for label in np.unique(target.labels_r):
        x, member = [], []
        for side in (shadow, target):
            of_class = np.flatnonzero(side.labels_r == label)
            rows = of_class[balanced(side.member_r[of_class], rng)] if balance else of_class
            x.append(np.asarray(side.features_rf[rows], np.float64))
            member.append(side.member_r[rows])
        if any(len(np.unique(m)) < 2 for m in member):
            continue
        scores_r = SVC(kernel="rbf").fit(x[0], member[0]).decision_function(x[1])
        aucs.append(metrics.auc(scores_r, member[1]))
        ranked += member[1].sum(), (~member[1]).sum()
    if not aucs:
        raise ValueError("no class has members and non-members of both the shadow and the target. Use more rows.")
    return float(np.mean(aucs)), int(ranked[0]), int(ranked[1])


def moments(x: np.ndarray, rows_sn: np.ndarray) -> Norm:
    """Mean and deviation [S, D] of the rows of each model; features that do not vary get 1."""
    means, deviations = (
        np.stack([fn(x[rows_n], axis=0, dtype=np.float64) for rows_n in rows_sn]) for fn in (np.mean, np.std)
    )
    return Norm(np.float32(means), np.float32(np.where(deviations > 1e-6, deviations, 1.0)))


def answers(
    d: data.Dataset, keep_sn: np.ndarray, scale_sn: np.ndarray, ids_s: np.ndarray, s: Settings, *, family: str,
    lr: float, readout: str, names: tuple[str, ...],
) -> dict[str, np.ndarray]:  # fmt: skip
    """{signal: [S, N, ...]} of S models on all rows: model s trained on the rows of keep_sn, its inputs standardised by
    those of scale_sn; ids_s tell their random numbers apart."""
    c = config.from_dict(
        {
            "data": {"standardise": "per_shadow", "population": 0.0},
            "model": {"family": family, "hidden": (s.hidden,), "readout": readout},
            "train": {"lr": lr, "epochs": s.epochs, "batch_size": s.batch_size},
            "attacks": {"names": ("lira",)},
        }
    )
    w = training_inputs(c, d.x, d.y, len(d.class_names), keep_sn)
    devices = jax.local_devices()
    width = 1 if devices[0].platform == "cpu" else -(-min(len(ids_s), AT_ONCE) // len(devices))
    ensemble = make_ensemble(w.spec, seed=0, width=width, devices=devices)
    query, block = ensemble.query(compute(names)), width * len(devices)
    parts = []
    for first in range(0, len(ids_s), AT_ONCE):
        ids = np.asarray(ids_s[first : first + AT_ONCE], np.int32)
        at, real = slice(first, first + len(ids)), len(ids)
        hyper = models.Hyper(*[np.full(real, value, np.float32) for value in w.hyper])
        batch = Shadows(ids, hyper, (w.rows[0][at], w.rows[1][at])), moments(d.x, scale_sn[at])
        batch, norm = repeat_last(batch, -(-real // block) * block)
        group = ensemble.init(batch, w.data)
        group = group._replace(state=group.state._replace(norm=norm))  # not always that of its own rows
        group = ensemble.run(group, batch, w.data, 0, s.epochs)
        parts.append(first_rows(query(group.state, batch, d.x, d.y), real))
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def by_svc(d: data.Dataset, family: str, replaced: frozenset, seeds: Sequence[int], ask: Callable) -> Iterator[tuple]:
    """The `NUMBERS` of each seed but the last: one target and one shadow."""
    divide = disjoint if "overlap" in replaced else as_released
    roles = [divide(len(d.x), np.random.default_rng([seed, DRAW])) for seed in seeds]
    signal = "phi" if "readout" in replaced else "logits"
    got = ask(
        chosen([rows for r in roles for rows in (r.target, r.shadow)], len(d.x)),
        chosen([rows for r in roles for rows in (r.target, r.shadow_scale)], len(d.x)),
        np.array([seed * IDS + i for seed in seeds for i in range(2)]),
        names=(signal, "correct"),
    )
    features_snf = got[signal].reshape(len(got[signal]), len(d.x), -1)
    for k, (seed, r) in enumerate(zip(seeds, roles, strict=True)):
        target, shadow = features_snf[2 * k], features_snf[2 * k + 1]
        if not (np.isfinite(target).all() and np.isfinite(shadow).all()):
            raise ValueError(f"seed {seed}: the {family} diverged. Lower its rate in --rates.")
        auc, *ranked = svc_auc(
            asked(shadow, d.y, r.shadow, r.shadow_out),
            asked(target, d.y, r.target, r.target_out),
            family == "ann" or "balance" in replaced,
            np.random.default_rng([seed, BALANCE]),
        )
        right_n = got["correct"][2 * k, :, 0]
        yield seed, auc, float(right_n[r.target].mean()), float(right_n[r.target_out].mean()), *ranked


def by_lira(d: data.Dataset, seeds: Sequence[int], shadows: int, ask: Callable) -> Iterator[tuple]:
    """The same with means over shadows. Each is a target of the others; its partner is left out."""
    keep_ksn = [splits.make(jax.random.key(seed), d.y, shadows) for seed in seeds]
    ids = np.array([seed * IDS + i for seed in seeds for i in range(shadows)])
    got = ask(np.concatenate(keep_ksn), np.concatenate(keep_ksn), ids, names=("phi", "correct"))
    partner_s = splits.partners(shadows)
    for k, (seed, keep_sn) in enumerate(zip(seeds, keep_ksn, strict=True)):
        phi_sna, correct_sna = (got[name][k * shadows : (k + 1) * shadows] for name in ("phi", "correct"))
        valid_s = np.isfinite(phi_sna).all((1, 2))
        valid_s &= valid_s[partner_s]  # a diverged one takes its partner out with it
        auc = metrics.auc(lira.score(phi_sna, keep_sn, partner_s=partner_s, valid_s=valid_s), keep_sn, valid_s)
        right_sn, member_sn = correct_sna[valid_s, :, 0], keep_sn[valid_s]
        inside, outside = int(keep_sn[0].sum()), int((~keep_sn[0]).sum())
        yield seed, auc, float(right_sn[member_sn].mean()), float(right_sn[~member_sn].mean()), inside, outside


def block(d: data.Dataset, family: str, replaced: frozenset, seeds: Sequence[int], s: Settings) -> list[dict[str, Any]]:
    """The rows of one family for some seeds, with the columns `NUMBERS`."""
    readout = "leaky_integrator" if "readout" in replaced and family == "snn" else "membrane_last"
    rates = s.rates if "rates" in replaced else s.released
    lr = rates[readout if family == "snn" and readout in rates else family]

    def ask(keep_sn, scale_sn, ids_s, *, names):
        return answers(d, keep_sn, scale_sn, ids_s, s, family=family, lr=lr, readout=readout, names=names)

    lira_instead = "attack" in replaced
    numbers = by_lira(d, seeds, s.shadows, ask) if lira_instead else by_svc(d, family, replaced, seeds, ask)
    models = s.shadows if lira_instead else 2
    return [dict(zip(NUMBERS, (*row, models), strict=True)) for row in numbers]
