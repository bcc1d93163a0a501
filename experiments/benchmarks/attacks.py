"""The attack evaluator: 256 targets x 50,000 examples, every target against the other shadows.

    python -m experiments.benchmarks.attacks

Seconds of online LiRA with AUC and TPR at two FPRs, beside the steps of the released evaluator of Carlini et al. (lists
of confidences for each example, medians, scipy's log density, scikit-learn's ROC curve), which takes one target at a
time: measured on one target, times 256. Then every population and reference attack with point metrics, and LiRA over 18
queries from a memory map. Each row runs in a process of its own, for its peak memory; a first call compiles.

Prediction, written before the first run: moments in float64 read and write each value a few times in cache, so online
LiRA takes 1 to 2 s and its metrics .7 s, 100 times less than the released evaluator; 18 queries take 18 times as long
in the memory of one block. Prediction of 2026-11-27, for the hierarchical law: the moments are read once more and 16
hinges are summed for each example, so twice the time. Writes results/attacks.json and .md.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))

import numpy as np

from experiments.benchmarks.machine import processor

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[2]
S, N, Z, QUERIES = 256, 50_000, 5_000, 18
FPRS = (0.001, 0.01)
CHEAP = (
    "loss", "confidence", "entropy", "modified_entropy", "gap", "attack_p", "lira", "lira_offline", "rmia",
    "attack_r", "watson", "sablayrolles",
)  # fmt: skip


def pairs(n):
    rng = np.random.default_rng(0)
    keep = np.zeros((S, n), bool)
    for k in range(S // 2):
        keep[2 * k, rng.permutation(n)[: n // 2]] = True
        keep[2 * k + 1] = ~keep[2 * k]
    return keep


def confidences(n, keep=None, queries=1, seed=1):
    rng = np.random.default_rng(seed)
    offset = 2 + 2 * rng.normal(size=(1, n, 1)).astype(np.float32)
    phi = offset + rng.standard_normal((S, n, queries), np.float32)
    return phi if keep is None else phi + 0.5 * keep[..., None].astype(np.float32)


def seconds(call, repeats):
    """(first call, median of the others)"""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times[0], statistics.median(times[1:])


def point_metrics(scores, keep):
    from jaxsnn_mia import metrics
    from jaxsnn_mia.metrics.roc_curve import tprs_at_fprs

    return metrics.auc(scores, keep), tprs_at_fprs(scores, keep, FPRS)


def online(repeats):
    from jaxsnn_mia.attacks import lira

    keep = pairs(N)
    phi, partner = confidences(N, keep), np.arange(S) ^ 1
    return seconds(lambda: point_metrics(lira.score(phi, keep, partner_s=partner), keep), repeats)


def released(repeats):
    """One target with the others as references, as the released evaluator goes about it."""
    from scipy.stats import norm
    from sklearn.metrics import auc, roc_curve

    keep = pairs(N)
    phi = confidences(N, keep)

    def one_target():
        inside = [phi[1:, n][keep[1:, n]] for n in range(N)]
        outside = [phi[1:, n][~keep[1:, n]] for n in range(N)]
        few_in, few_out = min(map(len, inside)), min(map(len, outside))
        inside = np.array([values[:few_in] for values in inside])
        outside = np.array([values[:few_out] for values in outside])
        logs = [norm.logpdf(phi[0], np.median(side, 1), np.std(side, 1) + 1e-30).mean(1) for side in (inside, outside)]
        fpr, tpr, _ = roc_curve(keep[0], logs[0] - logs[1])
        return auc(fpr, tpr), [tpr[np.where(fpr < limit)[0][-1]] for limit in FPRS]

    return seconds(one_target, repeats)


def every(repeats):
    from jaxsnn_mia import attacks, metrics

    keep, partner = pairs(N), np.arange(S) ^ 1
    phi, phi_z = confidences(N, keep), confidences(Z, seed=3)
    logp = -np.logaddexp(0, -phi)
    given = {
        "phi": phi, "logp": logp, "keep": keep, "phi_population": phi_z, "logp_population": -np.logaddexp(0, -phi_z),
        "entropy": -logp, "modified_entropy": -logp, "correct": (phi > 0).astype(np.uint8),
    }  # fmt: skip

    def run():
        with ThreadPoolExecutor(2) as pool:  # metrics of one attack beside the next, as in jaxsnn_mia/report/rows.py
            jobs = []
            for name in CHEAP:
                attack = attacks.ATTACKS[name]
                options = {"partner_s": partner} if "keep" in attack.needs else {}
                scores = attack.fn(*[given[need] for need in attack.needs], **options)
                jobs += [pool.submit(of, scores, keep) for of in (point_metrics, metrics.balanced_accuracy)]
            for job in jobs:
                job.result()

    return seconds(run, repeats)


def streamed(repeats):
    from jaxsnn_mia.attacks import lira

    keep, partner = pairs(N), np.arange(S) ^ 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "phi.npy"
        phi = np.lib.format.open_memmap(path, "w+", np.float32, (S, N, QUERIES))
        for q in range(QUERIES):
            phi[:, :, q : q + 1] = confidences(N, keep, seed=q + 1)
        phi.flush()
        del phi
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        phi = np.load(path, mmap_mode="r")
        first, then = seconds(lambda: point_metrics(lira.score(phi, keep, partner_s=partner), keep), repeats)
    return first, then, before


ROWS = {
    "online LiRA, AUC, TPR at two FPRs": (online, 3),
    "one target as the released evaluator takes it": (released, 3),
    f"{len(CHEAP)} attacks with point metrics": (every, 1),
    f"online LiRA over {QUERIES} queries, from disk": (streamed, 1),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--row", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        measure, repeats = ROWS[args.row]
        first, then, *_ = measure(repeats)
        peak = anonymous_peak()
        print(json.dumps({"first_s": first, "s": then, "peak_mb": peak}))
        return
    rows = {}
    for row in ROWS:
        command = [sys.executable, "-m", "experiments.benchmarks.attacks", f"--row={row}"]
        out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        rows[row] = json.loads(out.stdout.splitlines()[-1])
        print(row, rows[row], flush=True)
    about = {
        "device": f"{processor()}, {os.cpu_count()} cores", "date": time.strftime("%Y-%m-%d"), "rows": rows,
        "versions": {name: version(name) for name in ("jax", "numpy", "scipy", "scikit-learn")},
    }  # fmt: skip
    (RESULTS / "attacks.json").write_text(json.dumps(about, indent=1) + "\n")
    (RESULTS / "attacks.md").write_text(as_table(about))
    print(as_table(about))


def anonymous_peak():
    """Peak resident MB of this process, pages of mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def as_table(about):
    ours, theirs = (about["rows"][row]["s"] for row in list(ROWS)[:2])
    lines = [
        f"{S} targets, {N:,} examples; {about['device']}, {about['date']}; "
        + ", ".join(f"{name} {v}" for name, v in about["versions"].items()) + ".",
        "", "| what | first call, s | then, s | peak MB |", "|---|---|---|---|",
    ]  # fmt: skip
    for row, r in about["rows"].items():
        lines.append(f"| {row} | {r['first_s']:.2f} | {r['s']:.2f} | {r['peak_mb']:.0f} |")
    lines += [
        "",
        f"All {S} targets at once: {S * theirs / ours:.0f} times faster than one after the other as released.",
        f"The {len(CHEAP)} attacks: {', '.join(CHEAP)}. Peak memory counts pages of the mapped file.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
