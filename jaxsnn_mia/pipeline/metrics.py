"""The metrics stage."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxsnn_mia.config.specs import bits, privacy
from jaxsnn_mia.data import splits
from jaxsnn_mia.data.prepared import PARTS, candidates
from jaxsnn_mia.kernels import surrogate
from jaxsnn_mia.pipeline.signals import read_signal
from jaxsnn_mia.report.rows import Audit, compute_metrics
from jaxsnn_mia.settings import Config, as_dict
from jaxsnn_mia.store.files import digest, read_array, write_npz
from jaxsnn_mia.store.stage import STAGE_VERSION, provenance, read_manifest, run_stage, stage_path
from jaxsnn_mia.training.loop import valid_shadows

ROLES = ("rows", "population", "validation", "duplicates", "seed")  # settings of the data that tell who is a candidate


def confidence(paths: dict[str, Path]) -> np.ndarray | None:
    """float32 [S, N], the mean over queries, where it was asked for."""
    if "signals/phi" not in paths:
        return None
    phi_sna = read_signal(paths["signals/phi"], "candidates")
    return np.stack([phi_na.mean(-1) for phi_na in phi_sna])


def metrics_stage(name: str, c: Config, folder: Path, paths: dict[str, Path], beyond: tuple[str, ...] = ()) -> Path:
    """results.csv, summary.json and roc.npz of one variant; the stages `beyond` membership have rows of their own."""
    scores = {attack: paths[f"attacks/{attack}"] for attack in c.attacks.names}
    inputs = {
        "variant": name,
        "metrics": as_dict(c.metrics),
        "correct": paths["signals/correct"].parent.name,
        "scores": [path.parent.name for path in scores.values()],
    }
    if "signals/phi" in paths:
        inputs["confidence"] = paths["signals/phi"].parent.name
    if beyond:
        inputs["beyond"] = [paths[stage].name for stage in beyond]
    path = stage_path(folder, "metrics", STAGE_VERSION["metrics"], inputs)

    def work(path: Path) -> None:
        grids = {stage.partition("/")[2]: paths[stage] / "grid.npy" for stage in beyond}
        shown = {name: np.asarray(read_array(grid)) for name, grid in grids.items() if grid.exists()}
        write_npz(path / "grids.npz", shown)
        _, _, unit_n = candidates(paths["data"])
        roles = set(np.unique(read_array(paths["data"] / "role.npy")))

        def correct(part: str) -> np.ndarray | None:
            there = PARTS[part] in roles
            return read_signal(paths["signals/correct"], part)[:, :, 0] if there else None

        valid_s = valid_shadows(paths["train"])
        about = read_manifest(paths["data"])
        keep_sn = np.asarray(read_array(paths["splits"] / "keep.npy"))
        compute_metrics(
            path,
            Audit(
                name=name,
                labels=labels(c, timed=about["timed"]),
                settings=c.metrics,
                keep_sn=keep_sn,
                usable_s=valid_s & valid_s[splits.partners(len(valid_s))],
                pair_s=np.arange(len(valid_s)) // 2,
                unit_n=unit_n,
                correct_sn=correct("candidates"),
                correct_test=correct("test"),
                correct_validation=correct("validation"),
                confidence_sn=confidence(paths),
                data=digest([about["sha256"], *(about["inputs"][name] for name in ROLES)]),
                scores={attack: np.asarray(read_array(file)) for attack, file in scores.items()},
                diverged=int(np.sum(~valid_s)),
                coins=c.splits.rows == "iid",
                privacy=privacy(c, keep_sn),
                stages=[paths[stage].name for stage in beyond],
                beyond=[row for stage in beyond for row in json.loads((paths[stage] / "rows.json").read_text())],
            ),
        )

    return run_stage(path, work, inputs=inputs, **provenance())


def labels(c: Config, *, timed: bool = False) -> dict[str, Any]:
    """The columns that say what a variant's rows are about; `timed`: its data are events."""
    spiking = c.model.family != "ann"
    over_time = spiking or timed or c.model.encoding != "direct" or c.model.architecture == "recurrent"
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
        "slope": (c.model.slope or surrogate.default_slope(c.model.surrogate)) if spiking else "",
        "epoch": c.signals.epoch or c.train.epochs,
    }
