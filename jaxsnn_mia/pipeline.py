"""The list of stages from a config to a report. Each: done? else run."""

import inspect
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from jaxsnn_mia import (
    attacking,
    config,
    inferring,
    measuring,
    models,
    preparing,
    querying,
    reconstructing,
    results,
    shadows,
    signals,
    splits,
    spmd,
    stages,
    stopping,
    store,
    tracking,
)
from jaxsnn_mia.distributed import POLL_SECONDS, Share, wait_for
from jaxsnn_mia.kernels import surrogate
from jaxsnn_mia.report import page
from jaxsnn_mia.work import privacy

ALONE = Share()
ROLES = ("rows", "population", "validation", "duplicates", "seed")  # settings of the data that tell who is a candidate


def run(c: config.Config, workdir: Path, *, until: str = "report", share: Share = ALONE) -> dict[str, Path]:
    """Runs every stage of every variant up to `until`; the processes of `share` divide the training. Gives the metrics
    folder of each variant to the process that leads, where `until` reaches them.

    Raises ValueError for data that does not fit the config, StoreError for a workdir that cannot be used.
    """
    if share.rank:
        if stages.upto("train", until):
            wait_for((workdir / "config.json").exists, f"{workdir / 'config.json'}", workdir, share.patience)
            store.check_claim(workdir, config.as_dict(c), config.FOLLOWING)
            with tracking.logged(workdir):
                follow(c, workdir, share)
        return {}
    with store.lock(workdir):
        store.check_claim(workdir, config.as_dict(c), config.FOLLOWING)
        with tracking.logged(workdir):
            return lead(c, workdir, until, share)


def follow(c: config.Config, workdir: Path, share: Share) -> None:
    """Trains together with the process that leads in the workdir."""
    variants = config.variants(c)
    shared = {name: wait_for_data(variant, workdir, share.patience) for name, variant in variants.items()}
    train_stages(variants, workdir, shared, share)
    while jax.process_count() > 1 and store.is_locked(workdir):  # one job ends together
        time.sleep(POLL_SECONDS)


def lead(c: config.Config, workdir: Path, until: str, share: Share) -> dict[str, Path]:
    """Runs every stage in a workdir that this process holds."""
    variants = config.variants(c)
    shared = {name: preparing.prepared(v, workdir) for name, v in variants.items()}  # all data is checked first
    store.claim(workdir, config.as_dict(c))
    if stages.upto("train", until):
        shared = train_stages(variants, workdir, shared, share)
    found = {}
    for name, variant in variants.items():
        stopping.check()
        found[name] = run_variant(name, variant, workdir / name, shared[name], until)
    if until == "report":
        page.write(config.as_dict(c), workdir, found, title=c.report.title, level=c.metrics.level)
    return {name: paths["metrics"] for name, paths in found.items() if "metrics" in paths}


def wait_for_data(c: config.Config, workdir: Path, patience: float) -> dict[str, Path]:
    """The data and splits folders of a variant that process 0 leads, once they are there."""
    paths = {"data": preparing.data_path(c, workdir)[0]}
    wait_for((paths["data"] / store.MANIFEST).exists, f"{paths['data']}", workdir, patience)
    paths["splits"] = preparing.splits_path(c, workdir, paths["data"])[0]
    wait_for((paths["splits"] / store.MANIFEST).exists, f"{paths['splits']}", workdir, patience)
    return paths


def run_variant(name: str, c: config.Config, folder: Path, paths: dict[str, Path], until: str) -> dict[str, Path]:
    """The folders of all stages of one trained variant up to `until`, after running those that are not done."""
    paths = dict(paths)
    if stages.upto("signals", until):
        paths |= querying.signals_stages(c, folder, paths)
    if stages.upto("attacks", until):
        paths |= attacking.attacks_stages(c, folder, paths)
    if stages.upto("metrics", until):
        beyond = reconstructing.inversion_stages(c, folder, paths) | inferring.attribute_stages(c, folder, paths)
        paths |= beyond | {"metrics": metrics_stage(name, c, folder, paths | beyond, tuple(beyond))}
    return paths


def train_path(c: config.Config, folder: Path, paths: dict[str, Path]) -> tuple[Path, dict[str, Any]]:
    inputs = {
        "model": config.as_dict(c.model),
        "quantization": config.as_dict(c.quantization),
        "train": config.as_dict(c.train),
        "standardise": c.data.standardise,
        "augment": c.data.augment,
        "data": stages.manifest(paths["data"])["sha256"],
        "splits": paths["splits"].name,
    }
    if ":" in c.model.surrogate:  # changed code of the caller's own is another training
        inputs["surrogate"] = store.file_sha256(Path(inspect.getfile(surrogate.factory(c.model.surrogate))))
    if ":" in c.model.architecture:
        module = models.modules(c.model.architecture)[c.model.family]
        inputs["architecture"] = store.file_sha256(Path(inspect.getfile(module)))
    return store.stage_path(folder, "train", stages.STAGE_VERSION["train"], inputs), inputs


def train_stages(
    variants: dict[str, config.Config], workdir: Path, shared: dict[str, dict[str, Path]], share: Share
) -> dict[str, dict[str, Path]]:
    """The folders of all variants with their training stages (plan.json, a folder of checkpoints for each group,
    history.npz, shadows.jsonl), after training those that are not done. Variants that differ in traced settings alone
    are trained as one ensemble; those that differ in their defence alone are one training, in the folder of the first.
    """
    first: dict[str, tuple[Path, dict[str, Any]]] = {}
    found = {}
    for name, c in variants.items():
        stage = train_path(c, workdir / name, shared[name])
        found[name] = first.setdefault(stage[0].name, stage)
    ensembles: dict[str, list[str]] = {}
    works = {}
    for name, c in variants.items():
        if found[name][0].parent.name != name:
            continue
        if store.is_done(found[name][0]):
            logging.info("%s is trained already", name)
        else:
            works[name] = preparing.load_work(c, shared[name])
            program = [repr(works[name].spec), works[name].seed, config.as_dict(c.ensemble), shared[name]["splits"]]
            ensembles.setdefault(store.digest(program), []).append(name)
    for names in ensembles.values():
        spmd.check_stop()
        meter = measuring.Meter()
        members = [shadows.Member(found[name][0], variants[name], works[name]) for name in names]
        shadows.train_all(members, share)
        taken = meter.read()  # of all members together
        for name in names if not share.rank else ():
            path, inputs = found[name]
            store.finish(path, stage=path.name, inputs=inputs, members=names, **taken, finished=time.ctime(),
                         **stages.about())  # fmt: skip
    return {name: paths | {"train": found[name][0]} for name, paths in shared.items()}


def confidence(paths: dict[str, Path]) -> np.ndarray | None:
    """float32 [S, N], the mean over queries, where it was asked for."""
    if "signals/phi" not in paths:
        return None
    phi_sna = signals.read(paths["signals/phi"], "candidates")
    return np.stack([phi_na.mean(-1) for phi_na in phi_sna])


def metrics_stage(
    name: str, c: config.Config, folder: Path, paths: dict[str, Path], beyond: tuple[str, ...] = ()
) -> Path:
    """results.csv, summary.json and roc.npz of one variant; the stages `beyond` membership have rows of their own."""
    scores = {attack: paths[f"attacks/{attack}"] for attack in c.attacks.names}
    inputs = {
        "variant": name,
        "metrics": config.as_dict(c.metrics),
        "correct": paths["signals/correct"].parent.name,
        "scores": [path.parent.name for path in scores.values()],
    }
    if "signals/phi" in paths:
        inputs["confidence"] = paths["signals/phi"].parent.name
    if beyond:
        inputs["beyond"] = [paths[stage].name for stage in beyond]
    path = store.stage_path(folder, "metrics", stages.STAGE_VERSION["metrics"], inputs)

    def work(path: Path) -> None:
        grids = {stage.partition("/")[2]: paths[stage] / "grid.npy" for stage in beyond}
        shown = {name: np.asarray(store.read_array(grid)) for name, grid in grids.items() if grid.exists()}
        store.write_npz(path / "grids.npz", shown)
        _, _, unit_n = preparing.candidates(paths["data"])
        roles = set(np.unique(store.read_array(paths["data"] / "role.npy")))

        def correct(part: str) -> np.ndarray | None:
            there = preparing.PARTS[part] in roles
            return signals.read(paths["signals/correct"], part)[:, :, 0] if there else None

        valid_s = shadows.valid(paths["train"])
        about = stages.manifest(paths["data"])
        keep_sn = np.asarray(store.read_array(paths["splits"] / "keep.npy"))
        results.write(
            path,
            results.Audit(
                name=name,
                labels=results.labels(c, timed=about["timed"]),
                settings=c.metrics,
                keep_sn=keep_sn,
                usable_s=valid_s & valid_s[splits.partners(len(valid_s))],
                pair_s=np.arange(len(valid_s)) // 2,
                unit_n=unit_n,
                correct_sn=correct("candidates"),
                correct_test=correct("test"),
                correct_validation=correct("validation"),
                confidence_sn=confidence(paths),
                data=store.digest([about["sha256"], *(about["inputs"][name] for name in ROLES)]),
                scores={attack: np.asarray(store.read_array(file)) for attack, file in scores.items()},
                diverged=int(np.sum(~valid_s)),
                coins=c.splits.rows == "iid",
                privacy=privacy(c, keep_sn),
                stages=[paths[stage].name for stage in beyond],
                beyond=[row for stage in beyond for row in json.loads((paths[stage] / "rows.json").read_text())],
            ),
        )

    return store.run_stage(path, work, inputs=inputs, **stages.about())
