"""Threats beyond membership: what of the training data can be rebuilt from a model or its answers."""
