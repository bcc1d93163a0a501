"""The list of stages from a config to a report. Each: done? else run."""

import time
from pathlib import Path

import jax

from jaxsnn_mia.config import sweep
from jaxsnn_mia.config.sweep import FOLLOWING
from jaxsnn_mia.pipeline.attacks import attacks_stages
from jaxsnn_mia.pipeline.attribute import attribute_stages
from jaxsnn_mia.pipeline.data import data_and_splits, data_path, splits_path
from jaxsnn_mia.pipeline.inversion import inversion_stages
from jaxsnn_mia.pipeline.metrics import metrics_stage
from jaxsnn_mia.pipeline.signals import signals_stages
from jaxsnn_mia.pipeline.train import train_stages
from jaxsnn_mia.report import page
from jaxsnn_mia.runtime import stopping, tracking
from jaxsnn_mia.settings import Config, as_dict
from jaxsnn_mia.store.stage import MANIFEST, upto
from jaxsnn_mia.store.workdir import check_config, is_locked, lock, write_config
from jaxsnn_mia.training.claims import POLL_SECONDS, Share, wait_for

ALONE = Share()


def run_pipeline(c: Config, workdir: Path, *, until: str = "report", share: Share = ALONE) -> dict[str, Path]:
    """Runs every stage of every variant up to `until`; the processes of `share` divide the training. Gives the metrics
    folder of each variant to the process that leads, where `until` reaches them.

    Raises ValueError for data that does not fit the config, StoreError for a workdir that cannot be used.
    """
    if share.rank:
        if upto("train", until):
            wait_for((workdir / "config.json").exists, f"{workdir / 'config.json'}", workdir, share.patience)
            check_config(workdir, as_dict(c), FOLLOWING)
            with tracking.logged(workdir):
                follow(c, workdir, share)
        return {}
    with lock(workdir):
        check_config(workdir, as_dict(c), FOLLOWING)
        with tracking.logged(workdir):
            return lead(c, workdir, until, share)


def follow(c: Config, workdir: Path, share: Share) -> None:
    """Trains together with the process that leads in the workdir."""
    variants = sweep.variants(c)
    shared = {name: wait_for_data(variant, workdir, share.patience) for name, variant in variants.items()}
    train_stages(variants, workdir, shared, share)
    while jax.process_count() > 1 and is_locked(workdir):  # one job ends together
        time.sleep(POLL_SECONDS)


def lead(c: Config, workdir: Path, until: str, share: Share) -> dict[str, Path]:
    """Runs every stage in a workdir that this process holds."""
    variants = sweep.variants(c)
    shared = {name: data_and_splits(v, workdir) for name, v in variants.items()}  # all data is checked first
    write_config(workdir, as_dict(c))
    if upto("train", until):
        shared = train_stages(variants, workdir, shared, share)
    found = {}
    for name, variant in variants.items():
        stopping.check()
        found[name] = run_variant(name, variant, workdir / name, shared[name], until)
    if until == "report":
        page.write(as_dict(c), workdir, found, title=c.report.title, level=c.metrics.level)
    return {name: paths["metrics"] for name, paths in found.items() if "metrics" in paths}


def wait_for_data(c: Config, workdir: Path, patience: float) -> dict[str, Path]:
    """The data and splits folders of a variant that process 0 leads, once they are there."""
    paths = {"data": data_path(c, workdir)[0]}
    wait_for((paths["data"] / MANIFEST).exists, f"{paths['data']}", workdir, patience)
    paths["splits"] = splits_path(c, workdir, paths["data"])[0]
    wait_for((paths["splits"] / MANIFEST).exists, f"{paths['splits']}", workdir, patience)
    return paths


def run_variant(name: str, c: Config, folder: Path, paths: dict[str, Path], until: str) -> dict[str, Path]:
    """The folders of all stages of one trained variant up to `until`, after running those that are not done."""
    paths = dict(paths)
    if upto("signals", until):
        paths |= signals_stages(c, folder, paths)
    if upto("attacks", until):
        paths |= attacks_stages(c, folder, paths)
    if upto("metrics", until):
        beyond = inversion_stages(c, folder, paths) | attribute_stages(c, folder, paths)
        paths |= beyond | {"metrics": metrics_stage(name, c, folder, paths | beyond, tuple(beyond))}
    return paths
