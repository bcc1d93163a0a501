"""The attacks stages: the signals that an attack needs, given to it."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxsnn_mia import attacks
from jaxsnn_mia.data import splits
from jaxsnn_mia.data.prepared import PARTS, candidates, rows_of
from jaxsnn_mia.pipeline.signals import read_signal
from jaxsnn_mia.settings import Config
from jaxsnn_mia.store.files import read_array, write_array
from jaxsnn_mia.store.stage import STAGE_VERSION, provenance, run_stage, stage_path
from jaxsnn_mia.training.loop import valid_shadows


def attacks_stages(c: Config, folder: Path, paths: dict[str, Path]) -> dict[str, Path]:
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
        path = stage_path(folder, "attacks", STAGE_VERSION["attacks"], inputs)

        def work(path: Path, name=name, parts=parts) -> None:
            valid_s = valid_shadows(paths["train"])
            if parts == [name]:
                scores = ready(name, c, paths)(valid_s=valid_s)
            else:
                # an attack that compares with other shadows is run again without the shadows of each fold
                given: dict[str, Any] = {part: ready(part, c, paths) for part in parts}
                partners = splits.partners(len(valid_s))
                scores = attacks.combine.score(given, operand("keep", paths), partner_s=partners, valid_s=valid_s)
            write_array(path / f"{name}.npy", scores)

        found[f"attacks/{name}"] = run_stage(path, work, inputs=inputs, **provenance()) / f"{name}.npy"
    return found


def ready(name: str, c: Config, paths: dict[str, Path]) -> Callable[..., np.ndarray]:
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
        return np.asarray(read_array(paths["splits"] / "keep.npy"))
    if need == "labels":
        return candidates(paths["data"])[1]
    name, part = (need.removesuffix("_population"), "population" if need.endswith("_population") else "candidates")
    if name == "x":
        return rows_of(paths["data"], PARTS[part])[0]
    return read_signal(paths[f"signals/{name}"], part)
