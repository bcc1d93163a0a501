"""The training stage: groups of shadows in chunks of epochs, each chunk a checkpoint, nothing trained twice.

Variants that differ in traced settings alone (bits, learning rate, ...) are members of one ensemble: their groups are
trained side by side along the model axis, by one program. Each member keeps its own stage folder.
"""

import functools
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
from jaxsnn_mia.store.files import StoreError, digest
from jaxsnn_mia.training.claims import POLL_SECONDS, Claim, Overtaken, Share, claimed
from jaxsnn_mia.training.ensemble import Ensemble, make_ensemble
from jaxsnn_mia.training.epochs import Group, Shadows
from jaxsnn_mia.training.groups import group_path, is_trained
from jaxsnn_mia.training.history import gather
from jaxsnn_mia.training.inputs import Inputs, group_length, group_of, repeat_last
from jaxsnn_mia.training.plan import fixed_width, group_plan, make_plan, not_bitwise, plan_of, used_devices, write_plan
from jaxsnn_mia.training.probe import Cache, is_out_of_memory, largest_group


class Member(NamedTuple):
    """A variant in an ensemble: the folder of its training stage, its config, and what its training needs."""

    folder: Path
    config: Config
    inputs: Inputs

    @property
    def name(self) -> str:
        return self.folder.parent.name


class Job(NamedTuple):
    """An ensemble in training."""

    members: list[Member]
    plan: dict[str, Any]
    ensemble: Ensemble
    devices: list
    data: tuple  # of the inputs, on every device
    bar: tqdm
    writer: checkpoint.Writer

    @property
    def inputs(self) -> Inputs:
        """Of the first member: all have the same data, rows and program."""
        return self.members[0].inputs

    @property
    def epochs(self) -> int:
        return self.inputs.spec.epochs

    @property
    def settings(self) -> EnsembleSettings:
        return self.members[0].config.ensemble

    @property
    def snapshots(self) -> tuple[int, ...]:
        return self.members[0].config.train.snapshot_epochs

    def paths(self, group: int) -> list[Path]:
        return [group_path(member.folder, group) for member in self.members]


def train_all(members: list[Member], share: Share) -> None:
    """Returns when every group of an ensemble is trained, here or by another process; the leader then writes
    history.npz and shadows.jsonl of every member.

    The members have one TrainSpec, one seed and the same rows of the same data.
    """
    used = used_devices(members[0].config)
    make = functools.cache(lambda: new_plan(members, used, share))

    def width_of(group_size):
        return fixed_width(members[0].config, len(members) * group_size)

    plans = [plan_of(member.folder, share, make, width_of) for member in members]
    for plan in {
        digest(plan): plan for plan in plans
    }.values():  # one plan, unless some members had another from an earlier run
        alike = [member for member, own in zip(members, plans, strict=True) if own == plan]
        train_alike(alike, plan, used, leads=not share.rank)


def train_alike(members: list[Member], plan: dict[str, Any], used: list, *, leads: bool) -> None:
    """Trains the members of one plan."""
    inputs = members[0].inputs
    ensemble = make_ensemble(inputs.spec, seed=inputs.seed, width=plan["width"], devices=used)
    models, epochs = len(inputs.rows[0]), inputs.spec.epochs
    for member in members:
        tracking.tell("plan", variant=member.name, stage=member.folder.name, models=models, epochs=epochs,
                      groups=plan["groups"])  # fmt: skip
    others = f" and {len(members) - 1} more" if len(members) > 1 else ""
    bar = tqdm(total=models * len(members) * epochs, unit="epoch", leave=False,
               desc=f"train {members[0].name}{others}", disable=not spmd.is_first())  # fmt: skip
    with bar, checkpoint.Writer(members[0].config.ensemble.asynchronous) as writer:
        train_groups(Job(members, plan, ensemble, used, ensemble.place(inputs.data), bar, writer))
    if leads:
        for member in members:
            gather(member.folder, member.inputs, plan, ensemble, len(used))


def new_plan(members: list[Member], used: list, share: Share) -> dict[str, Any]:
    """The plan of an ensemble on the devices `used`: groups that fit in memory, and the width that the
    config names or a probe finds."""
    c, inputs = members[0].config, [member.inputs for member in members]
    fits = largest_group(inputs[0].spec, used)
    groups = group_plan(c, share.world, len(members), fits)
    width = fixed_width(c, len(members) * groups["group_size"])
    if width is None:
        most = -(-len(members) * groups["group_size"] // len(used))
        width = Cache(members[0].folder.parent.parent).get(inputs, None, jax.local_devices(), most).width
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
                if spmd.of_first(all(is_trained(path, job.inputs, job.snapshots) for path in job.paths(group))):
                    tell_start(job, group, [job.epochs] * len(job.members))  # trained earlier, or by another process
                else:
                    try:
                        job = train_group(job, group, claims)
                    except Overtaken as error:
                        if jax.process_count() > 1:  # the others of the job are in step with this one
                            raise stopping.Stopped(f"{error} {stopping.AGAIN}") from None
                        logging.warning("%s This process goes on with other groups.", error)
                        continue
                left.remove(group)
        if len(left) == before:
            time.sleep(POLL_SECONDS)


def tell_start(job: Job, group: int, done: list[int]) -> None:
    """Tells how many epochs of a claimed group are done already, for each member."""
    length = group_length(job.inputs, job.plan, group)
    job.bar.update(sum(done) * length)
    if 0 < sum(done) < job.epochs * len(done):
        logging.info("group %d of %s goes on after epoch %d", group, job.members[0].name, min(done))
    if spmd.is_first():
        for member, epoch in zip(job.members, done, strict=True):
            tracking.tell("group", variant=member.name, group=group, shadows=length, epoch=epoch)


def train_group(job: Job, group: int, claims: list[Claim]) -> Job:
    """Trains one group of every member from its last whole checkpoint to the end. Members that are behind are trained
    first, until they have caught up with the next. Returns the job, narrower where it did not fit in memory."""
    done = latest(job, group)
    tell_start(job, group, done)
    while (first := min(done)) < job.epochs:
        last = min((epoch for epoch in done if epoch > first), default=job.epochs)
        behind = [member for member, epoch in zip(job.members, done, strict=True) if epoch == first]
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
    return [int(spmd.of_first(checkpoint.latest(path, job.snapshots) or 0)) for path in job.paths(group)]


def narrower(job: Job) -> Job:
    """The job with half of the width, recorded in its plan."""
    width = job.plan["width"] // 2
    logging.warning("out of memory at width %d: going on with %d", job.plan["width"], width)
    plan = not_bitwise({**job.plan, "width": width}, {"width": job.plan["width"]})
    if spmd.is_first():
        for member in job.members:
            write_plan(member.folder, plan)
    ensemble = make_ensemble(job.inputs.spec, seed=job.inputs.seed, width=width, devices=job.devices)
    return job._replace(plan=plan, ensemble=ensemble)


def train_epochs(job: Job, group: int, first: int, last: int, claims: list[Claim]) -> None:
    """Epochs first .. last - 1 of one group of all members, in chunks that end in checkpoints.

    A chunk lasts as long as `chunk_seconds` asks of each member, or longer where saving would take more than its share.
    """
    data = job.data
    shadows, real = group_of([member.inputs for member in job.members], job.plan, group, len(job.devices))
    state = started(job, group, shadows, first)
    job.ensemble.memory(state, shadows, data)  # compiles, so that the first chunk is timed without
    stops = sorted(stop for stop in {*job.snapshots, last} if first < stop <= last)
    least = job.settings.chunk_seconds * len(job.members)  # each member has a checkpoint to write
    ahead, wanted, unsaved = 1, least, 0.0
    while first < last:
        end = min(first + ahead, next(stop for stop in stops if stop > first))
        start = time.perf_counter()
        state = jax.block_until_ready(job.ensemble.run(state, shadows, data, first, end))
        seconds, asked = spmd.of_first(time.perf_counter() - start), spmd.of_first(stopping.asked())
        unsaved += seconds
        if end in stops or asked or unsaved >= wanted:
            saving = spmd.of_first(save(job, group, end, state, shadows.ids[:real].tolist(), claims))
            wanted, unsaved = max(least, saving / (job.settings.checkpoint_share or np.inf)), 0.0
        job.bar.update((end - first) * real * len(job.members))
        tell_chunk(job, group, end, state, real, seconds)
        ahead = max(1, int(min(least, wanted - unsaved) * (end - first) / seconds))
        first = end
        if asked:
            job.writer.wait()
            stopping.stop()
    job.writer.wait()


def started(job: Job, group: int, shadows: Shadows, first: int) -> Group:
    """The models of a group before epoch `first`: new ones, or those of the members' checkpoints."""
    if not first:
        return job.ensemble.init(shadows, job.data)
    like = job.ensemble.shape_of(shadows, job.data)
    ids = shadows.ids[: group_length(job.inputs, job.plan, group)].tolist()
    parts = [checkpoint.restore(path, first, like, ids) for path in job.paths(group)]
    return repeat_last(jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts), len(shadows.ids))


def tell_chunk(job: Job, group: int, epoch: int, state: Group, real: int, seconds: float) -> None:
    """Tells those who track the run what each member's shadows have reached."""
    last_gh = spmd.on_host(state.history)[:, epoch - 1]
    if not spmd.is_first():
        return
    for i, member in enumerate(job.members):
        loss, accuracy = (tracking.mean(last_gh[i * real : (i + 1) * real, column]) for column in (0, 1))
        tracking.tell("chunk", variant=member.name, group=group, shadows=real, epoch=epoch, epochs=job.epochs,
                      loss=loss, accuracy=accuracy, seconds=round(seconds, 3))  # fmt: skip


def save(job: Job, group: int, epoch: int, state: Group, ids: list[int], claims: list[Claim]) -> float:
    """Writes a checkpoint of every member, of the models `ids`; gives the seconds that training waited for it. Raises
    Overtaken where another process took the group over."""
    start = time.perf_counter()
    whole, real = spmd.on_host(state), len(ids)

    def check() -> None:
        lost = [claim.path for claim in claims if not claim.held()]
        if lost:
            raise Overtaken(f"{lost[0]} was taken over by another process, which held this one for dead.")

    def write() -> None:
        check()
        try:
            for i, path in enumerate(job.paths(group)):
                own = jax.tree.map(lambda leaf, i=i: leaf[i * real : (i + 1) * real], whole)
                checkpoint.save(path, epoch, own, shadows=ids, keep=job.snapshots, check=check)
        except (OSError, ValueError, StoreError):
            check()  # the new holder has removed what was being written
            raise

    if spmd.is_first():
        job.writer.run(write)
    return time.perf_counter() - start
