"""The training stage: groups of shadows in chunks of epochs, each chunk a checkpoint, nothing trained twice.

Variants that differ in traced settings alone (bit widths, learning rate, ...) are members of one ensemble: their groups
are trained side by side along the model axis, by one program. Each member keeps its own stage folder.
"""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from jaxsnn_mia import checkpoint, config, models, splits, stopping, store
from jaxsnn_mia.distributed import POLL_SECONDS, Claim, Share, claimed
from jaxsnn_mia.ensemble import Ensemble, Group, Shadows, make_ensemble
from jaxsnn_mia.kernels import quantize, surrogate
from jaxsnn_mia.planning import devices, plan_of
from jaxsnn_mia.train import TrainSpec


class Work(NamedTuple):
    """Everything the training and querying of one variant needs."""

    spec: TrainSpec
    hyper: models.Hyper
    data: tuple[np.ndarray, ...]  # x, y of the candidates; then of the validation rows, where they decide on stopping
    rows: tuple[np.ndarray, np.ndarray]  # idx [S, R], mask [S, R]
    seed: int


class Member(NamedTuple):
    """A variant in an ensemble: the folder of its training stage, its config and its work."""

    folder: Path
    config: config.Config
    work: Work


def prepare(
    c: config.Config, x: np.ndarray, y: np.ndarray, n_classes: int, keep_sn: np.ndarray, *,
    validation: tuple[np.ndarray, np.ndarray] | None = None, pixels: Any = None,
) -> Work:  # fmt: skip
    """The work of one checked variant on its candidates x, y [N]; `validation` (x, y) is for stopping at a gap,
    `pixels` (mean, deviation) of each channel for uint8 images."""
    rows = splits.training_rows(keep_sn)
    batch_size = min(c.train.batch_size, rows[0].shape[1])
    last_batch = (rows[0].shape[1] - 1) // batch_size * batch_size
    spec = TrainSpec(
        models.ModelSpec(
            family=c.model.family,
            in_shape=x.shape[1:],
            n_classes=n_classes,
            hidden=c.model.hidden,
            time_steps=c.model.time_steps,
            readout=c.model.readout,
            surrogate=c.model.surrogate,
            reset=c.model.reset,
            architecture=c.model.architecture,
            quant=quant_spec(c.quantization),
        ),
        optimizer=c.train.optimizer,
        momentum=c.train.momentum,
        schedule=c.train.schedule,
        epochs=c.train.epochs,
        batch_size=batch_size,
        rows=rows[0].shape[1],
        per_shadow_standardise=c.data.standardise == "per_shadow",
        ragged=bool((rows[1].sum(1) <= last_batch).any()),
        float_epochs=c.train.epochs if c.quantization.mode == "ptq" else c.quantization.warmup_epochs,
        post_training=c.quantization.mode == "ptq",
        pixels=tuple(map(tuple, pixels)) if pixels else None,
        augment=c.data.augment,
        stop="train_accuracy" if c.train.stop_at_train_accuracy else "gap" if c.train.stop_at_gap else "never",
    )
    hyper = models.Hyper(
        lr=c.train.lr,
        weight_decay=c.train.weight_decay,
        smoothing=c.train.smoothing,
        stop_at=c.train.stop_at_train_accuracy or c.train.stop_at_gap,
        beta=c.model.beta,
        threshold=c.model.threshold,
        slope=c.model.slope or surrogate.default_slope(c.model.surrogate),
        **widths(c),
    )
    data = (x, y, *validation) if spec.stop == "gap" and validation else (x, y)
    return Work(spec, hyper, data, rows, c.train.seed)


def quant_spec(q: config.Quantization) -> models.QuantSpec:
    """The static part of a quantization."""
    options = {name: getattr(q, name) for name in (*models.QUANT_OPTIONS, "percentile", "decay", "lower", "upper")}
    return models.QuantSpec(parts=models.QUANTIZED[q.what], **options)


def widths(c: config.Config) -> dict[str, float]:
    """The largest codes of a checked config, as `models.Hyper` names them; 0 is float. ReLU outputs have no sign."""
    bits = config.bits(c)
    activation = quantize.qmax_unsigned if c.model.family in models.STATELESS else quantize.qmax_symmetric
    return {
        "qmax_weight": quantize.qmax_symmetric(bits["weight"]),
        "qmax_activation": activation(bits["activation"]),
        "qmax_state": quantize.qmax_unsigned(bits["state"]),
    }


def group_length(work: Work, plan: dict[str, Any], group: int) -> int:
    """The shadows of one group; the last may be shorter."""
    return min(plan["group_size"], len(work.rows[0]) - group * plan["group_size"])


def group_of(works: list[Work], plan: dict[str, Any], group: int, n_devices: int) -> tuple[Shadows, int]:
    """(the shadows of a group of every member, one member after the other; how many are real in each): padded to
    whole blocks by repeating the last one."""
    real = group_length(works[0], plan, group)
    ids = np.tile(group * plan["group_size"] + np.arange(real, dtype=np.int32), len(works))
    hyper = models.Hyper(
        *[np.repeat(np.float32(values), real) for values in zip(*(w.hyper for w in works), strict=True)]
    )
    block = plan["width"] * n_devices
    padded = -(-len(ids) // block) * block
    ids, hyper = repeat_last((ids, hyper), padded)
    return Shadows(ids, hyper, (works[0].rows[0][ids], works[0].rows[1][ids])), real


def first_rows(tree: Any, count: int) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], tree)


def repeat_last(tree: Any, length: int) -> Any:
    return jax.tree.map(lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], length - len(leaf), 0)]), tree)


def train_all(members: list[Member], share: Share) -> None:
    """Returns when every group of an ensemble is trained, here or by another process; the leader then writes
    history.npz and shadows.jsonl of every member.

    The members have one TrainSpec, one seed and the same rows of the same data.
    """
    used = devices(members[0].config)
    plans = [plan_of(member.folder, member.config, len(used), share, len(members)) for member in members]
    for plan in {store.digest(plan): plan for plan in plans}.values():  # one, unless a rerun brought others along
        alike = [member for member, own in zip(members, plans, strict=True) if own == plan]
        spec, seed = alike[0].work.spec, alike[0].work.seed
        ensemble = make_ensemble(spec, seed=seed, width=plan["width"], devices=used)
        total = sum(group_length(alike[0].work, plan, group) for group in range(plan["groups"]))
        others = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        with tqdm(
            total=total * len(alike) * spec.epochs, desc=f"train {alike[0].folder.parent.name}{others}", unit="epoch",
            leave=False,
        ) as bar:  # fmt: skip
            train_groups(alike, plan, ensemble, len(used), bar)
        if not share.rank:
            for member in alike:
                gather(member, plan, ensemble, len(used))


def train_groups(members: list[Member], plan: dict[str, Any], ensemble: Ensemble, n_devices: int, bar: tqdm) -> None:
    """Claims and trains groups until all are trained; waits for those that another process holds."""
    left = list(range(plan["groups"]))
    while left:
        before = len(left)
        for group in list(left):
            paths = [group_path(member.folder, group) for member in members]
            with claimed([path.with_suffix(".claim") for path in paths]) as claims:
                if not claims:
                    continue
                if not all(is_trained(path, members[0].work) for path in paths):
                    train_group(members, plan, group, ensemble, n_devices, bar, claims)
                left.remove(group)
        if len(left) == before:
            stopping.check()
            time.sleep(POLL_SECONDS)


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


def is_trained(path: Path, work: Work) -> bool:
    """Whether the group's final checkpoint is there and whole."""
    return checkpoint.is_whole(checkpoint.step_path(path, work.spec.epochs))


def train_group(
    members: list[Member], plan: dict[str, Any], group: int, ensemble: Ensemble, n_devices: int, bar: tqdm,
    claims: list[Claim],
) -> None:  # fmt: skip
    """Trains one group of every member from its last whole checkpoint to the end: those that are behind together,
    until they have caught up with the next."""
    epochs = members[0].work.spec.epochs
    done = [checkpoint.latest(group_path(member.folder, group)) or 0 for member in members]
    bar.update(sum(done) * group_length(members[0].work, plan, group))
    while (first := min(done)) < epochs:
        last = min((d for d in done if d > first), default=epochs)
        behind = [member for member, d in zip(members, done, strict=True) if d == first]
        train_epochs(behind, plan, group, ensemble, n_devices, first, last, bar, claims)
        done = [last if d == first else d for d in done]


def train_epochs(
    members: list[Member], plan: dict[str, Any], group: int, ensemble: Ensemble, n_devices: int,
    first: int, last: int, bar: tqdm, claims: list[Claim],
) -> None:  # fmt: skip
    """Epochs first .. last - 1 of one group of all members, in chunks that end in checkpoints. StoreError where another
    process took the group over: it thought this one dead."""
    data, paths = members[0].work.data, [group_path(member.folder, group) for member in members]
    shadows, real = group_of([member.work for member in members], plan, group, n_devices)
    if first:
        like = ensemble.shape_of(shadows, data)
        parts = [checkpoint.restore(path, first, like) for path in paths]
        state = repeat_last(jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts), len(shadows.ids))
    else:
        state = ensemble.init(shadows, data)
    snapshots = members[0].config.train.snapshot_epochs
    ahead, stops = 1, sorted(stop for stop in {*snapshots, last} if first < stop <= last)
    chunk_seconds = members[0].config.ensemble.chunk_seconds * len(members)  # each member has a checkpoint to write
    while first < last:
        end = min(first + ahead, next(stop for stop in stops if stop > first))
        start = time.perf_counter()
        state = jax.block_until_ready(ensemble.run(state, shadows, data, first, end))
        seconds_an_epoch = (time.perf_counter() - start) / (end - first)
        whole = jax.tree.map(np.asarray, state)
        lost = [claim.path for claim in claims if not claim.held()]
        if lost:
            raise store.StoreError(
                f"{lost[0]} was taken over by another process. Start this one again to share the work."
            )
        for i, path in enumerate(paths):
            own = jax.tree.map(lambda leaf, i=i: leaf[i * real : (i + 1) * real], whole)
            checkpoint.save(path, end, own, keep=snapshots)
        bar.update((end - first) * real * len(members))
        first, ahead = end, max(1, int(chunk_seconds / seconds_an_epoch))
        stopping.check()


def load_group(
    folder: Path, work: Work, ensemble: Ensemble, plan: dict[str, Any], group: int, n_devices: int
) -> tuple[Group, Shadows, int]:
    """(the trained states of a group's real shadows, its padded shadows, how many are real)."""
    shadows, real = group_of([work], plan, group, n_devices)
    path = group_path(folder, group)
    if not is_trained(path, work):
        raise store.StoreError(f"{path} has no whole final checkpoint. Remove {folder / store.MANIFEST} and rerun.")
    return checkpoint.restore(path, work.spec.epochs, ensemble.shape_of(shadows, work.data)), shadows, real


def all_finite(params: Any) -> np.ndarray:
    """bool [G]: the models all of whose parameters are finite (the last update comes after the last loss)."""
    return np.all([np.isfinite(leaf).reshape(len(leaf), -1).all(1) for leaf in jax.tree.leaves(params)], axis=0)


def write_history(folder: Path, history_seh: np.ndarray, finite_s: np.ndarray, epochs_s: np.ndarray) -> None:
    """history.npz (loss, accuracy and, where it decides on stopping, validation: [S, E]; epochs [S]) and shadows.jsonl;
    a loss or parameter that is not finite is a diverged shadow."""
    columns = dict(zip(("loss", "accuracy", "validation"), np.moveaxis(history_seh, 2, 0), strict=False))
    loss_se, accuracy_se = columns["loss"], columns["accuracy"]
    with store.atomic(folder / "history.npz") as path, open(path, "wb") as file:
        np.savez(file, epochs=epochs_s, **columns)  # type: ignore[arg-type]
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
    store.write_text(folder / "shadows.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def valid(folder: Path) -> np.ndarray:
    """valid_s bool [S]: the shadows that trained to the end."""
    lines = (folder / "shadows.jsonl").read_text().splitlines()
    return np.array([json.loads(line)["status"] == "ok" for line in lines])
