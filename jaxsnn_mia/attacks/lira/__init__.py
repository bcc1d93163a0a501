"""The likelihood-ratio attack, its variances and its variants."""

from jaxsnn_mia.attacks.lira.likelihood_ratio import score

__all__ = ["score"]
