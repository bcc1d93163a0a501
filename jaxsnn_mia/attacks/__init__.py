"""Membership-inference attacks: arrays in, scores out, all S targets at once, higher = more likely a member."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from jaxsnn_mia.attacks import lira, population, rmia, signals


class Attack(NamedTuple):
    """fn(*arrays named by `needs`, valid_s=...) -> scores [S, N]. "phi" and "logp" are candidates' signals
    [S, N, A], "logp_population" is [S, Z, A], "keep" is bool [S, N] and comes with partner_s."""

    fn: Callable
    needs: tuple[str, ...]


ATTACKS: dict[str, Attack] = {
    "loss": Attack(population.loss, ("phi",)),
    "lira": Attack(lira.score, ("phi", "keep")),
    "lira_offline": Attack(partial(lira.score, mode="offline"), ("phi", "keep")),
    "rmia": Attack(rmia.score, ("logp", "keep", "logp_population")),
    "rmia_online": Attack(partial(rmia.score, mode="online"), ("logp", "keep", "logp_population")),
}

__all__ = ["ATTACKS", "Attack", "lira", "population", "rmia", "signals"]
