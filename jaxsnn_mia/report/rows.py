"""Computes the metrics of an `Audit` from scores: one row of results.csv per attack and metric, with its interval."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from jaxsnn_mia import metrics
from jaxsnn_mia.metrics import bootstrap, comparisons, exposure
from jaxsnn_mia.privacy import accounting, lower_bounds, one_run
from jaxsnn_mia.report import tables
from jaxsnn_mia.report.audited import Audit, compared_by, groups, paired_by
from jaxsnn_mia.runtime import stopping
from jaxsnn_mia.store.files import digest, write_json, write_npz, write_text

ROC_POINTS = 400
BINS = 40  # of a histogram of scores
TOP = 0.01  # of the examples are called the most exposed


def compute_metrics(folder: Path, audit: Audit) -> None:
    """Computes every metric of one variant and writes results.csv, summary.json, roc.npz, histograms.npz,
    replicates.npz (of the bootstrap) and examples.npz."""
    natural, canaries = groups(audit)
    rows, drawn = accuracy_rows(natural)
    of_attacks, drawn_of_attacks = rows_of_all_attacks(natural)
    rows += of_attacks
    rows += strongest_rows(natural)
    if canaries is None:
        rows += epsilon_rows(audit)
    else:
        of_canaries, drawn_of_canaries = canary_rows(canaries)
        rows, drawn = rows + of_canaries, drawn | drawn_of_canaries
    rows += [*trace_rows(natural), *work_rows(audit), *privacy_rows(audit), *audit.beyond]
    about = {
        "variant": audit.name, "n_shadows": int(audit.usable_s.sum()), "n_examples": natural.keep_sn.shape[1],
    }  # fmt: skip
    rows = [audit.labels | about | row for row in rows]
    curves = {
        name: thinned(metrics.roc(scores, natural.keep_sn, audit.usable_s)) for name, scores in natural.scores.items()
    }
    write_npz(folder / "roc.npz", curves)
    write_npz(folder / "histograms.npz", histograms(natural))
    write_npz(folder / "replicates.npz", drawn | drawn_of_attacks)
    write_npz(folder / "examples.npz", exposed_examples(audit))
    write_text(folder / "results.csv", tables.as_csv(rows))
    write_json(
        folder / "summary.json",
        {
            "variant": audit.name,
            "shadows": len(audit.usable_s),
            "diverged": audit.diverged,
            "candidates": audit.keep_sn.shape[1],
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


def canary_rows(canaries: Audit) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """AUC, TPR and the bound of epsilon of every attack on the canaries, and the replicates by "ATTACK METRIC". The
    metrics are called as those of natural rows, with `tables.CANARY` before."""
    rows, drawn = rows_of_all_attacks(canaries)
    rows = [row for row in rows if row["metric"] == "auc" or row["metric"].startswith("tpr@")]
    rows += [*strongest_rows(canaries), *epsilon_rows(canaries)]
    count = canaries.keep_sn.shape[1]
    renamed = [row | {"metric": tables.CANARY + row["metric"], "n_examples": count} for row in rows]
    return renamed, {name.replace(" ", f" {tables.CANARY}"): drawn_r for name, drawn_r in drawn.items()}


def exposed_examples(audit: Audit) -> dict[str, np.ndarray]:
    """How exposed each example is; NaN of canaries, which are not what an owner asks of. Nothing where the confidence
    is not known.

    Returns:
      "auc": float [N], `exposure.per_example` of the confidence.
      "caught": float [N], the share of the models trained on the example from which `tables.headline` tells it at the
        first FPR.
      "members": int [N], how many models were trained on it.
      "halves": float [2], `exposure.stability` of "auc" between two halves of the pairs of models.
    """
    if audit.confidence_sn is None or not audit.usable_s.any():
        return {}
    natural, _ = groups(audit)
    keep_sn, usable_s, pair_s = natural.keep_sn, audit.usable_s, np.asarray(audit.pair_s)
    pairs = np.unique(pair_s[usable_s])
    several = len(pairs) > 1
    headline = natural.scores[tables.headline(list(natural.scores))]
    auc_n = exposure.per_example(natural.confidence_sn, keep_sn, usable_s)
    caught_n = exposure.exposure(headline, keep_sn, audit.settings.fprs[0], pair_s if several else None, usable_s)
    return {
        "auc": at_their_places(auc_n, audit.canary_n),
        "caught": at_their_places(caught_n, audit.canary_n),
        "members": audit.keep_sn[usable_s].sum(0),
        "halves": np.array(stability_of_halves(natural, pairs) if several else (np.nan, np.nan)),
    }


def histograms(audit: Audit) -> dict[str, np.ndarray]:
    """`tables.headline` -> [3, BINS]: left edges of equal bins, how many scores of members and of others lie in each.
    The ends hold what lies beyond the middle 99 %. Nothing where no score is finite."""
    name = tables.headline(list(audit.scores))
    scores, member = audit.scores[name][audit.usable_s], audit.keep_sn[audit.usable_s]
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return {}
    low, high = np.percentile(finite, (0.5, 99.5))
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    within = np.clip(scores, edges[0], edges[-1])
    of = [np.histogram(within[side & ~np.isnan(scores)], edges)[0] for side in (member, ~member)]
    return {name: np.stack([edges[:-1], *of])}


def at_their_places(value_n: np.ndarray, canary_n: np.ndarray | None) -> np.ndarray:
    """float [N]: the values of the natural examples at their places among all, NaN at those of canaries."""
    if canary_n is None:
        return value_n
    whole_n = np.full(len(canary_n), np.nan)
    whole_n[~canary_n] = value_n
    return whole_n


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


def trace_rows(audit: Audit) -> list[dict[str, Any]]:
    """How well one model's own losses along its training tell who is exposed: of the members of a model in the top
    hundredth of `exposure.loss_trace_iqr`, the share in the top hundredth of the exposure by all models. By chance it
    is a hundredth. None where the losses, or the confidences, are not known."""
    if audit.losses_snt is None or audit.confidence_sn is None or not audit.usable_s.any():
        return []
    usable_s = audit.usable_s
    exposed_n = exposure.per_example(audit.confidence_sn, audit.keep_sn, usable_s)
    ranking_sn = exposure.loss_trace_iqr(audit.losses_snt[usable_s])
    value = exposure.precision(ranking_sn, exposed_n, audit.keep_sn[usable_s], share=TOP)
    return [{"attack": "", "metric": f"lt_iqr_precision@{TOP:g}", "value": value}]


def work_rows(audit: Audit) -> list[dict[str, Any]]:
    """What one inference costs: "firing_rate", "synops", "macs" and "energy_nj", where they were counted."""
    if audit.work is None:
        return []
    return [{"attack": "", "metric": metric, "value": value} for metric, value in audit.work._asdict().items()]


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
