"""Differential privacy: what attacks prove at least, what training spends at most, and gradients that are private.

Public: the lower bounds that stand here; `accounting.plan`, `accounting.epsilon` and `accounting.noise_for`;
`dp_sgd.private_mean`.
"""

from jaxsnn_mia.privacy.lower_bounds import (
    canary_counts,
    epsilon_clopper_pearson,
    epsilon_gdp,
    epsilon_one_run,
    epsilon_one_run_fdp,
    gdp_epsilon,
    gdp_mu_lower,
    one_run_guesses,
)
from jaxsnn_mia.privacy.one_run import epsilon_band, epsilon_chosen

__all__ = [
    "canary_counts", "epsilon_band", "epsilon_chosen", "epsilon_clopper_pearson", "epsilon_gdp", "epsilon_one_run",
    "epsilon_one_run_fdp", "gdp_epsilon", "gdp_mu_lower", "one_run_guesses",
]  # fmt: skip
