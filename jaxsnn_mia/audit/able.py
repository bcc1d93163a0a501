"""Which examples can be attacked, and by which attacks."""

import difflib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxsnn_mia import attacks
from jaxsnn_mia.attacks import references
from jaxsnn_mia.audit.models import Models

# attacks that can hold separate targets against references, by the argument that takes their signal
AGAINST = {"phi": ("target_phi_kna",), "logp": ("target_logp_kna", "target_logp_kza"),
           "logp_t2": ("target_logp_kna", "target_logp_kza")}  # fmt: skip
IN_PAIRS = ("rmia_tuned",)  # tuned on the pairs of other targets


def partners(keep_sn: np.ndarray) -> np.ndarray | None:
    """partner_s where rows 2k and 2k + 1 are complementary, else None."""
    other = np.arange(len(keep_sn)) ^ 1
    return other if len(keep_sn) % 2 == 0 and (keep_sn[other] == ~keep_sn).all() else None


class Attackable(NamedTuple):
    """The examples that are attacked, bool [N]; whether they have IN models, else offline attacks alone run; whether
    they have OUT models, else attacks run that need no reference."""

    examples_n: np.ndarray
    inside: bool
    outside: bool = True

    def in_words(self, left_out: str, skipped: dict[str, str] | None = None) -> str:
        """What is left out, for the report and the command line. left_out: with a target; skipped: attacks and why."""
        words = f"Left out with a target: {left_out}."
        if not self.examples_n.all():
            count, sides = (~self.examples_n).sum(), "IN or OUT" if self.inside else "OUT"
            words += f" Left out of the audit: {count} of {len(self.examples_n)} examples, of which there are too few "
            words += f"{sides} models."
        if not self.outside:
            words += " There are too few reference models, so attacks that need any are left out."
        elif not self.inside:
            words += " Most examples have no IN models, so attacks that need any are left out; offline attacks run."
        if skipped:
            words += f" Attacks left out: {'; '.join(f'{name}, {why}' for name, why in skipped.items())}."
        return words


def attackable(keep_sn: np.ndarray, separate: bool) -> Attackable:
    """The examples with enough IN and OUT models. Where these are less than half of those with enough OUT models, the
    latter, for offline attacks. Where there are none of these, all, for attacks without references."""
    inside_n, outside_n = references.counts(keep_sn, np.ones(len(keep_sn), bool))
    enough = []
    for inside in (True, False):
        least_in, least_out = references.fewest(inside, separate)
        enough.append((inside_n >= least_in) & (outside_n >= least_out))
    both_n, out_n = enough
    if not out_n.any():
        return Attackable(np.ones(keep_sn.shape[1], bool), False, False)
    return Attackable(out_n, False) if 2 * both_n.sum() < out_n.sum() else Attackable(both_n, True)


def able(models: Models, separate: bool, part: Attackable, paired: bool = True) -> tuple[str, ...]:
    """The attacks that these arrays are enough for; paired: whether the models are complementary pairs."""
    return tuple(name for name in attacks.ATTACKS if not lacks(name, models, separate, part, paired))


def lacks(name: str, models: Models, separate: bool, part: Attackable, paired: bool) -> str:
    """What an attack needs and these arrays lack, in words; "" where they are enough."""
    attack = attacks.named(name)
    known = {*models.known, "keep", *(() if models.labels_n is None or separate else ("labels",))}
    missing = sorted(set(attack.needs) - known)
    if separate and name in attacks.LEARNED:
        return "it learns from the models that it attacks, and these targets are separate"
    if any(need.endswith("_population") for need in missing) and models.population is None:
        of = "--population_logits and --population_labels"
        return f"it needs examples that no model trained on: pass {of}{', of the targets too' if separate else ''}"
    if missing:
        return f"it needs {', '.join(missing)}, which {models.kind} do not give"
    if "keep" in attack.needs and not part.outside:
        return "it needs reference models"
    if "keep" in attack.needs and attack.inside and not part.inside:
        return "it needs models that trained on the examples"
    if "keep" in attack.needs and not separate and len(models.outputs) < attack.fewest:
        return f"it needs at least {attack.fewest} models"
    if name in IN_PAIRS and not (paired or separate):
        return "it needs complementary pairs of models"
    return ""


def check_names(names: Sequence[str]) -> None:
    """ValueError for an unknown attack, with the nearest known one, and for none."""
    if not names:
        raise ValueError("at least one attack is needed. Leave the names out for all that the arrays are enough for.")
    for name in names:
        near = difflib.get_close_matches(name, attacks.ATTACKS, 1)
        if name not in attacks.ATTACKS and ":" not in name and near:
            raise ValueError(f'unknown attack {name!r}; did you mean "{near[0]}"?')
        attacks.named(name)
