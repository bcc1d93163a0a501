"""Differential privacy: lower bounds from attacks, accounting, and gradients that are private."""
