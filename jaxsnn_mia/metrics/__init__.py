"""How well an attack tells members from non-members, with intervals and comparisons."""

from jaxsnn_mia.metrics.roc_curve import Roc, auc, balanced_accuracy, deployed, ppv, roc, tpr_at_fpr

__all__ = ["Roc", "auc", "balanced_accuracy", "deployed", "ppv", "roc", "tpr_at_fpr"]
