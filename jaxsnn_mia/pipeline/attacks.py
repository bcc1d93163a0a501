"""The attacks stages: the signals that an attack needs, given to it."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxsnn_mia import attacks, models
from jaxsnn_mia.data import splits
from jaxsnn_mia.data.prepared import PARTS, candidates, rows_of
from jaxsnn_mia.pipeline.splits import read_keep
from jaxsnn_mia.pipeline.trained import read_signal
from jaxsnn_mia.settings import Config
from jaxsnn_mia.store.files import file_sha256, write_array
from jaxsnn_mia.store.stage import Stage
from jaxsnn_mia.store.stage import run as run_stage
from jaxsnn_mia.training.history import valid_shadows


def stage(name: str, c: Config, folder: Path, paths: dict[str, Path]) -> Stage:
    """The stage of one attack of the settings."""
    parts = combined(name, c)
    signals = attacks.signals_of(tuple(parts))
    inputs = {
        "name": name,
        "splits": paths["splits"].name,
        "signals": [paths[f"signals/{signal}"].name for signal in signals],
        "combined": parts,
    }
    if ":" in name:  # of the caller's own
        inputs["source"] = file_sha256(Path(inspect.getfile(attacks.named(name).fn)))
    return Stage("attacks", folder, inputs)


def run(c: Config, folder: Path, paths: dict[str, Path]) -> dict[str, Path]:
    """The folders of the attacks stages: attacks-<hash>/NAME.npy float32 [S, N]. One that combines others comes
    last."""
    made = {}
    for name in sorted(c.attacks.names, key=is_combination):

        def make(path: Path, name: str = name) -> None:
            write_array(path / f"{name}.npy", scores(name, c, paths))

        made[f"attacks/{name}"] = run_stage(stage(name, c, folder, paths), make)
    return made


def is_combination(name: str) -> bool:
    """Whether an attack is made of the scores of others."""
    return "scores" in attacks.named(name).needs


def combined(name: str, c: Config) -> list[str]:
    """The attacks that go into this one: itself, or those of the settings that it combines."""
    if not is_combination(name):
        return [name]
    return [part for part in c.attacks.names if part not in attacks.LEARNED]


def scores(name: str, c: Config, paths: dict[str, Path]) -> np.ndarray:
    """float32 [S, N] of one attack."""
    valid_s = valid_shadows(paths["train"])
    if not is_combination(name):
        return ready(name, c, paths)(valid_s=valid_s)
    # an attack that compares with other shadows is run again without the shadows of each fold
    given: dict[str, Any] = {part: ready(part, c, paths) for part in combined(name, c)}
    partner_s = splits.partners(len(valid_s))
    return attacks.combine.score(given, operand("keep", paths), partner_s=partner_s, valid_s=valid_s)


def ready(name: str, c: Config, paths: dict[str, Path]) -> Callable[..., np.ndarray]:
    """An attack with everything that it needs but valid_s."""
    attack = attacks.named(name)
    options: dict[str, Any] = {}
    arrays = [operand(need, paths) for need in attack.needs]
    if "keep" in attack.needs:
        options["partner_s"] = splits.partners(len(arrays[attack.needs.index("keep")]))
    counts = c.model.readout in models.COUNTED and not c.defence.round_digits
    if name.startswith("lira") and name != "lira_multivariate" and counts:
        step = 1 / c.model.population if c.model.readout == "population" else 1  # between counts of spikes
        options["sigma_floor"] = step / 12**0.5 / c.defence.temperature  # the deviation of rounding to it
    return functools.partial(attack.fn, *arrays, **options)


def operand(need: str, paths: dict[str, Path]) -> Any:
    """What an attack needs, by the names of `attacks.Attack`."""
    if need == "keep":
        return read_keep(paths["splits"])
    if need == "labels":
        return candidates(paths["data"])[1]
    name = need.removesuffix("_population")
    part = "candidates" if name == need else "population"
    if name == "x":
        return rows_of(paths["data"], PARTS[part])[0]
    return read_signal(paths, name, part)
