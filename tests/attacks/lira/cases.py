"""The cases that every variance and every way of comparing is tested on."""

import numpy as np

from jaxsnn_mia.attacks.lira import variance as spread
from tests.attacks import planted

KEEP = planted.pairs(12, 30)
PHI = planted.phi(KEEP, A=2, leak=1.0)
PARTNERS = np.arange(12) ^ 1
SETTINGS = planted.settings()
MEDIAN = {"location": "median", "sigma_floor": 1e-9}
EVERY = [{"variance": variance} for variance in spread.VARIANCES] + [MEDIAN]


def given(name, A=2):
    """(setting, phi with NaN where a shadow has diverged, separate targets or None)."""
    setting = SETTINGS[name]
    phi = planted.uneven(setting.keep, A=A, differ=0.8, inside=0.6)
    targets = planted.uneven(setting.keep, A=A, seed=9)[:3] if setting.partner_sn is None else None
    return setting, setting.diverged(phi), targets
