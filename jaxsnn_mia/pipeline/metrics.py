"""The metrics stage: results.csv and summary.json of one variant, from the scores of its attacks."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxsnn_mia import models
from jaxsnn_mia.attacks import references
from jaxsnn_mia.config.specs import bits, privacy
from jaxsnn_mia.data import splits
from jaxsnn_mia.data.prepared import PARTS, canaries, candidates
from jaxsnn_mia.kernels import surrogate
from jaxsnn_mia.metrics import energy
from jaxsnn_mia.models import by_name
from jaxsnn_mia.pipeline import threat
from jaxsnn_mia.pipeline.splits import read_keep, training_keep
from jaxsnn_mia.pipeline.trained import read_signal
from jaxsnn_mia.report.audited import Audit
from jaxsnn_mia.report.rows import compute_metrics
from jaxsnn_mia.settings import CANARIES, Config, as_dict
from jaxsnn_mia.store.files import digest, read_array, write_npz
from jaxsnn_mia.store.stage import Stage, read_manifest
from jaxsnn_mia.store.stage import run as run_stage
from jaxsnn_mia.training.history import valid_shadows

ROLES = ("rows", "population", "validation", "duplicates", "seed")  # settings of the data that tell who is a candidate


def stage(name: str, c: Config, folder: Path, paths: dict[str, Path]) -> Stage:
    """The metrics stage of a variant, on its attacks and on its threats beyond membership."""
    inputs = {
        "variant": name,
        "metrics": as_dict(c.metrics),
        "correct": paths["signals/correct"].name,
        "scores": [paths[f"attacks/{attack}"].name for attack in c.attacks.names],
    }
    if "signals/phi" in paths:
        inputs["confidence"] = paths["signals/phi"].name
    if "signals/rates" in paths:
        inputs["rates"] = paths["signals/rates"].name
    if "signals/trajectory" in paths:
        inputs["losses"] = paths["signals/trajectory"].name
    beyond = beyond_membership(paths)
    if beyond:
        inputs["beyond"] = [path.name for path in beyond.values()]
    return Stage("metrics", folder, inputs)


def run(name: str, c: Config, folder: Path, paths: dict[str, Path]) -> Path:
    """The folder of the metrics stage: results.csv, summary.json, roc.npz, replicates.npz, examples.npz, grids.npz."""

    def make(path: Path) -> None:
        grids = {way: threat.read_grid(of) for way, of in beyond_membership(paths).items()}
        write_npz(path / "grids.npz", {way: grid for way, grid in grids.items() if grid is not None})
        compute_metrics(path, audit(name, c, paths))

    return run_stage(stage(name, c, folder, paths), make)


def beyond_membership(paths: dict[str, Path]) -> dict[str, Path]:
    """The folders of the inversion and attribute stages by the name of the attack."""
    kinds = ("inversion", "attribute")
    return {stage.partition("/")[2]: path for stage, path in paths.items() if stage.partition("/")[0] in kinds}


def audit(name: str, c: Config, paths: dict[str, Path]) -> Audit:
    """What the metrics of a variant are made from, read from its stages."""
    valid_s = valid_shadows(paths["train"])
    about, keep_sn = read_manifest(paths["data"]), read_keep(paths["splits"])
    beyond = beyond_membership(paths)
    roles = (*ROLES, *CANARIES) if c.splits.canaries else ROLES
    return Audit(
        name=name,
        labels=labels(c, timed=about["timed"]),
        settings=c.metrics,
        keep_sn=keep_sn,
        usable_s=references.usable(len(valid_s), splits.partners(len(valid_s)), valid_s),
        pair_s=np.arange(len(valid_s)) // 2,
        unit_n=candidates(paths["data"])[2],
        correct_sn=correct(paths, "candidates"),
        correct_test=correct(paths, "test"),
        correct_validation=correct(paths, "validation"),
        confidence_sn=confidence(paths),
        losses_snt=losses(paths),
        work=work(c, paths, timed=about["timed"]),
        data=digest([about["sha256"], *(about["inputs"][name] for name in roles)]),
        scores={
            attack: np.asarray(read_array(paths[f"attacks/{attack}"] / f"{attack}.npy")) for attack in c.attacks.names
        },
        diverged=int(np.sum(~valid_s)),
        coins=c.splits.rows == "iid",
        canary_n=canaries(paths["data"]),
        privacy=privacy(c, training_keep(paths)),
        stages=[path.name for path in beyond.values()],
        beyond=[row for path in beyond.values() for row in threat.read_rows(path)],
    )


def correct(paths: dict[str, Path], part: str) -> np.ndarray | None:
    """uint8 [S, n]: whether each model is right on the rows of a part of the data; None where it has no rows."""
    if PARTS[part] not in read_array(paths["data"] / "role.npy"):
        return None
    return read_signal(paths, "correct", part)[:, :, 0]


def losses(paths: dict[str, Path]) -> np.ndarray | None:
    """float32 [S, N, T], along the training, where they were asked for."""
    return read_signal(paths, "trajectory") if "signals/trajectory" in paths else None


def work(c: Config, paths: dict[str, Path], *, timed: bool) -> energy.Work | None:
    """What an inference costs, from the firing rates; None where these were not asked for, and for convolutions."""
    if "signals/rates" not in paths or c.model.architecture not in ("dense", "recurrent"):
        return None
    x = candidates(paths["data"])[0]
    features = int(np.prod(x.shape[2:] if timed else x.shape[1:]))
    coded = timed or c.model.encoding != "direct"
    density = {"rate": np.mean(x), "latency": np.mean(x > 0) / c.model.time_steps}
    return energy.work(
        (features, *c.model.hidden, len(read_manifest(paths["data"])["class_names"])),
        np.asarray(read_signal(paths, "rates"))[valid_shadows(paths["train"])],
        c.model.time_steps,
        spiking=c.model.family != "ann",
        recurrent=c.model.architecture == "recurrent",
        input_rate=float(np.mean(x != 0) if timed else density[c.model.encoding]) if coded else None,
    )


def confidence(paths: dict[str, Path]) -> np.ndarray | None:
    """float32 [S, N], the mean over queries, where it was asked for."""
    if "signals/phi" not in paths:
        return None
    return np.stack([phi_na.mean(-1) for phi_na in read_signal(paths, "phi")])


def labels(c: Config, *, timed: bool = False) -> dict[str, Any]:
    """The columns that say what a variant's rows are about; `timed`: its data are events."""
    spiking = c.model.family != "ann"
    over_time = spiking or timed or c.model.encoding != "direct" or c.model.architecture in models.RECURRENT
    return {
        "dataset": c.data.name,
        "family": c.model.family,
        **{f"bits_{part}": width or 32 for part, width in bits(c).items()},
        "quantized": c.quantization.what,
        "bits": c.quantization.bits or 32,
        "surrogate": c.model.surrogate if spiking else "",
        "encoding": "events" if timed else c.model.encoding,
        "T": c.model.time_steps if over_time else 1,
        "seed": c.splits.seed,
        "mode": c.quantization.mode if any(bits(c).values()) else "",
        "readout": c.model.readout if spiking else "",
        "reset": c.model.reset if spiking else "",
        "lr": c.train.lr,
        "slope": (c.model.slope or surrogate.default_slope(by_name.surrogate(c.model.surrogate))) if spiking else "",
        "epoch": c.signals.epoch or c.train.epochs,
    }
