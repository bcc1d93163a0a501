"""The audit of models by their outputs: what can be attacked, the scores, the report."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxsnn_mia import attacks
from jaxsnn_mia.audit import records
from jaxsnn_mia.audit.able import AGAINST, Attackable, able, attackable, check_names, lacks, partners
from jaxsnn_mia.audit.models import Models, understood
from jaxsnn_mia.report import page, tables
from jaxsnn_mia.report.audited import Audit, array_sha256
from jaxsnn_mia.report.rows import compute_metrics
from jaxsnn_mia.settings import Metrics, as_dict
from jaxsnn_mia.store.files import write_npz, write_text
from jaxsnn_mia.store.workdir import check_config, lock, write_config

TITLE = "Membership-inference audit"
LEFT_OUT = "left out with a target"
HOW = "left_out.txt"
FOLLOW = ("attacks", "metrics", "title")  # may differ in a second audit of the same arrays in the same workdir


class Asked(NamedTuple):
    """What an audit is about, checked: models that are understood, with their examples left out as `part` says."""

    models: Models
    keep_sn: np.ndarray
    targets: Models | None
    member_kn: np.ndarray | None
    part: Attackable
    partner_s: np.ndarray | None

    @property
    def own(self) -> Models:
        """The models that are attacked."""
        return self.models if self.targets is None else self.targets

    @property
    def member(self) -> np.ndarray:
        """bool [S or K, N]: what they trained on."""
        return self.keep_sn if self.member_kn is None else self.member_kn

    @property
    def left_out(self) -> str:
        return how_left_out(self.partner_s, self.targets is not None)


def run(
    models: Models, keep_sn: np.ndarray, workdir: Path, *, targets: Models | None = None,
    member_kn: np.ndarray | None = None, names: tuple[str, ...] | None = None, settings: Metrics | None = None,
    title: str = TITLE, ids: np.ndarray | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Audits models by their outputs and writes config.json, results.csv, records.csv, scores.npz, summary.json and
    report.html to `workdir`.

    Args:
      models: what S models say of N examples; one model alone as [N, C], with keep [N].
      keep_sn: bool [S, N], who trained on what. Rows 2k and 2k + 1 that are complementary are taken for pairs;
        otherwise one random model of the other side is left out with each target and example. Examples of which there
        are too few models are left out, and the report counts them.
      workdir: a folder; another audit in it is not overwritten.
      targets, member_kn: K separate targets and who of the examples they trained on, bool [K, N]. All S models are then
        references and nothing is left out. None: every model is a target once.
      names: of the attacks; None: all that the arrays are enough for, and the report names the others of the default
        set with the reason. Where most examples have no IN models (of a single target, say, whose references trained on
        other data), the offline ones; without enough references, those of the target alone.
      settings: rates, intervals, seed.
      title: of the report.
      ids: [N], the owner's names of the examples, in records.csv and on the page; None: their numbers.

    Returns:
      The rows of results.csv.

    Raises:
      ValueError: outputs that can be read in two ways (`outputs.kind_of`), shapes that do not fit, labels out of range,
        values that are not finite, keep not boolean, unknown attacks, attacks that the arrays are not enough for, and
        what an attack refuses.
      StoreError: a workdir of other arrays or of a run, or one that another process holds.
    """
    from jaxsnn_mia.config.fields import check_fields

    settings = settings or Metrics()
    check_fields(settings, "metrics")
    if names is not None:
        check_names(names)
        names = tuple(dict.fromkeys(attacks.ALIASES.get(name, name) for name in names))
    if np.ndim(keep_sn) == 1 and targets is None:
        keep_sn, models = keep_sn[None], one_model(models)
    asked, ids = check(models, keep_sn, targets, member_kn, ids)
    about = described(asked, settings, title, ids)
    with lock(workdir):
        check_config(workdir, about, FOLLOW)
        scores_of, skipped = all_scores(asked, names)
        about["attacks"] = list(scores_of)
        audit = as_audit(asked, scores_of, settings)
        write_config(workdir, about)
        write_npz(workdir / "scores.npz", {**scores_of, "member": asked.member, "example": np.flatnonzero(
            asked.part.examples_n)})  # fmt: skip
        compute_metrics(workdir / "metrics", audit)
        of_examples = records.write(workdir, audit, ids[asked.part.examples_n])
        how = asked.part.in_words(asked.left_out, skipped)
        write_text(workdir / HOW, how)
        page.write(
            about, workdir, {"audit": {"metrics": workdir / "metrics"}}, title=title, level=settings.level, how=how,
            records=of_examples,
        )  # fmt: skip
    return tables.read(workdir)


def how(workdir: Path) -> str:
    """What an audit left out, in words."""
    return (workdir / HOW).read_text()


def one_model(models: Models) -> Models:
    """One model's outputs [N, ...] as those of a list of one."""
    if models.population is not None:
        models = models._replace(population=models.population[None])
    return models._replace(outputs=models.outputs[None])


def check(
    models: Models, keep_sn: np.ndarray, targets: Models | None, member_kn: np.ndarray | None, ids: np.ndarray | None
) -> tuple[Asked, np.ndarray]:
    """What is asked, and a name for every example [N]; ValueError for what does not fit."""
    models = understood(models)
    check_members(models, keep_sn, "models")
    if (targets is None) != (member_kn is None):
        raise ValueError("separate targets need their membership, and the other way round: pass both or neither.")
    if targets is not None and member_kn is not None:
        targets = understood(targets._replace(kind=targets.kind or models.kind), "targets")
        check_members(targets, member_kn, "targets")
        if targets.outputs.shape[1:] != models.outputs.shape[1:] or targets.kind != models.kind:
            raise ValueError(
                f"targets: expected {models.kind} of shape [K, {', '.join(map(str, models.outputs.shape[1:]))}] as of "
                f"the models, got {targets.kind} {targets.outputs.shape}."
            )
        both = models.population is not None and targets.population is not None
        if not both:
            models, targets = models._replace(population=None), targets._replace(population=None)
    examples = models.outputs.shape[1]
    ids = np.arange(examples) if ids is None else np.asarray(ids)
    if ids.shape != (examples,):
        raise ValueError(
            f"ids: expected one of each of the {examples} examples, got shape {ids.shape}; a header counts too."
        )
    part = attackable(keep_sn, targets is not None)
    models, keep_sn = models.of(part.examples_n), keep_sn[:, part.examples_n]
    if targets is not None and member_kn is not None:
        targets, member_kn = targets.of(part.examples_n), member_kn[:, part.examples_n]
    return Asked(models, keep_sn, targets, member_kn, part, partners(keep_sn)), ids


def check_members(models: Models, member_mn: np.ndarray, name: str) -> None:
    expected = models.outputs.shape[:2]
    if member_mn.dtype != bool or member_mn.shape != expected:
        raise ValueError(f"{name}: membership must be boolean {expected}, got {member_mn.dtype} {member_mn.shape}.")


def described(asked: Asked, settings: Metrics, title: str, ids: np.ndarray) -> dict[str, Any]:
    """The config of the workdir: what was brought, with hashes, and how it is attacked."""
    own = {"models": asked.models, "targets": asked.targets}
    brought = {
        f"{name} {field}": [list(array.shape), array_sha256(array)]
        for name, models in own.items()
        if models is not None
        for field in ("outputs", "labels_n", "population", "population_labels")
        if (array := getattr(models, field)) is not None
    }
    return {
        "outputs": asked.models.kind, **brought,
        "keep": array_sha256(asked.keep_sn), "member": array_sha256(asked.member), "ids": array_sha256(ids.astype(str)),
        LEFT_OUT: asked.left_out, "examples left out": int((~asked.part.examples_n).sum()),
        "title": title, "metrics": as_dict(settings),
    }  # fmt: skip


def all_scores(asked: Asked, names: tuple[str, ...] | None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The scores of the named attacks; of None those that are possible, and the others with the reason. What was named
    and is not possible is an error."""
    separate, paired = asked.targets is not None, asked.partner_s is not None
    possible = able(asked.own, separate, asked.part, paired)
    lacking = {name: lacks(name, asked.own, separate, asked.part, paired) for name in names or ()}
    lacking = {name: why for name, why in lacking.items() if why}
    if lacking or not possible:
        said = "; ".join(f"{name}: {why}" for name, why in lacking.items()) or "no attack is possible"
        raise ValueError(f"these arrays are not enough. {said}. Possible: {', '.join(possible) or 'none'}.")
    if names is not None:
        return {name: scores(name, asked) for name in names}, {}
    skipped = {name: why for name in DEFAULT if (why := lacks(name, asked.own, separate, asked.part, paired))}
    scores_of = {}
    if asked.own.queries == 1:
        possible = tuple(name for name in possible if name != "lira_multivariate")  # of one query it is lira_pooled
    for name in possible:
        try:
            scores_of[name] = scores(name, asked)
        except ValueError as error:
            skipped[name] = str(error).rstrip(".")
    if not scores_of:
        raise ValueError(f"no attack is possible: {'; '.join(f'{name}: {why}' for name, why in skipped.items())}.")
    return scores_of, skipped


# attacks whose absence a reader would ask about
DEFAULT = ("loss", "lira", "lira_offline", "rmia", "rmia_tuned", "attack_p", "shokri", "gap")


def scores(name: str, asked: Asked) -> np.ndarray:
    """[S, N] of all models as targets, or [K, N] of separate targets against all models."""
    attack, models, targets = attacks.named(name), asked.models, asked.targets
    if "keep" not in attack.needs:
        return attack.fn(*map(asked.own.signal, attack.needs))
    given: dict[str, Any] = {"keep": asked.keep_sn, "labels": models.labels_n}
    arrays = [given[need] if need in given else models.signal(need) for need in attack.needs]
    if targets is None:
        return attack.fn(*arrays, partner_s=asked.partner_s)
    signal = attack.needs[0]
    needs = (signal, f"{signal}_population")
    options = {argument: targets.signal(need) for argument, need in zip(AGAINST[signal], needs, strict=False)}
    return attack.fn(*arrays, **options)


def as_audit(asked: Asked, scores_of: dict[str, np.ndarray], settings: Metrics) -> Audit:
    """What the metrics are computed from."""
    own, member = asked.own, asked.member
    in_pairs = asked.targets is None and asked.partner_s is not None
    return Audit(
        name="audit",
        labels={"dataset": "own", "family": "brought", "quantized": "", "bits": 32, "T": "", "seed": settings.seed},
        settings=settings,
        keep_sn=member,
        usable_s=np.ones(len(member), bool),
        pair_s=np.arange(len(member)) // (2 if in_pairs else 1),
        unit_n=np.arange(member.shape[1]),
        correct_sn=own.signal("correct")[:, :, 0] if "correct" in own.known else None,
        correct_test=None,
        confidence_sn=own.signal("phi").mean(2) if "phi" in own.known else None,
        data=array_sha256(own.outputs if own.labels_n is None else own.labels_n),
        scores=scores_of,
    )


def how_left_out(partner_s: np.ndarray | None, separate: bool) -> str:
    """In words, for the report and the command line."""
    if separate:
        return "nothing: the targets are no references"
    return (
        "its complementary model" if partner_s is not None else "one random model of the other side, for each example"
    )
