"""How well an attack tells members from non-members.

What is public, beside what stands here: intervals of scores and the replicates behind them in `bootstrap`; which of two
attacks is better in `comparisons`; which examples are exposed in `exposure`.
"""

from jaxsnn_mia.metrics.bootstrap import crossed_auc, crossed_tpr, delong
from jaxsnn_mia.metrics.roc_curve import Roc, auc, balanced_accuracy, deployed, ppv, roc, tpr_at_fpr

__all__ = [
    "Roc", "auc", "balanced_accuracy", "crossed_auc", "crossed_tpr", "delong", "deployed", "ppv", "roc", "tpr_at_fpr",
]  # fmt: skip
