"""Computes the metrics of an `Audit` from scores: one row of results.csv per attack and metric, with its interval."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from jaxsnn_mia import metrics
from jaxsnn_mia.metrics import bootstrap, comparisons, exposure
from jaxsnn_mia.privacy import accounting, lower_bounds, one_run
from jaxsnn_mia.report import tables
from jaxsnn_mia.runtime import stopping
from jaxsnn_mia.settings import Metrics
from jaxsnn_mia.store.files import digest, write_json, write_npz, write_text

ROC_POINTS = 400


class Audit(NamedTuple):
    """What the metrics of one variant are computed from.

    Axis S are the targets: all shadows, each once, or separate models. N are the examples.

    Attributes:
      name: of the variant.
      labels: columns that say what the rows are about.
      settings: rates, intervals, replicates and the seed of the bootstrap.
      keep_sn: bool [S, N], which target trained on which example.
      usable_s: bool [S], targets that did not diverge, and whose partner did not.
      pair_s: int [S]; targets with the same number are a pair, one unit of the bootstrap.
      unit_n: int [N]; examples with the same number are duplicates, one unit of the bootstrap.
      correct_sn: [S, N], 1 where a target classifies an example correctly; None where only losses are known.
      correct_test: [S, tests], the same on the test split of the source; None where it has none.
      scores: float [S, N] of each attack; a member should have a higher score.
      diverged: how many shadows diverged.
      coins: whether a fair coin of its own included every example (`splits.rows=iid`).
      correct_validation: [S, validation rows], as `correct_test`.
      privacy: what private training guarantees for each model alone; None without it.
      stages: the folders of the threats beyond membership.
      beyond: the rows of these threats; their attacks begin with one of `tables.BEYOND`.
      confidence_sn: float [S, N], the logit confidence, mean over queries; it tells which examples are exposed.
      data: a hash that only the same examples in the same roles have.
    """

    name: str
    labels: dict[str, Any]
    settings: Metrics
    keep_sn: np.ndarray
    usable_s: np.ndarray
    pair_s: np.ndarray
    unit_n: np.ndarray
    correct_sn: np.ndarray | None
    correct_test: np.ndarray | None
    scores: dict[str, np.ndarray]
    diverged: int = 0
    coins: bool = False
    correct_validation: np.ndarray | None = None
    privacy: accounting.Privacy | None = None
    stages: Sequence[str] = ()
    beyond: Sequence[dict[str, Any]] = ()
    confidence_sn: np.ndarray | None = None
    data: str = ""


def compute_metrics(folder: Path, audit: Audit) -> None:
    """Computes every metric of one variant and writes results.csv, summary.json, roc.npz, replicates.npz (of the
    bootstrap) and examples.npz."""
    rows, drawn = accuracy_rows(audit)
    of_attacks, drawn_of_attacks = rows_of_all_attacks(audit)
    rows += of_attacks
    rows += [*strongest_rows(audit), *epsilon_rows(audit), *privacy_rows(audit), *audit.beyond]
    candidates = audit.keep_sn.shape[1]
    about = {"variant": audit.name, "n_shadows": int(audit.usable_s.sum()), "n_examples": candidates}
    rows = [audit.labels | about | row for row in rows]
    curves = {
        name: thinned(metrics.roc(scores, audit.keep_sn, audit.usable_s)) for name, scores in audit.scores.items()
    }
    write_npz(folder / "roc.npz", curves)
    write_npz(folder / "replicates.npz", drawn | drawn_of_attacks)
    write_npz(folder / "examples.npz", exposed_examples(audit))
    write_text(folder / "results.csv", tables.as_csv(rows))
    write_json(
        folder / "summary.json",
        {
            "variant": audit.name,
            "shadows": len(audit.usable_s),
            "diverged": audit.diverged,
            "candidates": candidates,
            "beyond": list(audit.stages),
            "distinct_examples": len(np.unique(audit.unit_n)),
            "splits": digest(compared_by(audit)),
            "drawn": digest([*compared_by(audit), *paired_by(audit)]),
            "rows": [{key: none_for_nan(value) for key, value in row.items()} for row in rows],
        },
    )


def rows_of_all_attacks(audit: Audit) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """`attack_rows` of every attack, two at a time; and the replicates by "ATTACK METRIC"."""
    rows, drawn = [], {}
    with ThreadPoolExecutor(2) as pool:
        jobs = {name: pool.submit(attack_rows, audit, name) for name in audit.scores}
        try:
            for name, job in tqdm(jobs.items(), desc=f"metrics {audit.name}", leave=False):
                stopping.check()
                of_attack, drawn_of_attack = job.result()
                rows += [{"attack": name, **row} for row in of_attack]
                drawn |= {f"{name} {metric}": drawn_r for metric, drawn_r in drawn_of_attack.items()}
        finally:
            pool.shutdown(cancel_futures=True)  # those that have not begun, where a stop or an error came
    return rows, drawn


def compared_by(audit: Audit) -> list[str]:
    """What two variants must have in common to be compared: the examples, and which target trained on which."""
    return [audit.data, *map(array_sha256, (audit.keep_sn, audit.unit_n))]


def paired_by(audit: Audit) -> list[Any]:
    """What they must have in common as well for their replicates to be paired: the usable targets and the draws."""
    m = audit.settings
    return [*map(array_sha256, (audit.usable_s, audit.pair_s)), m.seed, m.replicates_auc, m.replicates_tpr]


def array_sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def exposed_examples(audit: Audit) -> dict[str, np.ndarray]:
    """How exposed each example is. Nothing where the confidence is not known.

    Returns:
      "auc": float [N], `exposure.per_example` of the confidence.
      "caught": float [N], the share of the models trained on the example from which `tables.headline` tells it at the
        first FPR.
      "members": int [N], how many models were trained on it.
      "halves": float [2], `exposure.stability` of "auc" between two halves of the pairs of models.
    """
    if audit.confidence_sn is None or not audit.usable_s.any():
        return {}
    keep_sn, usable_s, pair_s = audit.keep_sn, audit.usable_s, np.asarray(audit.pair_s)
    pairs = np.unique(pair_s[usable_s])
    several = len(pairs) > 1
    headline = audit.scores[tables.headline(list(audit.scores))]
    return {
        "auc": exposure.per_example(audit.confidence_sn, keep_sn, usable_s),
        "caught": exposure.exposure(headline, keep_sn, audit.settings.fprs[0], pair_s if several else None, usable_s),
        "members": keep_sn[usable_s].sum(0),
        "halves": np.array(stability_of_halves(audit, pairs) if several else (np.nan, np.nan)),
    }


def stability_of_halves(audit: Audit, pairs: np.ndarray) -> tuple[float, float]:
    """`exposure.stability` between every second of the pairs and the others; NaN where it is not known."""
    assert audit.confidence_sn is not None
    auc_of_half = []
    for half in (0, 1):
        in_half_s = audit.usable_s & np.isin(np.asarray(audit.pair_s), pairs[half::2])
        auc_of_half.append(exposure.per_example(audit.confidence_sn, audit.keep_sn, in_half_s))
    try:
        return exposure.stability(*auc_of_half)
    except ValueError:  # separate targets: too few examples are IN and OUT in both halves
        return np.nan, np.nan


def accuracy_rows(audit: Audit) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Train and test accuracy, that on validation rows where there are any, and the gap between train and test: means
    over targets, and the replicates of each. Where the source has no test split, the examples that a target did not
    train on are its test set."""
    if audit.correct_sn is None:
        return [], {}
    m, usable_s = audit.settings, audit.usable_s
    keep_sn, correct_sn = audit.keep_sn[usable_s], np.asarray(audit.correct_sn)[usable_s]
    sides = {"train_accuracy": (correct_sn, keep_sn, audit.unit_n)}
    if audit.correct_test is None:
        sides["test_accuracy"] = (correct_sn, ~keep_sn, audit.unit_n)
    held_out = {"test_accuracy": audit.correct_test, "validation_accuracy": audit.correct_validation}
    for metric, correct in held_out.items():
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
    rows = [{"attack": "", **measure(metric, value, drawn[metric], audit)} for metric, value in values.items()]
    return rows, drawn


def attack_rows(audit: Audit, name: str) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """The rows of one attack, and the replicates of its AUC and TPR. The rows are the AUC, the balanced accuracy, and
    at each FPR: the TPR, the PPV for each prior, and the TPR with thresholds from other targets."""
    m, scores_sn, keep_sn, usable_s = audit.settings, audit.scores[name], audit.keep_sn, audit.usable_s
    several = len(np.unique(audit.pair_s[usable_s])) > 1
    sample = (scores_sn, keep_sn, audit.unit_n, audit.pair_s)
    auc_r = bootstrap.auc_replicates(*sample, replicates=m.replicates_auc, seed=m.seed, valid_s=usable_s)
    tpr_rf = bootstrap.tpr_replicates(*sample, m.fprs, replicates=m.replicates_tpr, seed=m.seed, valid_s=usable_s)
    drawn = {"auc": auc_r}
    rows = [measure("auc", metrics.auc(scores_sn, keep_sn, usable_s), auc_r, audit) | count_non_members(audit)]
    for fpr, tpr_r in zip(m.fprs, tpr_rf.T, strict=True):
        drawn[f"tpr@{fpr:g}"] = tpr_r
        tpr, realised = metrics.tpr_at_fpr(scores_sn, keep_sn, fpr, usable_s)
        rows.append(measure(f"tpr@{fpr:g}", tpr, tpr_r, audit) | {"realised_fpr": realised})
        for prior in m.priors:
            ppv = metrics.ppv(tpr, realised, prior)
            rows.append({"metric": f"ppv@{fpr:g}@{prior:g}", "value": ppv, "realised_fpr": realised})
        if several:
            tpr, realised = metrics.deployed(scores_sn, keep_sn, fpr, audit.pair_s, usable_s)
            rows.append({"metric": f"deployed_tpr@{fpr:g}", "value": tpr, "realised_fpr": realised})
    rows.append({"metric": "balanced_accuracy", "value": metrics.balanced_accuracy(scores_sn, keep_sn, usable_s)})
    return rows, drawn


def measure(metric: str, value: float, drawn_r: np.ndarray, audit: Audit) -> dict[str, Any]:
    """A value with its interval from replicates [R]."""
    level, pairs = audit.settings.level, bootstrap.count_pairs(audit.pair_s, audit.usable_s)
    low, high = bootstrap.interval(value, drawn_r, pairs, level, least=-1.0 if metric == "gap" else 0.0)
    return {"metric": metric, "value": value, "low": low, "high": high, "level": level}


def count_non_members(audit: Audit) -> dict[str, int]:
    """How many (target, non-member) there are, and how many different examples these are."""
    outside_sn = ~audit.keep_sn[audit.usable_s]
    distinct = np.unique(audit.unit_n[outside_sn.any(0)])
    return {"pooled_non_members": int(np.sum(outside_sn)), "distinct_non_members": len(distinct)}


def epsilon_rows(audit: Audit) -> list[dict[str, Any]]:
    """Lower bounds of epsilon that one training gives, that of the first usable target; none where the examples were
    not included by fair coins. Duplicates share a coin, so one of them counts. "epsilon_one_run" guesses a fifth of the
    examples, fixed in advance; "epsilon_band" holds for every number of guesses at once."""
    if not audit.coins or not audit.usable_s.any():
        return []
    m, target = audit.settings, int(np.flatnonzero(audit.usable_s)[0])
    first_n = np.unique(audit.unit_n, return_index=True)[1]
    canaries, fifth, beta = len(first_n), 2 * (len(first_n) // 10), 1 - m.level
    rows = []
    for name, scores_sn in audit.scores.items():
        right_k = one_run.in_order(scores_sn[target, first_n], audit.keep_sn[target, first_n], seed=m.seed)
        right = int(right_k[:fifth].sum())
        bounds = {
            "epsilon_one_run": lower_bounds.epsilon_one_run(canaries, fifth, right, delta=m.delta, beta=beta),
            "epsilon_band": one_run.epsilon_band(canaries, right_k, delta=m.delta, beta=beta),
        }
        for bound, value in bounds.items():
            rows.append({"attack": name, "metric": f"{bound}@{m.delta:g}", "value": value, "level": m.level})
    return rows


def privacy_rows(audit: Audit) -> list[dict[str, Any]]:
    """What private training guarantees: "dp_epsilon", "dp_delta" and "dp_noise", each with how it was computed."""
    if audit.privacy is None:
        return []
    p = audit.privacy
    computed = {
        "adjacency": accounting.ADJACENCY, "delta": p.delta, "noise": p.noise, "rate": p.rate, "steps": p.steps,
    }  # fmt: skip
    values = {"dp_epsilon": p.epsilon, "dp_delta": p.delta, "dp_noise": p.noise}
    return [{"attack": "", "metric": metric, "value": value, **computed} for metric, value in values.items()]


def strongest_rows(audit: Audit) -> list[dict[str, Any]]:
    """AUC and TPR of the attack "strongest": the attack that is best on half of the pairs, measured on the other half,
    with intervals that take the choice as given. "chosen" has the names of the chosen ones."""
    if len(audit.scores) < 2 or len(np.unique(audit.pair_s[audit.usable_s])) < 2:
        return []
    m = audit.settings
    best = comparisons.strongest(audit.scores, audit.keep_sn, audit.pair_s, m.fprs, audit.usable_s)
    rows: list[dict[str, Any]] = []
    for criterion, strongest in best.items():
        metric = "auc" if criterion == "auc" else f"tpr@{criterion:g}"
        row: dict[str, Any] = {
            "attack": "strongest",
            "metric": metric,
            "chosen": ", ".join(dict.fromkeys(strongest.chosen)),
        }
        if strongest.scores_sn is None:
            rows.append(row | {"value": strongest.value})
            continue
        sample, usable_s = (strongest.scores_sn, audit.keep_sn, audit.unit_n, audit.pair_s), audit.usable_s
        if criterion == "auc":
            drawn_r = bootstrap.auc_replicates(*sample, replicates=m.replicates_auc, seed=m.seed, valid_s=usable_s)
        else:
            fpr = float(criterion)
            (drawn_r,) = bootstrap.tpr_replicates(
                *sample, (fpr,), replicates=m.replicates_tpr, seed=m.seed, valid_s=usable_s
            ).T
            row["realised_fpr"] = metrics.tpr_at_fpr(strongest.scores_sn, audit.keep_sn, fpr, usable_s)[1]
        rows.append(row | measure(metric, strongest.value, drawn_r, audit))
    return rows


def thinned(roc: metrics.Roc) -> np.ndarray:
    """float64 [2, K]: FPR and TPR of the curve at about ROC_POINTS points, evenly spread on a log scale."""
    grid = np.concatenate([[0.0], np.geomspace(max(roc.fpr[roc.fpr > 0].min(), 1e-7), 1.0, ROC_POINTS)])
    at = np.unique(np.searchsorted(roc.fpr, grid * (1 + 1e-12), side="right") - 1)
    return np.stack([roc.fpr[at], roc.tpr[at]])


def none_for_nan(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value
