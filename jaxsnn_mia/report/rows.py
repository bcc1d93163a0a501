"""From scores to the rows of results.csv: one row per variant, attack and metric, with its interval."""

import contextlib
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from jaxsnn_mia import metrics
from jaxsnn_mia.metrics import bootstrap, comparisons, exposure
from jaxsnn_mia.privacy import accounting, lower_bounds
from jaxsnn_mia.report import tables
from jaxsnn_mia.runtime import stopping
from jaxsnn_mia.settings import Metrics
from jaxsnn_mia.store.files import digest, write_json, write_npz, write_text

ROC_POINTS = 400


class Audit(NamedTuple):
    """What the metrics of one variant are made from. Targets are shadows [S], each once; or separate ones."""

    name: str
    labels: dict[str, Any]  # columns that say what the rows are about
    settings: Metrics
    keep_sn: np.ndarray
    usable_s: np.ndarray  # targets that, with their partners, did not diverge
    pair_s: np.ndarray  # targets that are one unit of the bootstrap
    unit_n: np.ndarray  # duplicate groups of the examples
    correct_sn: np.ndarray | None  # None where only losses are known
    correct_test: np.ndarray | None  # [S, tests], where the source has a test split
    scores: dict[str, np.ndarray]
    diverged: int = 0
    coins: bool = False  # every example was included by a fair coin of its own (`splits.rows=iid`)
    correct_validation: np.ndarray | None = None  # [S, validation rows], where there are any
    privacy: accounting.Privacy | None = None  # of each model alone
    stages: Sequence[str] = ()  # folders of threats beyond membership
    beyond: Sequence[dict[str, Any]] = ()  # and their rows, of attacks that begin with one of `tables.BEYOND`
    confidence_sn: np.ndarray | None = None  # of the true class, mean over queries: tells which examples are exposed
    data: str = ""  # a hash that only the same examples, in the same roles, have


def write_results(folder: Path, audit: Audit) -> None:
    """results.csv, summary.json, roc.npz, replicates.npz (of the bootstrap) and examples.npz of one variant."""
    usable_s = audit.usable_s
    about = audit.labels | {
        "variant": audit.name,
        "n_shadows": int(usable_s.sum()),
        "n_examples": audit.keep_sn.shape[1],
    }
    accuracies, drawn = accuracy_rows(audit)
    rows = [about | row for row in accuracies]
    with ThreadPoolExecutor(2) as pool:
        jobs = {name: pool.submit(attack_rows, audit, name) for name in audit.scores}
        try:
            for name, job in tqdm(jobs.items(), desc=f"metrics {audit.name}", leave=False):
                stopping.check()
                own, own_drawn = job.result()
                rows += [about | {"attack": name, **row} for row in own]
                drawn |= {f"{name} {metric}": drawn_r for metric, drawn_r in own_drawn.items()}
        finally:
            pool.shutdown(cancel_futures=True)  # those that have not begun, where a stop or an error came
    rows += [about | row for row in (*strongest_rows(audit), *epsilon_rows(audit), *privacy_rows(audit), *audit.beyond)]
    curves = {name: thin(metrics.roc(scores, audit.keep_sn, usable_s)) for name, scores in audit.scores.items()}
    write_npz(folder / "roc.npz", curves)
    write_npz(folder / "replicates.npz", drawn)
    write_npz(folder / "examples.npz", exposed_examples(audit))
    write_text(folder / "results.csv", tables.as_csv(rows))
    write_json(
        folder / "summary.json",
        {
            "variant": audit.name,
            "shadows": len(usable_s),
            "diverged": audit.diverged,
            "candidates": audit.keep_sn.shape[1],
            "beyond": list(audit.stages),
            "distinct_examples": len(np.unique(audit.unit_n)),
            "splits": digest(fixed(audit)),
            "drawn": digest([*fixed(audit), *drawn_by(audit)]),
            "rows": [{key: none_for_nan(value) for key, value in row.items()} for row in rows],
        },
    )


def fixed(audit: Audit) -> list[str]:
    """What variants have in common that are compared: the examples, and who trained on them."""
    return [audit.data, *map(array_sha256, (audit.keep_sn, audit.unit_n))]


def drawn_by(audit: Audit) -> list[Any]:
    """What they have in common beside it whose replicates are paired: the usable targets and the draws."""
    m = audit.settings
    return [*map(array_sha256, (audit.usable_s, audit.pair_s)), m.seed, m.replicates_auc, m.replicates_tpr]


def array_sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def exposed_examples(audit: Audit) -> dict[str, np.ndarray]:
    """Of each example [N]: "auc", how well its times as a member are told from those as none (by the confidence);
    "caught", the share of the models trained on it from which `headline` tells it at the first FPR; "members", how many
    these are. And "halves" [2], the rank correlation of "auc" between two halves of the shadows and the Jaccard index
    of their most exposed hundredth. Nothing where the confidence is not known."""
    if audit.confidence_sn is None or not audit.usable_s.any():
        return {}
    keep_sn, usable_s, pair_s = audit.keep_sn, audit.usable_s, np.asarray(audit.pair_s)
    pairs = np.unique(pair_s[usable_s])
    halves = (np.nan, np.nan)
    if len(pairs) > 1:
        of_half = [
            exposure.per_example(audit.confidence_sn, keep_sn, usable_s & np.isin(pair_s, pairs[half::2]))
            for half in (0, 1)
        ]
        with contextlib.suppress(ValueError):  # separate targets: too few examples are IN and OUT in both halves
            halves = exposure.stability(*of_half)
    return {
        "auc": exposure.per_example(audit.confidence_sn, keep_sn, usable_s),
        "caught": exposure.exposure(
            audit.scores[tables.headline(list(audit.scores))], keep_sn, audit.settings.fprs[0],
            pair_s if len(pairs) > 1 else None, usable_s,
        ),
        "members": keep_sn[usable_s].sum(0),
        "halves": np.array(halves),
    }  # fmt: skip


def accuracy_rows(audit: Audit) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Train and test accuracy and their gap, means over shadows, and the replicates of each. Without a test split of
    the source, a shadow's own non-members are its test set."""
    if audit.correct_sn is None:
        return [], {}
    m, usable_s = audit.settings, audit.usable_s
    keep_sn, correct_sn = audit.keep_sn[usable_s], np.asarray(audit.correct_sn)[usable_s]
    sides = {"train_accuracy": (correct_sn, keep_sn, audit.unit_n)}
    if audit.correct_test is None:
        sides["test_accuracy"] = (correct_sn, ~keep_sn, audit.unit_n)
    held = {"test_accuracy": audit.correct_test, "validation_accuracy": audit.correct_validation}
    for metric, correct in held.items():
        if correct is not None:
            correct = np.asarray(correct)[usable_s]
            sides[metric] = (correct, np.ones(correct.shape, bool), np.arange(correct.shape[1]))
    values, drawn = {}, {}
    for metric, (correct, counted, unit_n) in sides.items():
        values[metric] = float(((correct * counted).sum(1) / counted.sum(1)).mean())
        drawn[metric] = bootstrap.crossed_mean(
            correct, counted, unit_n, audit.pair_s[usable_s], replicates=m.replicates_auc, seed=m.seed
        )
    values["gap"] = values["train_accuracy"] - values["test_accuracy"]
    drawn["gap"] = drawn["train_accuracy"] - drawn["test_accuracy"]
    rows = []
    for metric, value in values.items():
        low, high = bootstrap.percentiles(drawn[metric], m.level)
        rows.append({"attack": "", "metric": metric, "value": value, "low": low, "high": high, "level": m.level})
    return rows, drawn


def attack_rows(audit: Audit, name: str) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """AUC, TPR at each FPR with its PPV, what thresholds of other shadows give, and balanced accuracy of one attack;
    and the replicates of AUC and TPR."""
    m, scores_sn, keep_sn, usable_s = audit.settings, audit.scores[name], audit.keep_sn, audit.usable_s
    outside = {
        "pooled_non_members": int(np.sum(~keep_sn[usable_s])),
        "distinct_non_members": len(np.unique(audit.unit_n[(~keep_sn[usable_s]).any(0)])),
    }
    common: dict[str, Any] = {"seed": m.seed, "valid_s": usable_s}
    sample = (scores_sn, keep_sn, audit.unit_n, audit.pair_s)
    drawn = {"auc": bootstrap.auc_replicates(*sample, replicates=m.replicates_auc, **common)}
    low, high = bootstrap.percentiles(drawn["auc"], m.level)
    value = metrics.auc(scores_sn, keep_sn, usable_s)
    rows = [{"metric": "auc", "value": value, "low": low, "high": high, "level": m.level, **outside}]
    tpr_rf = bootstrap.tpr_replicates(*sample, m.fprs, replicates=m.replicates_tpr, **common)
    several = len(np.unique(audit.pair_s[usable_s])) > 1
    for fpr, tpr_r in zip(m.fprs, tpr_rf.T, strict=True):
        drawn[f"tpr@{fpr:g}"] = tpr_r
        low, high = bootstrap.percentiles(tpr_r, m.level)
        tpr, realised = metrics.tpr_at_fpr(scores_sn, keep_sn, fpr, usable_s)
        rows.append({"metric": f"tpr@{fpr:g}", "value": tpr, "low": low, "high": high, "level": m.level,
                     "realised_fpr": realised})  # fmt: skip
        rows += [
            {"metric": f"ppv@{fpr:g}@{prior:g}", "value": metrics.ppv(tpr, realised, prior), "realised_fpr": realised}
            for prior in m.priors
        ]
        if several:
            tpr, realised = metrics.deployed(scores_sn, keep_sn, fpr, audit.pair_s, usable_s)
            rows.append({"metric": f"deployed_tpr@{fpr:g}", "value": tpr, "realised_fpr": realised})
    rows.append({"metric": "balanced_accuracy", "value": metrics.balanced_accuracy(scores_sn, keep_sn, usable_s)})
    return rows, drawn


def epsilon_rows(audit: Audit) -> list[dict[str, Any]]:
    """Where examples were included by fair coins: the lower bound of epsilon that one training gives, that of the first
    target. A fifth of the examples is guessed; of duplicates, which share a coin, one counts."""
    if not audit.coins or not audit.usable_s.any():
        return []
    m, target = audit.settings, int(np.flatnonzero(audit.usable_s)[0])
    first_n = np.unique(audit.unit_n, return_index=True)[1]
    member_n = audit.keep_sn[target, first_n]
    rows = []
    for name, scores_sn in audit.scores.items():
        guess_n = lower_bounds.one_run_guesses(scores_sn[target, first_n], 2 * (len(first_n) // 10), seed=m.seed)
        right = int(((guess_n > 0) & member_n | (guess_n < 0) & ~member_n).sum())
        bound = lower_bounds.epsilon_one_run(
            len(first_n), int((guess_n != 0).sum()), right, delta=m.delta, beta=1 - m.level
        )
        rows.append({"attack": name, "metric": f"epsilon_one_run@{m.delta:g}", "value": bound, "level": m.level})
    return rows


def privacy_rows(audit: Audit) -> list[dict[str, Any]]:
    """What private training spent: "dp_epsilon" at "dp_delta" with "dp_noise"; the first says what it is of."""
    if audit.privacy is None:
        return []
    p = audit.privacy
    of = {"adjacency": accounting.ADJACENCY, **{name: getattr(p, name) for name in ("delta", "noise", "rate", "steps")}}
    values = {"dp_epsilon": p.epsilon, "dp_delta": p.delta, "dp_noise": p.noise}
    return [{"attack": "", "metric": name, "value": value, **of} for name, value in values.items()]


def strongest_rows(audit: Audit) -> list[dict[str, Any]]:
    """The attack that is best on half of the pairs, and its value on the other half: "auc" and "tpr@FPR" of the attack
    "strongest", with the names that were chosen."""
    if len(audit.scores) < 2 or len(np.unique(audit.pair_s[audit.usable_s])) < 2:
        return []
    best = comparisons.strongest(audit.scores, audit.keep_sn, audit.pair_s, audit.settings.fprs, audit.usable_s)
    return [
        {
            "attack": "strongest",
            "metric": of if of == "auc" else f"tpr@{of:g}",
            "value": one.value,
            "chosen": ", ".join(dict.fromkeys(one.chosen)),
        }
        for of, one in best.items()
    ]


def thin(roc: metrics.Roc) -> np.ndarray:
    """float64 [2, K]: FPR and TPR of the curve at about ROC_POINTS points, evenly spread on a log scale."""
    grid = np.concatenate([[0.0], np.geomspace(max(roc.fpr[roc.fpr > 0].min(), 1e-7), 1.0, ROC_POINTS)])
    at = np.unique(np.searchsorted(roc.fpr, grid * (1 + 1e-12), side="right") - 1)
    return np.stack([roc.fpr[at], roc.tpr[at]])


def none_for_nan(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value
