"""An auditor with models of another framework: logits [S, N, C] of models that each trained on a random half.

    python -m experiments.examples.torch_like_logits --workdir=runs/torch_like

The halves are no complementary pairs, so one random model of the other side is left out with each target and example.
The records are called by the owner's ids. Here boosted trees of scikit-learn stand for the models.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier

from jaxsnn_mia import audit
from jaxsnn_mia.report import console, tables
from jaxsnn_mia.settings import Metrics

MODELS = 16


def main(workdir: Path) -> dict[str, float]:
    """The AUC of each attack."""
    x, y = load_breast_cancer(return_X_y=True)
    keep = np.random.default_rng(0).random((MODELS, len(y))) < 0.5
    margins = [GradientBoostingClassifier(n_estimators=30).fit(x[k], y[k]).decision_function(x) for k in keep]
    logits = np.stack([np.zeros((MODELS, len(y))), np.stack(margins)], -1)
    ids = np.array([f"patient {n:04d}" for n in range(len(y))])
    rows = audit.run(
        audit.Models(logits, y, kind="logits"), keep, workdir, names=("loss", "lira", "lira_offline"), ids=ids,
        settings=Metrics(replicates_auc=100, replicates_tpr=50), title="A clinic's classifiers",
    )  # fmt: skip
    print(audit.how(workdir))
    print(console.for_console(tables.table(rows)))
    return {row["attack"]: row["value"] for row in rows if row["metric"] == "auc"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    main(parser.parse_args().workdir)
