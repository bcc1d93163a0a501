"""The training stage: groups of shadows in chunks of epochs, each chunk a checkpoint, nothing trained twice.

Variants that differ in traced settings alone (bit widths, learning rate, ...) are members of one ensemble: their groups
are trained side by side along the model axis, by one program. Each member keeps its own stage folder.
"""

import functools
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from jaxsnn_mia.runtime import spmd, stopping, tracking
from jaxsnn_mia.settings import Config
from jaxsnn_mia.settings import Ensemble as EnsembleSettings
from jaxsnn_mia.store import checkpoint
from jaxsnn_mia.store.files import StoreError, digest, write_json, write_npz, write_text
from jaxsnn_mia.store.stage import MANIFEST
from jaxsnn_mia.training.claims import POLL_SECONDS, Claim, Share, claimed
from jaxsnn_mia.training.ensemble import Ensemble, make_ensemble
from jaxsnn_mia.training.epochs import Group, Shadows
from jaxsnn_mia.training.inputs import Inputs, group_length, group_of, repeat_last
from jaxsnn_mia.training.plan import fixed_width, group_plan, make_plan, not_bitwise, plan_of, used_devices
from jaxsnn_mia.training.probe import Cache, is_out_of_memory, largest_group


class Member(NamedTuple):
    """A variant in an ensemble: the folder of its training stage, its config and its work."""

    folder: Path
    config: Config
    work: Inputs

    @property
    def name(self) -> str:
        return self.folder.parent.name


class Job(NamedTuple):
    """An ensemble in training."""

    members: list[Member]
    plan: dict[str, Any]
    ensemble: Ensemble
    devices: list
    data: tuple  # of the work, on every device
    bar: tqdm
    writer: checkpoint.Writer

    @property
    def work(self) -> Inputs:
        """Of the first member: all have the same data, rows and program."""
        return self.members[0].work

    @property
    def settings(self) -> EnsembleSettings:
        return self.members[0].config.ensemble

    def paths(self, group: int) -> list[Path]:
        return [group_path(member.folder, group) for member in self.members]


def train_all(members: list[Member], share: Share) -> None:
    """Returns when every group of an ensemble is trained, here or by another process; the leader then writes
    history.npz and shadows.jsonl of every member.

    The members have one TrainSpec, one seed and the same rows of the same data.
    """
    used = used_devices(members[0].config)
    make = functools.cache(lambda: new_plan(members, used, share))
    plans = [plan_of(member.folder, share, make) for member in members]
    for plan in {digest(plan): plan for plan in plans}.values():  # one, unless a rerun brought others along
        alike = [member for member, own in zip(members, plans, strict=True) if own == plan]
        work = alike[0].work
        ensemble = make_ensemble(work.spec, seed=work.seed, width=plan["width"], devices=used)
        total = sum(group_length(work, plan, group) for group in range(plan["groups"]))
        for member in alike:
            tracking.tell("plan", variant=member.name, stage=member.folder.name, models=total, epochs=work.spec.epochs,
                          groups=plan["groups"])  # fmt: skip
        others = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        with (
            tqdm(
                total=total * len(alike) * work.spec.epochs, unit="epoch", leave=False,
                desc=f"train {alike[0].name}{others}", disable=not spmd.is_first(),
            ) as bar,
            checkpoint.Writer(alike[0].config.ensemble.asynchronous) as writer,
        ):  # fmt: skip
            train_groups(Job(alike, plan, ensemble, used, ensemble.place(work.data), bar, writer))
        if not share.rank:
            for member in alike:
                gather(member, plan, ensemble, len(used))


def new_plan(members: list[Member], used: list, share: Share) -> dict[str, Any]:
    """The plan of an ensemble on the devices `used`: groups that fit in memory, and the width that the
    config names or a probe finds."""
    c, works = members[0].config, [member.work for member in members]
    fits = largest_group(works[0].spec, used)
    groups = group_plan(c, share.world, len(members), fits)
    width = fixed_width(c)
    if width is None:
        most = -(-len(members) * groups["group_size"] // len(used))
        width = Cache(members[0].folder.parent.parent).get(works, None, jax.local_devices(), most).width
    plan = make_plan(groups, width)
    variants = f"{len(members)} variants" if len(members) > 1 else members[0].name
    logging.info(
        "plan of %s: %d %s device(s) x width %d, %d group(s) of %d shadows",
        variants, len(used), used[0].device_kind, width, groups["groups"], groups["group_size"],
    )  # fmt: skip
    return plan


def train_groups(job: Job) -> None:
    """Claims and trains groups until all are trained; waits for those that another process holds."""
    left = list(range(job.plan["groups"]))
    while left:
        before = len(left)
        for group in list(left):
            spmd.check_stop()
            wanted = [path.with_suffix(".claim") for path in job.paths(group)] if spmd.is_first() else []
            with claimed(wanted) as claims:
                held = spmd.of_first(bool(claims))
                if not held:
                    continue
                if not spmd.of_first(all(is_trained(path, job.work) for path in job.paths(group))):
                    job = train_group(job, group, claims)
                else:  # earlier, or by another process
                    begin(job, group, [job.work.spec.epochs] * len(job.members))
                left.remove(group)
        if len(left) == before:
            time.sleep(POLL_SECONDS)


def begin(job: Job, group: int, done: list[int]) -> None:
    """Says from where a claimed group goes on: its epochs of each member that are `done`."""
    length = group_length(job.work, job.plan, group)
    job.bar.update(sum(done) * length)
    if 0 < sum(done) < job.work.spec.epochs * len(done):
        logging.info("group %d of %s goes on after epoch %d", group, job.members[0].name, min(done))
    for member, epoch in zip(job.members, done, strict=True) if spmd.is_first() else ():
        tracking.tell("group", variant=member.name, group=group, shadows=length, epoch=epoch)


def gather(member: Member, plan: dict[str, Any], ensemble: Ensemble, n_devices: int) -> None:
    """Writes what became of a member's shadows."""
    histories, finite, epochs = [], [], []
    for group in range(plan["groups"]):
        trained = load_group(member.folder, member.work, ensemble, plan, group, n_devices)[0]
        histories.append(trained.history)
        finite.append(all_finite(trained.state.params))
        epochs.append(trained.epochs)
    write_history(member.folder, *map(np.concatenate, (histories, finite, epochs)))


def group_path(folder: Path, group: int) -> Path:
    return folder / f"group-{group:05d}"


def is_trained(path: Path, work: Inputs) -> bool:
    """Whether the group's final checkpoint is there and whole."""
    return checkpoint.is_whole(checkpoint.step_path(path, work.spec.epochs))


def train_group(job: Job, group: int, claims: list[Claim]) -> Job:
    """Trains one group of every member from its last whole checkpoint to the end: those that are behind together,
    until they have caught up with the next. Returns the job, narrower where it did not fit in memory."""
    epochs = job.work.spec.epochs
    done = latest(job, group)
    begin(job, group, done)
    while (first := min(done)) < epochs:
        last = min((d for d in done if d > first), default=epochs)
        behind = [member for member, d in zip(job.members, done, strict=True) if d == first]
        try:
            train_epochs(job._replace(members=behind), group, first, last, claims)
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error) or job.plan["width"] == 1:
                raise
            job = narrower(job)
        done = latest(job, group)
    return job


def latest(job: Job, group: int) -> list[int]:
    """The epochs that each member's last whole checkpoint has."""
    return [int(spmd.of_first(checkpoint.latest(path) or 0)) for path in job.paths(group)]


def narrower(job: Job) -> Job:
    """The job with half of the width, recorded in its plan."""
    width = job.plan["width"] // 2
    logging.warning("out of memory at width %d: going on with %d", job.plan["width"], width)
    plan = not_bitwise({**job.plan, "width": width}, {"width": job.plan["width"]})
    for member in job.members if spmd.is_first() else ():
        write_json(member.folder / "plan.json", plan)
    ensemble = make_ensemble(job.work.spec, seed=job.work.seed, width=width, devices=job.devices)
    return job._replace(plan=plan, ensemble=ensemble)


def train_epochs(job: Job, group: int, first: int, last: int, claims: list[Claim]) -> None:
    """Epochs first .. last - 1 of one group of all members, in chunks that end in checkpoints."""
    data, n_devices = job.data, len(job.devices)
    shadows, real = group_of([member.work for member in job.members], job.plan, group, n_devices)
    if first:
        like = job.ensemble.shape_of(shadows, data)
        parts = [checkpoint.restore(path, first, like) for path in job.paths(group)]
        state = repeat_last(jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts), len(shadows.ids))
    else:
        state = job.ensemble.init(shadows, data)
    job.ensemble.memory(state, shadows, data)  # compiles, so that the first chunk is timed without
    stops = sorted(stop for stop in {*job.members[0].config.train.snapshot_epochs, last} if first < stop <= last)
    least = job.settings.chunk_seconds * len(job.members)  # each member has a checkpoint to write
    ahead, wanted, unsaved = 1, least, 0.0
    while first < last:
        end = min(first + ahead, next(stop for stop in stops if stop > first))
        start = time.perf_counter()
        state = jax.block_until_ready(job.ensemble.run(state, shadows, data, first, end))
        seconds, asked = spmd.of_first(time.perf_counter() - start), spmd.of_first(stopping.asked())
        unsaved += seconds
        if end in stops or asked or unsaved >= wanted:
            saving = spmd.of_first(save(job, group, end, state, real, claims))
            wanted, unsaved = max(least, saving / (job.settings.checkpoint_share or np.inf)), 0.0
        job.bar.update((end - first) * real * len(job.members))
        told(job, group, end, state, real, seconds)
        ahead = max(1, int(min(least, wanted - unsaved) * (end - first) / seconds))
        first = end
        if asked:
            job.writer.wait()
            stopping.stop()
    job.writer.wait()


def told(job: Job, group: int, epoch: int, state: Group, real: int, seconds: float) -> None:
    """Tells those who track the run what each member's shadows have reached."""
    last_gh = spmd.on_host(state.history)[:, epoch - 1]
    for i, member in enumerate(job.members) if spmd.is_first() else ():
        loss, accuracy = (tracking.mean(last_gh[i * real : (i + 1) * real, column]) for column in (0, 1))
        tracking.tell(
            "chunk", variant=member.name, group=group, shadows=real, epoch=epoch, epochs=job.work.spec.epochs,
            loss=loss, accuracy=accuracy, seconds=round(seconds, 3),
        )  # fmt: skip


def save(job: Job, group: int, epoch: int, state: Group, real: int, claims: list[Claim]) -> float:
    """Writes a checkpoint of every member; gives the seconds that training waited for it. Stopped where
    another process took the group over: it thought this one dead."""
    start = time.perf_counter()
    whole = spmd.on_host(state)

    def write() -> None:
        lost = [claim.path for claim in claims if not claim.held()]
        if lost:
            raise stopping.Stopped(
                f"{lost[0]} was taken over by another process. Start this one again to share the work."
            )
        for i, path in enumerate(job.paths(group)):
            own = jax.tree.map(lambda leaf, i=i: leaf[i * real : (i + 1) * real], whole)
            checkpoint.save(path, epoch, own, keep=job.members[i].config.train.snapshot_epochs)

    if spmd.is_first():
        job.writer.run(write)
    return time.perf_counter() - start


def load_group(
    folder: Path, work: Inputs, ensemble: Ensemble, plan: dict[str, Any], group: int, n_devices: int,
    epoch: int | None = None,
) -> tuple[Group, Shadows, int]:  # fmt: skip
    """(the states of a group's real shadows after `epoch` epochs or all, its padded shadows, how many are real)."""
    shadows, real = group_of([work], plan, group, n_devices)
    path = group_path(folder, group)
    epoch = work.spec.epochs if epoch is None else epoch
    if not checkpoint.is_whole(checkpoint.step_path(path, epoch)):
        raise StoreError(f"{path} has no whole checkpoint of epoch {epoch}. Remove {folder / MANIFEST} and rerun.")
    return checkpoint.restore(path, epoch, ensemble.shape_of(shadows, work.data)), shadows, real


def all_finite(params: Any) -> np.ndarray:
    """bool [G]: the models all of whose parameters are finite (the last update comes after the last loss)."""
    return np.all([np.isfinite(leaf).reshape(len(leaf), -1).all(1) for leaf in jax.tree.leaves(params)], axis=0)


def write_history(folder: Path, history_seh: np.ndarray, finite_s: np.ndarray, epochs_s: np.ndarray) -> None:
    """history.npz (loss, accuracy and, where it decides on stopping, validation: [S, E]; epochs [S]) and shadows.jsonl;
    a loss or parameter that is not finite is a diverged shadow."""
    columns = dict(zip(("loss", "accuracy", "validation"), np.moveaxis(history_seh, 2, 0), strict=False))
    loss_se, accuracy_se = columns["loss"], columns["accuracy"]
    write_npz(folder / "history.npz", {"epochs": epochs_s, **columns})
    valid_s = np.isfinite(loss_se).all(1) & finite_s
    lines = [
        {
            "id": s,
            "status": "ok" if valid_s[s] else "diverged",
            "epochs": int(epochs_s[s]),
            "train_accuracy": round(float(accuracy_se[s, -1]), 6),
            "loss": float(loss_se[s, -1]) if np.isfinite(loss_se[s, -1]) else None,
        }
        for s in range(len(loss_se))
    ]
    if not valid_s.all():
        logging.warning(
            "%d of %d shadows diverged and are excluded with their pairs: %s",
            np.sum(~valid_s), len(valid_s), np.flatnonzero(~valid_s).tolist(),
        )  # fmt: skip
    write_text(folder / "shadows.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def valid_shadows(folder: Path) -> np.ndarray:
    """valid_s bool [S]: the shadows that trained to the end."""
    lines = (folder / "shadows.jsonl").read_text().splitlines()
    return np.array([json.loads(line)["status"] == "ok" for line in lines])
