"""The list of stages from a config to a report. Each: done? else run."""

import dataclasses
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxsnn_mia import attacks, config, preparing, results, shadows, signals, splits, stages, stopping, store
from jaxsnn_mia.distributed import POLL_SECONDS, Share, wait_for
from jaxsnn_mia.ensemble import make_ensemble
from jaxsnn_mia.report import page
from jaxsnn_mia.work import Work, first_rows, prepare, privacy, repeat_last

ALONE = Share()
PARTS = {
    "candidates": splits.CANDIDATE,
    "population": splits.POPULATION,
    "validation": splits.VALIDATION,
    "test": splits.TEST,
}


def run(c: config.Config, workdir: Path, *, until: str = "report", share: Share = ALONE) -> None:
    """Runs every stage of every variant up to `until`; the processes of `share` divide the training.

    Raises ValueError for data that does not fit the config, StoreError for a workdir that cannot be used.
    """
    variants = config.variants(c)
    if share.rank:
        if stages.upto("train", until):
            wait_for((workdir / "config.json").exists, f"{workdir / 'config.json'}", workdir)
            store.check_claim(workdir, config.as_dict(c), config.FOLLOWING)
            shared = {name: wait_for_data(variant, workdir) for name, variant in variants.items()}
            train_stages(variants, workdir, shared, share)
            while jax.process_count() > 1 and store.is_locked(workdir):  # one job ends together
                time.sleep(POLL_SECONDS)
        return
    with store.lock(workdir):
        store.check_claim(workdir, config.as_dict(c), config.FOLLOWING)
        shared = {name: preparing.prepared(v, workdir) for name, v in variants.items()}  # all data is checked first
        store.claim(workdir, config.as_dict(c))
        if stages.upto("train", until):
            shared = train_stages(variants, workdir, shared, share)
        metrics = {}
        for name, variant in variants.items():
            stopping.check()
            paths = run_variant(name, variant, workdir / name, shared[name], until)
            if stages.upto("metrics", until):
                metrics[name] = paths["metrics"]
        if until == "report":
            page.write(config.as_dict(c), workdir, metrics, title=c.report.title, level=c.metrics.level)


def wait_for_data(c: config.Config, workdir: Path) -> dict[str, Path]:
    """The data and splits folders of a variant that process 0 leads, once they are there."""
    paths = {"data": preparing.data_path(c, workdir)[0]}
    wait_for((paths["data"] / store.MANIFEST).exists, f"{paths['data']}", workdir)
    paths["splits"] = preparing.splits_path(c, workdir, paths["data"])[0]
    wait_for((paths["splits"] / store.MANIFEST).exists, f"{paths['splits']}", workdir)
    return paths


def run_variant(name: str, c: config.Config, folder: Path, paths: dict[str, Path], until: str) -> dict[str, Path]:
    """The folders of all stages of one trained variant up to `until`, after running those that are not done."""
    paths = dict(paths)
    if stages.upto("signals", until):
        paths |= signals_stages(c, folder, paths)
    if stages.upto("attacks", until):
        paths |= attacks_stages(c, folder, paths)
    if stages.upto("metrics", until):
        paths["metrics"] = metrics_stage(name, c, folder, paths)
    return paths


def load_work(c: config.Config, paths: dict[str, Path]) -> Work:
    x, y, _ = preparing.candidates(paths["data"])
    about_data = stages.manifest(paths["data"])
    keep_sn = np.asarray(store.read_array(paths["splits"] / "keep.npy"))
    validation = preparing.rows_of(paths["data"], splits.VALIDATION)[:2]
    return prepare(
        c,
        x,
        y,
        len(about_data["class_names"]),
        keep_sn,
        validation=validation,
        pixels=about_data["pixels"],
        timed=about_data["timed"],
    )


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
        if found[name][0].parent.name == name and not store.is_done(found[name][0]):
            works[name] = load_work(c, shared[name])
            program = [repr(works[name].spec), works[name].seed, config.as_dict(c.ensemble), shared[name]["splits"]]
            ensembles.setdefault(store.digest(program), []).append(name)
    for names in ensembles.values():
        start = time.time()
        members = [shadows.Member(found[name][0], variants[name], works[name]) for name in names]
        shadows.train_all(members, share)
        for name in names if not share.rank else ():
            path, inputs = found[name]
            store.finish(path, stage=path.name, inputs=inputs, members=names,
                         seconds=round(time.time() - start, 3), finished=time.ctime(), **stages.about())  # fmt: skip
    return {name: paths | {"train": found[name][0]} for name, paths in shared.items()}


def signals_stages(c: config.Config, folder: Path, paths: dict[str, Path]) -> dict[str, Path]:
    """A stage for each signal: signals-<hash>/NAME/PART-GROUP.npy [G, N, A, ...]; one pass computes all missing."""
    wanted = signals.names((*c.signals.names, "correct", *attacks.signals_of(c.attacks.names)))
    inputs = {name: {"name": name, "queries": c.signals.queries, "train": paths["train"].name} for name in wanted}
    for name in set(wanted) - set(signals.PAST_DEFENCE) if c.defence.on else ():
        inputs[name]["defence"] = config.as_dict(c.defence)
    found = {
        name: store.stage_path(folder, "signals", stages.STAGE_VERSION["signals"], inputs[name]) for name in wanted
    }
    missing = [name for name in wanted if not store.is_done(found[name])]
    if missing:
        start = time.time()
        query_all(c, paths, {name: found[name] / name for name in missing})
        for name in missing:
            store.finish(found[name], stage=found[name].name, inputs=inputs[name],
                         seconds=round(time.time() - start, 3), **stages.about())  # fmt: skip
    return {f"signals/{name}": found[name] / name for name in wanted}


def query_all(c: config.Config, paths: dict[str, Path], folders: dict[str, Path]) -> None:
    """Queries every shadow on every row of the data set, group after group."""
    loaded = load_work(c, paths)
    used = jax.local_devices()[: c.ensemble.devices or None]
    plan = json.loads((paths["train"] / "plan.json").read_text())
    plan["width"] = min(plan["width"], -(-plan["group_size"] // len(used)))  # members are queried one after the other
    x, y, role_n = (np.asarray(store.read_array(paths["data"] / f"{n}.npy")) for n in ("x", "y", "role"))
    asked: dict[tuple, list[str]] = {}  # (time steps, epochs) -> signals of one pass
    for name in folders:
        epochs = c.train.snapshot_epochs if name == "trajectory" else ()
        asked.setdefault((signals.LONGER.get(name, 1), epochs), []).append(name)
    for (longer, epochs), names in asked.items():
        model = dataclasses.replace(loaded.spec.model, time_steps=longer * loaded.spec.model.time_steps)
        work = loaded._replace(spec=dataclasses.replace(loaded.spec, model=model))
        ensemble = make_ensemble(work.spec, seed=work.seed, width=plan["width"], devices=used)
        query = ensemble.query(signals.compute(tuple(names), c.signals.queries, c.defence))
        for group in tqdm(range(plan["groups"]), desc=f"query {paths['train'].parent.name}", leave=False):
            parts = [
                query_group(paths["train"], work, ensemble, plan, group, len(used), query, (x, y), epoch)
                for epoch in (*epochs, None)
            ]
            for name in names:
                array = np.concatenate([part[name] for part in parts], axis=2) if epochs else parts[0][name]
                for part_name, role in PARTS.items():
                    if (role_n == role).any():
                        signals.write(folders[name], part_name, group, array[:, role_n == role])


def query_group(folder, work, ensemble, plan, group, n_devices, query, data, epoch) -> dict[str, np.ndarray]:
    """{signal: [G, N, A, ...]} of the trained models of a group, or of those after `epoch` epochs."""
    trained, batch, real = shadows.load_group(folder, work, ensemble, plan, group, n_devices, epoch)
    state = repeat_last(trained.state, len(batch.ids))
    x, y = data
    whole: dict[str, np.ndarray] = {}
    for block in signals.blocks(len(x)):
        for name, part in first_rows(query(state, batch, x[block], y[block]), real).items():
            whole.setdefault(name, np.empty((real, len(x), *part.shape[2:]), part.dtype))[:, block] = part
    return whole


def attacks_stages(c: config.Config, folder: Path, paths: dict[str, Path]) -> dict[str, Path]:
    """A stage for each attack: attacks-<hash>/NAME.npy float32 [S, N]; one that combines others comes last."""
    found: dict[str, Path] = {}
    for name in sorted(c.attacks.names, key=lambda name: "scores" in attacks.ATTACKS[name].needs):
        combined = [part for part in c.attacks.names if part not in attacks.LEARNED]
        parts = combined if "scores" in attacks.ATTACKS[name].needs else [name]
        used = [f"signals/{signal}" for signal in attacks.signals_of(tuple(parts))]
        inputs = {
            "name": name,
            "splits": paths["splits"].name,
            "signals": [paths[u].parent.name for u in used],
            "combined": parts,
        }
        path = store.stage_path(folder, "attacks", stages.STAGE_VERSION["attacks"], inputs)

        def work(path: Path, name=name, parts=parts) -> None:
            valid_s = shadows.valid(paths["train"])
            if parts == [name]:
                scores = ready(name, c, paths)(valid_s=valid_s)
            else:
                # an attack that compares with other shadows is run again without the shadows of each fold
                given: dict[str, Any] = {part: ready(part, c, paths) for part in parts}
                partners = splits.partners(len(valid_s))
                scores = attacks.combine.score(given, operand("keep", paths), partner_s=partners, valid_s=valid_s)
            store.write_array(path / f"{name}.npy", scores)

        found[f"attacks/{name}"] = store.run_stage(path, work, inputs=inputs, **stages.about()) / f"{name}.npy"
    return found


def ready(name: str, c: config.Config, paths: dict[str, Path]) -> Callable[..., np.ndarray]:
    """An attack with everything that it needs but valid_s."""
    attack = attacks.ATTACKS[name]
    options: dict[str, Any] = {}
    arrays = [operand(need, paths) for need in attack.needs]
    if "keep" in attack.needs:
        options["partner_s"] = splits.partners(len(arrays[attack.needs.index("keep")]))
    whole = c.model.readout == "spike_count" and not c.defence.round_digits
    if name.startswith("lira") and name != "lira_multivariate" and whole:
        options["sigma_floor"] = 1 / 12**0.5 / c.defence.temperature  # spike counts: rounding to steps of one
    return functools.partial(attack.fn, *arrays, **options)


def operand(need: str, paths: dict[str, Path]) -> Any:
    """What an attack needs, by the names of `attacks.Attack`."""
    if need == "keep":
        return np.asarray(store.read_array(paths["splits"] / "keep.npy"))
    if need == "labels":
        return preparing.candidates(paths["data"])[1]
    name, part = (need.removesuffix("_population"), "population" if need.endswith("_population") else "candidates")
    if name == "x":
        return preparing.rows_of(paths["data"], PARTS[part])[0]
    return signals.read(paths[f"signals/{name}"], part)


def metrics_stage(name: str, c: config.Config, folder: Path, paths: dict[str, Path]) -> Path:
    """results.csv, summary.json and roc.npz of one variant."""
    scores = {attack: paths[f"attacks/{attack}"] for attack in c.attacks.names}
    inputs = {
        "variant": name,
        "metrics": config.as_dict(c.metrics),
        "correct": paths["signals/correct"].parent.name,
        "scores": [path.parent.name for path in scores.values()],
    }
    path = store.stage_path(folder, "metrics", stages.STAGE_VERSION["metrics"], inputs)

    def work(path: Path) -> None:
        _, _, unit_n = preparing.candidates(paths["data"])
        tests = (store.read_array(paths["data"] / "role.npy") == splits.TEST).any()
        valid_s = shadows.valid(paths["train"])
        keep_sn = np.asarray(store.read_array(paths["splits"] / "keep.npy"))
        results.write(
            path,
            results.Audit(
                name=name,
                labels=results.labels(c, timed=stages.manifest(paths["data"])["timed"]),
                settings=c.metrics,
                keep_sn=keep_sn,
                usable_s=valid_s & valid_s[splits.partners(len(valid_s))],
                pair_s=np.arange(len(valid_s)) // 2,
                unit_n=unit_n,
                correct_sn=signals.read(paths["signals/correct"], "candidates")[:, :, 0],
                correct_test=signals.read(paths["signals/correct"], "test")[:, :, 0] if tests else None,
                scores={attack: np.asarray(store.read_array(file)) for attack, file in scores.items()},
                diverged=int(np.sum(~valid_s)),
                coins=c.splits.rows == "iid",
                privacy=privacy(c, keep_sn),
            ),
        )

    return store.run_stage(path, work, inputs=inputs, **stages.about())
