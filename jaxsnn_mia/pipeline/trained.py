"""The trained models of a run: opened once, then asked for parameters, states and answers.

from jaxsnn_mia.pipeline import trained

run = trained.load("runs/quickstart", "digits-snn")
run.keep, run.valid, run.signal("phi"), run.scores("lira")
run.params(3), run.apply(3, x), run.logits(x)
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxsnn_mia import config, models
from jaxsnn_mia.config import sweep
from jaxsnn_mia.config.specs import training_inputs
from jaxsnn_mia.data import splits
from jaxsnn_mia.data.prepared import PARTS, canaries, candidates, rows_of
from jaxsnn_mia.pipeline.splits import read_keep, training_keep
from jaxsnn_mia.runtime import stopping
from jaxsnn_mia.settings import Config
from jaxsnn_mia.signals import catalogue
from jaxsnn_mia.store.files import StoreError, read_array
from jaxsnn_mia.store.stage import MANIFEST, read_manifest
from jaxsnn_mia.training.ensemble import Ensemble, Shadows, make_ensemble
from jaxsnn_mia.training.groups import load_group
from jaxsnn_mia.training.history import valid_shadows
from jaxsnn_mia.training.inputs import Inputs, first_rows, repeat_last
from jaxsnn_mia.training.plan import read_plan
from jaxsnn_mia.training.step import State, TrainSpec, make_train

ROWS_AT_ONCE = 1024  # examples of a forward pass


class Models(NamedTuple):
    """Trained models, each array with a leading axis G: their states, and what tells them apart."""

    state: State
    shadows: Shadows
    real: int  # the first so many; those behind repeat the last one


@dataclasses.dataclass(frozen=True)
class Trained:
    """The trained models of one variant.

    `config`: its settings; `paths`: the folder of each of its stages; `inputs`: what it was trained with, in which a
    caller may replace `spec` by one of the same parameters.
    """

    config: Config
    paths: dict[str, Path]
    inputs: Inputs

    # -- what was trained, on what

    @property
    def spec(self) -> TrainSpec:
        """The static part of the training; `spec.model` is that of the network."""
        return self.inputs.spec

    @property
    def hyper(self) -> models.Hyper:
        """The traced settings, such as the learning rate and the largest codes of a quantization."""
        return self.inputs.hyper

    @property
    def x(self) -> np.ndarray:
        """The candidates [N, ...], as the models see them."""
        return self.inputs.data[0][: self.keep.shape[1]]  # behind them stand rows that train in every model

    @property
    def y(self) -> np.ndarray:
        """Their labels, int [N]."""
        return self.inputs.data[1][: self.keep.shape[1]]

    @functools.cached_property
    def unit_n(self) -> np.ndarray:
        """int [N]: candidates with the same number are duplicates."""
        return candidates(self.paths["data"])[2]

    @functools.cached_property
    def canary_n(self) -> np.ndarray:
        """bool [N]: which candidates are canaries."""
        marked_n = canaries(self.paths["data"])
        return np.zeros(len(self.y), bool) if marked_n is None else marked_n

    @functools.cached_property
    def keep(self) -> np.ndarray:
        """bool [S, N]: which model was trained on which candidate."""
        return read_keep(self.paths["splits"])

    @functools.cached_property
    def valid(self) -> np.ndarray:
        """bool [S]: the models that did not diverge."""
        return valid_shadows(self.paths["train"])

    # -- what the stages after the training made of it

    def signal(self, name: str, part: str = "candidates") -> np.ndarray:
        """A signal of the run [S, N, A, ...]: "phi", "logp", ... (`signals.SIGNALS`), of the candidates, or of the
        "population", "validation" or "test" rows. ValueError for one that the run does not have."""
        self.folder("signals", name)
        return read_signal(self.paths, name, part)

    def scores(self, attack: str) -> np.ndarray:
        """The scores of an attack, float32 [S, N], higher = more likely a member; NaN for diverged models and their
        partners. ValueError for an attack that the run does not have."""
        return np.asarray(read_array(self.folder("attacks", attack) / f"{attack}.npy"))

    def folder(self, kind: str, name: str) -> Path:
        """The folder of a stage "signals" or "attacks" of that name."""
        known = [stage.partition("/")[2] for stage in self.paths if stage.startswith(f"{kind}/")]
        if name not in known:
            raise ValueError(f"`name` must be one of the {kind} {known} of this run, got {name!r}.")
        return self.paths[f"{kind}/{name}"]

    # -- the models themselves

    def params(self, shadow: int, epoch: int | None = None) -> dict:
        """The variables of one model as numpy arrays: {"params", "statistics"}; after `epoch` epochs, one of
        train.snapshot_epochs, or after all."""
        return self.state(shadow, epoch).params

    def state(self, shadow: int, epoch: int | None = None) -> State:
        """The state of one model, see `training.step.State`."""
        if not 0 <= shadow < len(self.keep):
            raise ValueError(f"`shadow` must be in [0, {len(self.keep)}), got {shadow}.")
        group, place = divmod(shadow, self.plan["group_size"])
        return jax.tree.map(lambda a: np.asarray(a)[place], self.group(group, epoch).state)

    def apply(self, shadow: int, x: np.ndarray, epoch: int | None = None) -> models.Output:
        """What one model answers on examples x [n, ...], as in the data stage: an `Output`, whose logits_bc are
        [n, C]. Defences do not act on it."""
        state = self.state(shadow, epoch)
        return make_train(self.spec).apply(state.params, state.norm, x, self.hyper, jax.random.key(0))

    def logits(self, x: np.ndarray) -> np.ndarray:
        """float32 [S, n, C]: what all models answer on examples x [n, ...], as in the data stage, under the defence of
        the run."""
        labels = np.zeros(len(x), np.int32)  # logits need none
        query = catalogue.Query(("logits",), 1, self.config.defence)
        parts = [part["logits"] for part in self.ask(query, x, labels, self.config.signals.epoch or None)]
        return np.concatenate(parts)[:, :, 0]

    # -- for the stages: whole groups at once

    @functools.cached_property
    def plan(self) -> dict[str, Any]:
        """plan.json of the training: "group_size", "groups", "width", ..."""
        return read_plan(self.paths["train"])

    @functools.cached_property
    def devices(self) -> list:
        """Those of this process that the settings allow."""
        return jax.local_devices()[: self.config.ensemble.devices or None]

    @property
    def width(self) -> int:
        """Models that are asked together on a device: as many as were trained together, or fewer where a group is
        smaller."""
        return min(self.plan["width"], -(-self.plan["group_size"] // len(self.devices)))

    def ensemble(self, width: int) -> Ensemble:
        """The compiled functions for groups of these models."""
        return make_ensemble(self.spec, seed=self.inputs.seed, width=width, devices=self.devices)

    def group(self, group: int, epoch: int | None = None, width: int = 1) -> Models:
        """The real models of a group, and its shadows padded for a width. Raises StoreError where its checkpoint is not
        whole."""
        plan = {**self.plan, "width": width}
        trained, shadows, real = load_group(
            self.paths["train"], self.inputs, self.ensemble(width), plan, group, len(self.devices), epoch
        )
        return Models(trained.state, shadows, real)

    def chosen(self, at_s: np.ndarray, epoch: int | None = None) -> Models:
        """The models of these numbers, in ascending order, repeated up to a multiple of the devices."""
        size, parts = self.plan["group_size"], []
        for group in range(self.plan["groups"]):
            whole = self.group(group, epoch)
            own = at_s[at_s // size == group] - group * size
            parts.append(jax.tree.map(lambda a, own=own: np.asarray(a)[own], (whole.state, whole.shadows)))
        state, shadows = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        padded = -(-len(at_s) // len(self.devices)) * len(self.devices)
        return Models(repeat_last(state, padded), repeat_last(shadows, padded), len(at_s))

    def ask(self, query: Callable, x: Any, y: Any, epoch: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        """{name: [G, n, ...]} of each group: what `query`, as `Ensemble.query` takes it, gives on x [n, ...], y [n]."""
        run = self.ensemble(self.width).query(query)
        for group in range(self.plan["groups"]):
            yield answers(run, self.group(group, epoch, self.width), x, y)


def answers(run: Callable, asked: Models, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """{name: [G, n, ...]} of the real models of a group, block after block of the examples."""
    state = repeat_last(asked.state, len(asked.shadows.ids))
    whole: dict[str, np.ndarray] = {}
    for block in blocks(len(x)):
        stopping.check()
        for name, part in first_rows(run(state, asked.shadows, x[block], y[block]), asked.real).items():
            whole.setdefault(name, np.empty((asked.real, len(x), *part.shape[2:]), part.dtype))[:, block] = part
    return whole


def blocks(n: int) -> list[slice]:
    """Slices of one length that cover n examples, the last one overlapping: one compiled shape."""
    count = -(-n // ROWS_AT_ONCE)
    size = -(-n // count)
    return [slice(min(i, n - size), min(i, n - size) + size) for i in range(0, n, size)]


def load_inputs(c: Config, paths: dict[str, Path]) -> Inputs:
    """What the training of a variant needs, from its data and splits."""
    keep_sn = training_keep(paths)
    x, y, _ = candidates(paths["data"])
    if keep_sn.shape[1] > len(x):
        always_x, always_y, _ = rows_of(paths["data"], splits.ALWAYS)
        x, y = np.concatenate([x, always_x]), np.concatenate([y, always_y])
    about = read_manifest(paths["data"])
    return training_inputs(
        c, x, y, len(about["class_names"]), keep_sn,
        validation=rows_of(paths["data"], splits.VALIDATION)[:2], pixels=about["pixels"], timed=about["timed"],
    )  # fmt: skip


def opened(c: Config, paths: dict[str, Path]) -> Trained:
    """The trained models of a variant whose stages are in `paths`."""
    return Trained(c, paths, load_inputs(c, paths))


def load(workdir: str | Path, variant: str) -> Trained:
    """The trained models of a finished run, with its signals and scores.

    Args:
      workdir: the folder that `experiments/run.py --workdir` wrote; it may have been moved.
      variant: a name in it, such as "digits-snn".

    Raises:
      StoreError: no finished run is there.
      ValueError: it has no variant of that name.
    """
    workdir = Path(workdir)
    try:
        stages = json.loads((workdir / "summary.json").read_text())["stages"]
        settings = json.loads((workdir / "config.json").read_text())["config"]
    except (OSError, ValueError, KeyError):
        raise StoreError(
            f"{workdir} holds no finished run: config.json and summary.json are missing or damaged. Run "
            "experiments/run.py with this --workdir up to the report."
        ) from None
    if variant not in stages:
        raise ValueError(f"`variant` must be one of {sorted(stages)} in {workdir}, got {variant!r}.")
    if "train" not in stages[variant]:
        raise StoreError(f"{workdir} holds an audit of arrays, which has no trained models.")
    c = sweep.variants(config.from_dict(settings))[variant]
    return opened(c, {stage: stage_folder(workdir / path) for stage, path in stages[variant].items()})


def stage_folder(path: Path) -> Path:
    """The folder of a stage; earlier runs named a file or a folder inside it."""
    return path if (path / MANIFEST).exists() else path.parent


def read_signal(paths: dict[str, Path], name: str, part: str = "candidates") -> np.ndarray:
    """[S, N, A, ...]: all groups of a signal on a part of the data; memory-mapped where there is one group."""
    if part not in PARTS:
        raise ValueError(f"`part` must be one of {sorted(PARTS)}, got {part!r}.")
    files = sorted((paths[f"signals/{name}"] / name).glob(f"{part}-*.npy"))
    arrays = [read_array(file) for file in files]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
