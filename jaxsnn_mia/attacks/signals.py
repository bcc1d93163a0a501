"""What an attack sees of a model's logits: `jaxsnn_mia.signals.from_logits`, for those who attack arrays."""

from jaxsnn_mia.signals.from_logits import (
    KINDS,
    entropy,
    log_confidence,
    log_probabilities,
    logit_confidence,
    modified_entropy,
)

__all__ = ["KINDS", "entropy", "log_confidence", "log_probabilities", "logit_confidence", "modified_entropy"]
