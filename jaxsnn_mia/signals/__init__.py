"""Signals: what an attack sees of one model on each example. `SIGNALS[name]` is fn(apply, params, x, y, hyper, key).

`from_logits` has the formulas; `queries` the signals that ask the model several times, or look inside it; `views` the
shifted and mirrored images; `defences` changes the answers; `catalogue` names all signals and computes them together.
"""

from jaxsnn_mia.signals.catalogue import SIGNALS

__all__ = ["SIGNALS"]
