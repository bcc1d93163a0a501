"""An audit of models trained elsewhere, in any framework: their logits or losses in, the same report out."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxsnn_mia import attacks
from jaxsnn_mia.attacks import references
from jaxsnn_mia.report import page, tables
from jaxsnn_mia.report.audited import Audit, array_sha256
from jaxsnn_mia.report.rows import compute_metrics
from jaxsnn_mia.settings import Metrics, as_dict
from jaxsnn_mia.signals import from_logits
from jaxsnn_mia.store.workdir import write_config

LEFT_OUT = "left out with a target"
LOSSES = ("phi", "logp")  # the signals that a loss gives
LOGITS = (*LOSSES, "logp_t2", "entropy", "modified_entropy", "correct", "logits")
# attacks that can hold separate targets against references, by the argument that takes their signal
AGAINST = {"phi": ("target_phi_kna",), "logp": ("target_logp_kna", "target_logp_kza"),
           "logp_t2": ("target_logp_kna", "target_logp_kza")}  # fmt: skip


class Models(NamedTuple):
    """What models say of examples: logits [M, N, C] or [M, N, A, C], or losses [M, N]; labels int [N], None for losses;
    and the same of population examples, which are in no training set, or None."""

    outputs: np.ndarray
    labels_n: np.ndarray | None
    population: np.ndarray | None = None
    population_labels: np.ndarray | None = None

    @property
    def known(self) -> tuple[str, ...]:
        of = LOSSES if self.outputs.ndim == 2 else LOGITS
        return of if self.population is None else (*of, *(f"{name}_population" for name in of))

    def signal(self, name: str) -> np.ndarray:
        """A signal [M, N, A, ...] by the names of `attacks.Attack`."""
        if name.endswith("_population"):
            assert self.population is not None
            return Models(self.population, self.population_labels).signal(name.removesuffix("_population"))
        if self.outputs.ndim == 2:
            loss = np.maximum(np.asarray(self.outputs, np.float64), 1e-12)
            value = -loss if name == "logp" else -loss - np.log(-np.expm1(-loss))
            return value[..., None].astype(np.float32)
        rows = (self.outputs[m] for m in range(len(self.outputs)))  # one model at a time: it may be a memory map
        return np.stack([of_logits(name, queries(row), self.labels_n) for row in rows])

    def of(self, examples_n: np.ndarray) -> "Models":
        """What they say of these examples, bool [N]."""
        if examples_n.all():
            return self
        labels_n = None if self.labels_n is None else self.labels_n[examples_n]
        return self._replace(outputs=self.outputs[:, examples_n], labels_n=labels_n)


def queries(logits: np.ndarray) -> np.ndarray:
    """[N, A, C] float32."""
    logits = np.asarray(logits, np.float32)
    return logits if logits.ndim == 3 else logits[:, None]


def of_logits(name: str, logits_nac: np.ndarray, labels_n) -> np.ndarray:
    if name == "logits":
        return logits_nac
    if name == "correct":
        return (logits_nac.argmax(-1) == labels_n[:, None]).astype(np.uint8)
    if name == "entropy":
        return np.asarray(from_logits.entropy(logits_nac))
    of: dict[str, Callable] = {
        "phi": from_logits.logit_confidence,
        "logp": from_logits.log_confidence,
        "logp_t2": partial(from_logits.log_confidence, temperature=2.0),
        "modified_entropy": from_logits.modified_entropy,
    }
    return np.asarray(of[name](logits_nac, labels_n))


def check(models: Models, name: str, member_mn: np.ndarray | None = None) -> None:
    """ValueError for shapes that do not fit, labels out of range, values that are not finite, or a `member_mn` (keep,
    or the membership of separate targets) that is not boolean."""
    for what, outputs, labels_n in (
        (name, models.outputs, models.labels_n), (f"{name}, population", models.population, models.population_labels)
    ):  # fmt: skip
        if outputs is None:
            continue
        if outputs.ndim not in (2, 3, 4):
            raise ValueError(
                f"{what}: expected logits [S, N, C] or [S, N, A, C], or losses [S, N], got shape {outputs.shape}."
            )
        if not all(np.isfinite(row).all() for row in outputs):
            raise ValueError(f"{what}: NaN or infinite values. Leave diverged models and their partners out.")
        if outputs.ndim == 2:
            if (np.asarray(outputs) < 0).any():
                raise ValueError(f"{what}: losses are at least 0, got {np.min(outputs)}. Logits are [S, N, C].")
            continue
        classes = outputs.shape[-1]
        if labels_n is None or labels_n.shape != outputs.shape[1:2] or not np.issubdtype(labels_n.dtype, np.integer):
            got = "none" if labels_n is None else f"{labels_n.dtype} {labels_n.shape}"
            raise ValueError(f"{what}: labels must be integers [{outputs.shape[1]}], got {got}.")
        if labels_n.min() < 0 or labels_n.max() >= classes:
            raise ValueError(f"{what}: labels must be in [0, {classes - 1}], got {labels_n.min()} to {labels_n.max()}.")
    if member_mn is not None and (member_mn.dtype != bool or member_mn.shape != models.outputs.shape[:2]):
        raise ValueError(
            f"{name}: membership must be boolean {models.outputs.shape[:2]}, got {member_mn.dtype} {member_mn.shape}."
        )


def partners(keep_sn: np.ndarray) -> np.ndarray | None:
    """partner_s where rows 2k and 2k + 1 are complementary, else None."""
    other = np.arange(len(keep_sn)) ^ 1
    return other if len(keep_sn) % 2 == 0 and (keep_sn[other] == ~keep_sn).all() else None


class Attackable(NamedTuple):
    """The examples that are attacked, bool [N], and whether they have IN models; if not, offline attacks alone run."""

    examples_n: np.ndarray
    inside: bool

    def in_words(self, partner_s: np.ndarray | None, targets: Models | None) -> str:
        """What is left out, for the report and the command line."""
        words = f"Left out with a target: {how_left_out(partner_s, targets)}."
        if not self.examples_n.all():
            left_out, sides = (~self.examples_n).sum(), "IN or OUT" if self.inside else "OUT"
            words += (
                f" Left out of the audit: {left_out} of {len(self.examples_n)} examples, of which there are too few "
            )
            words += f"{sides} models."
        if not self.inside:
            words += " Most examples have no IN models, so attacks that need any are left out; offline attacks run."
        return words


def attackable(keep_sn: np.ndarray, separate: bool) -> Attackable:
    """The examples with enough IN and OUT models. Where these are less than half of those with enough OUT models, the
    latter, for offline attacks. ValueError where there are none."""
    inside_n, outside_n = references.counts(keep_sn, np.ones(len(keep_sn), bool))
    enough = []
    for inside in (True, False):
        least_in, least_out = references.fewest(inside, separate)
        enough.append((inside_n >= least_in) & (outside_n >= least_out))
    both_n, out_n = enough
    if not out_n.any():
        raise ValueError(
            f"no example has {least_out} OUT models{'' if separate else ' and an IN model'}; the most that one has is "
            f"{outside_n.max()}. Bring more models."
        )
    return Attackable(out_n, False) if 2 * both_n.sum() < out_n.sum() else Attackable(both_n, True)


def able(models: Models, separate: bool, inside: bool = True) -> tuple[str, ...]:
    """The attacks that these arrays are enough for. inside: whether there are IN models of every example."""
    known = {*models.known, "keep", *(() if models.labels_n is None or separate else ("labels",))}
    names = [name for name, attack in attacks.ATTACKS.items() if set(attack.needs) <= known]
    if not inside:
        names = [
            name for name in names if "keep" not in attacks.ATTACKS[name].needs or not attacks.ATTACKS[name].inside
        ]
    return tuple(name for name in names if not (separate and name in attacks.LEARNED))


def scores(
    name: str, models: Models, keep_sn: np.ndarray, partner_s: np.ndarray | None, targets: Models | None
) -> np.ndarray:
    """[S, N] of all models as targets, or [K, N] of separate targets against all models."""
    attack = attacks.ATTACKS[name]
    if "keep" not in attack.needs:
        own = models if targets is None else targets
        return attack.fn(*map(own.signal, attack.needs))
    given: dict[str, Any] = {"keep": keep_sn, "labels": models.labels_n}
    arrays = [given[need] if need in given else models.signal(need) for need in attack.needs]
    if targets is None:
        return attack.fn(*arrays, partner_s=partner_s)
    signal = attack.needs[0]
    needs = (signal, f"{signal}_population")
    options = {argument: targets.signal(need) for argument, need in zip(AGAINST[signal], needs, strict=False)}
    return attack.fn(*arrays, **options)


def run(
    models: Models, keep_sn: np.ndarray, workdir: Path, *, targets: Models | None = None,
    member_kn: np.ndarray | None = None, names: tuple[str, ...] | None = None, settings: Metrics | None = None,
    title: str = "Membership-inference audit",
) -> list[dict[str, Any]]:  # fmt: skip
    """Audits models by their outputs and writes config.json, results.csv, summary.json and report.html to `workdir`.

    Args:
      models: what S models say of N examples.
      keep_sn: bool [S, N], who trained on what. Rows 2k and 2k + 1 that are complementary are taken for pairs;
        otherwise one random model of the other side is left out with each target and example. Examples of which there
        are too few models are left out, and the report counts them.
      workdir: a folder.
      targets, member_kn: K separate targets and who of the examples they trained on, bool [K, N]. All S models are then
        references and nothing is left out. None: every model is a target once.
      names: of the attacks; None: all that the arrays are enough for; where most examples have no IN models (of a
        single target, say, whose references trained on other data), the offline ones.
      settings: rates, intervals, seed.

    Returns:
      The rows of results.csv.

    Raises:
      ValueError: shapes that do not fit, labels out of range, values that are not finite, keep not boolean, attacks
        that the arrays are not enough for, and what an attack refuses.
    """
    settings = settings or Metrics()
    config_file = workdir / "config.json"
    if config_file.exists() and LEFT_OUT not in config_file.read_text():
        raise ValueError(f"{workdir} holds a run of another kind. Pass another workdir; nothing was overwritten.")
    check(models, "models", keep_sn)
    if (targets is None) != (member_kn is None):
        raise ValueError("separate targets need their membership, and the other way round: pass both or neither.")
    if targets is not None:
        check(targets, "targets", member_kn)
    part = attackable(keep_sn, targets is not None)
    models, keep_sn = models.of(part.examples_n), keep_sn[:, part.examples_n]
    if targets is not None and member_kn is not None:
        targets, member_kn = targets.of(part.examples_n), member_kn[:, part.examples_n]
    possible = able(models if targets is None or models.population is None or targets.population is not None
                    else models._replace(population=None), targets is not None, part.inside)  # fmt: skip
    lacking = sorted(set(names or ()) - set(possible))
    if lacking:
        raise ValueError(f"attacks {lacking} need more than these arrays; possible: {', '.join(possible)}.")
    partner_s = partners(keep_sn)
    member = keep_sn if member_kn is None else member_kn
    pairs = np.arange(len(member)) // (1 if targets is not None or partner_s is None else 2)
    own = models if targets is None else targets
    labels = {"dataset": "own", "family": "brought", "quantized": "", "bits": 32, "T": "", "seed": settings.seed}
    audit = Audit(
        name="audit",
        labels=labels,
        settings=settings,
        keep_sn=member,
        usable_s=np.ones(len(member), bool),
        pair_s=pairs,
        unit_n=np.arange(member.shape[1]),
        correct_sn=None if own.outputs.ndim == 2 else own.signal("correct")[:, :, 0],
        correct_test=None,
        confidence_sn=own.signal("phi").mean(2),
        data=array_sha256(own.outputs if own.labels_n is None else own.labels_n),
        scores={name: scores(name, models, keep_sn, partner_s, targets) for name in names or possible},
    )
    workdir.mkdir(parents=True, exist_ok=True)
    compute_metrics(workdir / "metrics", audit)
    about = {
        "models": list(models.outputs.shape), "targets": None if targets is None else list(targets.outputs.shape),
        LEFT_OUT: how_left_out(partner_s, targets), "attacks": list(audit.scores),
        "examples left out": int((~part.examples_n).sum()),
        "metrics": as_dict(settings),
    }  # fmt: skip
    write_config(workdir, about)
    how = part.in_words(partner_s, targets)
    page.write(about, workdir, {"audit": {"metrics": workdir / "metrics"}}, title=title, level=settings.level, how=how)
    return tables.read(workdir)


def how_left_out(partner_s: np.ndarray | None, targets: Models | None) -> str:
    """In words, for the report and the command line."""
    if targets is not None:
        return "nothing: the targets are no references"
    return (
        "its complementary model" if partner_s is not None else "one random model of the other side, for each example"
    )
