"""The list of stages from a config to a report. Each stage is made once."""

import time
from pathlib import Path

import jax
from absl import logging

from jaxsnn_mia import attacks as attack_functions
from jaxsnn_mia.attacks import references
from jaxsnn_mia.config import sweep
from jaxsnn_mia.config.sweep import FOLLOWING
from jaxsnn_mia.data import splits as data_splits
from jaxsnn_mia.pipeline import (
    attacks,
    attribute,
    data,
    inversion,
    metrics,
    own_model,
    releases,
    signals,
    splits,
    train,
)
from jaxsnn_mia.report import page
from jaxsnn_mia.runtime import stopping, tracking
from jaxsnn_mia.settings import Config, recorded
from jaxsnn_mia.store.files import going_on
from jaxsnn_mia.store.stage import MANIFEST, Stage, upto
from jaxsnn_mia.store.workdir import check_config, is_locked, lock, write_config
from jaxsnn_mia.training.claims import POLL_SECONDS, Share, wait_for
from jaxsnn_mia.training.history import valid_shadows

Paths = dict[str, Path]  # stage -> its folder: "data", "train", "signals/phi", "attacks/lira", ...
ALONE = Share()
LEAST_USABLE = 4  # models, whatever the attacks: intervals and the choice of an attack take two pairs


def run_pipeline(c: Config, workdir: Path, *, until: str = "report", share: Share = ALONE) -> dict[str, Path]:
    """`run_stages`, of which it gives the metrics folder of each variant, where `until` reaches them."""
    paths = run_stages(c, workdir, until=until, share=share)
    return {name: of["metrics"] for name, of in paths.items() if "metrics" in of}


def run_stages(c: Config, workdir: Path, *, until: str = "report", share: Share = ALONE) -> dict[str, Paths]:
    """Runs every stage of every variant up to `until`; the processes of `share` divide the training. Gives the folders
    of each variant's stages to the process that leads.

    Raises ValueError for data that does not fit the config, StoreError for a workdir that cannot be used.
    """
    if share.rank:
        if upto("train", until):
            wait_for((workdir / "config.json").exists, f"{workdir / 'config.json'}", workdir, share.patience)
            check_config(workdir, recorded(c), FOLLOWING)
            with tracking.logged(workdir):
                follow(c, workdir, share)
        return {}
    with lock(workdir):
        check_config(workdir, recorded(c), FOLLOWING)
        with tracking.logged(workdir):
            return lead(c, workdir, until, share)


def follow(c: Config, workdir: Path, share: Share) -> None:
    """Trains together with the process that leads in the workdir."""
    variants = sweep.variants(c)
    shared = {name: wait_for_data(variant, workdir, share.patience) for name, variant in variants.items()}
    with going_on():
        train.run(variants, workdir, shared, share)
    while jax.process_count() > 1 and is_locked(workdir):  # one job ends together
        time.sleep(POLL_SECONDS)


def lead(c: Config, workdir: Path, until: str, share: Share) -> dict[str, Paths]:
    """Runs every stage in a workdir that this process holds."""
    variants = sweep.variants(c)
    paths = {name: data_and_splits(variant, workdir) for name, variant in variants.items()}  # all data is checked first
    own_model.check(variants, paths)
    write_config(workdir, recorded(c))
    with going_on():
        return after_data(c, workdir, until, share, variants, paths)


def after_data(
    c: Config, workdir: Path, until: str, share: Share, variants: dict[str, Config], paths: dict[str, Paths]
) -> dict[str, Paths]:
    """Trains and attacks all variants, and writes the report."""
    if upto("train", until):
        paths = train.run(variants, workdir, paths, share)
    left_out = {}
    for name, variant in variants.items():
        stopping.check()
        reason = diverged(variant, paths[name]["train"]) if upto("attacks", until) else ""
        if reason:
            left_out[name] = reason
            logging.warning("%s is left out: %s", name, reason)
            paths.pop(name)
            continue
        paths[name] = run_variant(name, variant, workdir / name, paths[name], until)
    if left_out and not paths:
        raise ValueError(f"no variant can be attacked. {'; '.join(f'{n}: {why}' for n, why in left_out.items())}")
    if until == "report":
        rest = {name: variant for name, variant in variants.items() if name not in left_out}
        rows = releases.run(rest, workdir, paths)
        page.write(
            recorded(c), workdir, paths, title=c.report.title, level=c.metrics.level, releases=rows,
            left_out={name: (metrics.labels(variants[name]), why) for name, why in left_out.items()},
            how=page.HOW if compared(c) else page.ALONE,
        )  # fmt: skip
    return paths


def compared(c: Config) -> bool:
    """Whether an attack of the run compares a model with others, of which its complement is then left out."""
    return any("keep" in attack_functions.named(name).needs or name == "combine" for name in c.attacks.names)


def diverged(c: Config, train: Path) -> str:
    """Why a trained variant cannot be attacked, in words; "" where enough of its models are usable."""
    valid_s = valid_shadows(train)
    usable = int(references.usable(len(valid_s), data_splits.partners(len(valid_s)), valid_s).sum())
    fewest = max(attack_functions.fewest_shadows(c.attacks.names), LEAST_USABLE)
    if usable >= fewest:
        return ""
    return (
        f"{int((~valid_s).sum())} of {len(valid_s)} models diverged, and {usable} are left whose partner did not; "
        f"attacks need {fewest}. Lower train.lr."
    )


def data_and_splits(c: Config, workdir: Path) -> Paths:
    """The folders of a variant's first two stages. All variants share them: same examples, same splits, comparisons in
    pairs."""
    data_folder = data.run(c, workdir)
    return {"data": data_folder, "splits": splits.run(c, workdir, data_folder)}


def wait_for_data(c: Config, workdir: Path, patience: float) -> Paths:
    """The folders of `data_and_splits`, once the process that leads has made them."""

    def finished(stage: Stage) -> Path:
        wait_for((stage.path / MANIFEST).exists, f"{stage.path}", workdir, patience)
        return stage.path

    data_folder = finished(data.stage(c, workdir))
    return {"data": data_folder, "splits": finished(splits.stage(c, workdir, data_folder))}


def run_variant(name: str, c: Config, folder: Path, paths: Paths, until: str) -> Paths:
    """The folders of all stages of one trained variant up to `until`, after running those that are not finished."""
    if upto("signals", until):
        paths = paths | signals.run(c, folder, paths)
    if upto("attacks", until):
        paths = paths | attacks.run(c, folder, paths)
    if upto("metrics", until):
        paths = paths | inversion.run(c, folder, paths) | attribute.run(c, folder, paths)
        paths = paths | {"metrics": metrics.run(name, c, folder, paths)}
    return paths
