"""An auditor with one model, and references that others trained without the audited examples.

    python -m experiments.examples.one_target --workdir=runs/one_target

No reference has seen an example, so offline attacks run and the report says which attacks are left out.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from jaxsnn_mia import audit
from jaxsnn_mia.report import console, tables
from jaxsnn_mia.settings import Metrics

REFERENCES = 8


def main(workdir: Path) -> dict[str, float]:
    """The AUC of each attack."""
    x, y = load_digits(return_X_y=True)
    audited, elsewhere = slice(0, 700), np.arange(700, len(y))
    rng = np.random.default_rng(0)
    member = rng.random(700) < 0.5
    target = RandomForestClassifier(10, random_state=0).fit(x[audited][member], y[audited][member])
    halves = [rng.permutation(elsewhere)[: len(elsewhere) // 2] for _ in range(REFERENCES)]
    forests = [RandomForestClassifier(10, random_state=1 + s).fit(x[half], y[half]) for s, half in enumerate(halves)]
    answers = np.stack([forest.predict_proba(x[audited]) for forest in forests])
    rows = audit.run(
        audit.Models(answers, y[audited], kind="probabilities"), np.zeros((REFERENCES, 700), bool), workdir,
        targets=audit.Models(target.predict_proba(x[audited])[None], y[audited], kind="probabilities"),
        member_kn=member[None], settings=Metrics(replicates_auc=100, replicates_tpr=50),
    )  # fmt: skip
    print(audit.how(workdir))
    print(console.for_console(tables.table(rows)))
    return {row["attack"]: row["value"] for row in rows if row["metric"] == "auc"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    main(parser.parse_args().workdir)
