"""Measured times and memory beside other libraries; each writes its table to results/."""
