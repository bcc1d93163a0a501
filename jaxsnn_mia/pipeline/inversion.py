"""The inversion stages: inputs reconstructed from trained models, of all models at once, and what they leak."""

import dataclasses
import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.config import against_data
from jaxsnn_mia.data import splits
from jaxsnn_mia.data.prepared import candidates, rows_of
from jaxsnn_mia.pipeline import inversion_rows, threat, trained
from jaxsnn_mia.pipeline.trained import Trained
from jaxsnn_mia.reconstruction import decoder, gradients, inversion
from jaxsnn_mia.settings import Config, Inversion, as_dict
from jaxsnn_mia.store.files import write_array
from jaxsnn_mia.store.stage import Stage
from jaxsnn_mia.store.stage import run as run_stage
from jaxsnn_mia.training.inputs import first_rows

CLASSES = ("white_class", "spikes")  # reconstruct classes
BATCHES = ("gradients", "gradients_layer", "gradients_ratio")  # of clients; the others examples


class Box(NamedTuple):
    """x = low + span z, with z [..., D] where the population spans [0, 1]; shape of one example."""

    low: np.ndarray
    span: np.ndarray
    shape: tuple[int, ...]

    def inside(self, x: np.ndarray) -> np.ndarray:
        """z [N, D] of examples x [N, ...]."""
        flat = np.asarray(x, np.float32).reshape(len(x), -1)
        return (flat - self.low) / self.span


class Scene(NamedTuple):
    """What the attacker looks at: population and targets [K, D] in the box, with labels and numbers of candidates."""

    box: Box
    population: tuple[np.ndarray, np.ndarray]
    targets: tuple[np.ndarray, np.ndarray]
    at_k: np.ndarray


def scene(c: Config, data_folder: Path) -> Scene:
    """The targets are drawn from the candidates; the box is that of the population, or [0, 1] of spikes."""
    public, y_z, _ = rows_of(data_folder, splits.POPULATION)
    x, y, unit_n = candidates(data_folder)
    flat = np.asarray(public, np.float32).reshape(len(public), -1)
    if x.dtype == np.uint8:
        low, span = np.zeros(flat.shape[1], np.float32), np.full(flat.shape[1], 255.0, np.float32)
    elif c.model.encoding == "rate":
        low, span = np.zeros(flat.shape[1], np.float32), np.ones(flat.shape[1], np.float32)
    else:
        low, span = flat.min(0), np.ptp(flat, axis=0)
        span = np.where(span > 0, span, np.float32(1.0))  # what does not vary there may vary elsewhere
    box = Box(low, span, x.shape[1:])
    first = np.sort(np.unique(unit_n, return_index=True)[1])  # of duplicates one
    rng = np.random.default_rng(c.inversion.seed)
    at_k = np.sort(rng.permutation(first)[: c.inversion.targets])
    return Scene(box, (box.inside(public), y_z), (box.inside(x[at_k]), y[at_k]), at_k)


def stage(name: str, c: Config, folder: Path, paths: dict[str, Path]) -> Stage:
    """The stage of one way of reconstruction."""
    settings = {key: value for key, value in as_dict(c.inversion).items() if key != "names"}
    inputs = {"name": name, "settings": settings, "metrics": as_dict(c.metrics), "epoch": c.signals.epoch,
              "train": paths["train"].name, "splits": paths["splits"].name}  # fmt: skip
    if c.inversion.tv:
        inputs["total_variation"] = "mean"  # runs before this one weighed a sum
    return Stage("inversion", folder, inputs)


def run(c: Config, folder: Path, paths: dict[str, Path]) -> dict[str, Path]:
    """The folders of the inversion stages: inversion-<hash>/z.npy float32 [S, K, D] (of clients z1, z4, ...), grid.npy
    for the report, and what `threat.write` writes."""
    made = {}
    for name in c.inversion.names:

        def make(path: Path, name: str = name) -> None:
            reconstruct(name, trained.opened(c, paths), path)

        made[f"inversion/{name}"] = run_stage(stage(name, c, folder, paths), make)
    return made


def reconstruct(name: str, models: Trained, path: Path) -> None:
    """Writes the reconstructions of one way and the rows that measure them."""
    c, s = models.config, scene(models.config, models.paths["data"])
    usable_s = models.valid & models.valid[splits.partners(len(models.valid))]
    at_s = np.flatnonzero(usable_s)[: c.inversion.shadows or None]
    keep_sn = models.keep[at_s]
    if name in BATCHES:
        sizes = (1,) if name == "gradients_ratio" else c.inversion.batch_sizes
        arrays = {f"z{size}": ask(models, s, at_s, name, size) for size in sizes}
        rows = [row for size in sizes for row in inversion_rows.of_batches(c, s, at_s, arrays[f"z{size}"], size)]
    elif name in CLASSES:
        arrays = {"z": ask(models, s, at_s, name)}
        rows = inversion_rows.of_classes(c, s, models.x, models.y, keep_sn, at_s, arrays["z"])
    else:
        arrays = {"z": ask(models, s, at_s, name)}
        rows = inversion_rows.of_examples(c, s, keep_sn[:, s.at_k], at_s, arrays["z"])
    shown = inversion_rows.grid(c, s, next(iter(arrays.values())), name in CLASSES)
    if shown is not None:
        arrays["grid"] = shown
    for array_name, array in arrays.items():
        write_array(path / f"{array_name}.npy", array)
    targets = np.arange(arrays["z"].shape[1]) if name in CLASSES else s.at_k
    threat.write(path, f"inversion_{name}", rows, at_s, targets)


def ask(models: Trained, s: Scene, at_s: np.ndarray, name: str, size: int = 0) -> np.ndarray:
    """z [S, K, D] of the models `at_s`, of one program."""
    c = models.config
    rate = c.model.encoding == "rate"
    if rate:  # the network takes spikes that are made here, so that a gradient gets through
        network = models.spec.model
        shape = (network.time_steps, *network.in_shape)
        network = dataclasses.replace(network, timed=True, in_shape=shape, encoding="direct")
        spec = dataclasses.replace(models.spec, model=network)
        models = dataclasses.replace(models, inputs=models.inputs._replace(spec=spec))
    asked = models.chosen(at_s, c.signals.epoch or None)
    image = against_data.image_of(c, s.box.shape)
    steps, n_classes = (c.model.time_steps if rate else 0), models.spec.model.n_classes
    kind = Kind(name, c.inversion, steps, s.box.shape, image, n_classes, size)
    shared = tuple(map(jnp.asarray, (s.box.low[None], s.box.span[None], s.population[0], *s.targets)))
    run_query = models.ensemble(1).query(kind)
    return np.asarray(first_rows(run_query(asked.state, asked.shadows, shared, ())["z"], asked.real))


@dataclasses.dataclass(frozen=True)
class Kind:
    """A way of reconstructing: fn(apply, params, x, y, hyper, key) -> {"z": [K, D]} of ONE model, as `Ensemble.query`
    takes it. Kinds are compared by value: equal ones are one compiled program.

    `steps`: of a rate-coded input (0: analogue); `shape`: of an example; `size`: of a client's batch.
    """

    name: str
    how: Inversion
    steps: int
    shape: tuple[int, ...]
    image: tuple[int, int, int] | None
    n_classes: int
    size: int

    def __call__(self, apply, params, x, y, hyper, key):
        how = self.how
        ascent = inversion.Ascent(how.steps, how.lr, how.tv, how.l2, 0.0, 1.0, how.process_every)
        low, span, z_public, z_k, y_k = x

        def of_spikes(spikes_trd, key):
            moved = low[None] + span[None] * jnp.moveaxis(spikes_trd, 0, 1)
            return apply(params, moved.reshape(*moved.shape[:2], *self.shape), hyper, key).logits_bc

        def analogue(z_rd, key):
            return apply(params, (low + span * z_rd).reshape(-1, *self.shape), hyper, key).logits_bc

        logits_of = inversion.through_rate(of_spikes, self.steps) if self.steps else analogue
        start, run = jax.random.split(key)
        if self.name == "black":
            public, asked = (decoder.features(logits_of(z, run), how.keep or None) for z in (z_public, z_k))
            return {"z": decoder.decode(decoder.train(start, public, z_public, decoder.Settings()), asked)}
        if self.name in BATCHES:
            return {"z": from_gradients(apply, params, (low, span, z_k, y_k), hyper, key, self)}
        wanted = jnp.arange(self.n_classes)
        if self.name == "white_example":
            wanted = jax.nn.softmax(logits_of(z_k, run))
        count = len(wanted)
        wanted = jnp.repeat(wanted, how.restarts, axis=0)
        if self.name == "spikes":
            begin = jax.random.normal(start, (self.steps, len(wanted), low.shape[1]))
            box = ascent._replace(low=-2.0, high=2.0)
            z_rd, _, score_r = inversion.invert_spikes(of_spikes, begin, wanted, box, run, image=self.image)
        else:
            begin = jax.random.uniform(start, (len(wanted), low.shape[1]))
            z_rd, score_r = inversion.invert(logits_of, begin, wanted, ascent, run, image=self.image)
        return {"z": inversion.best(z_rd, score_r, count)[0]}


def from_gradients(apply, params, given, hyper, key, kind: Kind):
    """[K, D]: the targets in batches of `size`, each from the gradient of a client that trains the model on it: by
    search with known labels (of everything, or through the first layer alone), or of one example exactly by the ratios
    of a first dense layer; the middle where no unit has a gradient."""
    low, span, z_k, y_k = given
    settings = gradients.Settings(kind.how.steps, kind.how.lr, "cosine", kind.how.tv, 0.0, 1.0)
    seen = kind.image if kind.image and kind.how.tv else z_k.shape[1:]  # the shape of an example in the search

    def loss_of(weights, z, y_b, key):
        x = (low + span * z.reshape(len(z), -1)).reshape(-1, *kind.shape)
        logits_bc = apply(params | {"params": weights}, x, hyper, key).logits_bc
        return -jnp.take_along_axis(jax.nn.log_softmax(logits_bc), y_b[:, None], 1).mean()

    asked = gradients.gradient_of
    if kind.name == "gradients_layer":
        asked = functools.partial(gradients.through_first_layer, input_of=lambda z: low + span * z.reshape(len(z), -1))

    def batch(part):
        z_bd, y_b, key = part
        sent = gradients.gradient_of(loss_of, params["params"], z_bd, y_b, key)
        if kind.name == "gradients_ratio":  # of the first layer, whose input is x itself
            x_d = gradients.analytic(sent["layers"][0]["kernel"], sent["layers"][0]["bias"])
            return jnp.nan_to_num((x_d[None] - low) / span, nan=0.5)
        own = jax.random.fold_in(key, 1)  # the attacker does not know the client's
        start = jax.random.uniform(own, (kind.how.restarts, len(z_bd), *seen))
        z_r, apart_r = gradients.match(loss_of, params["params"], sent, start, y_b, settings, own, gradient_of=asked)
        return z_r[jnp.argmin(jnp.where(jnp.isnan(apart_r), jnp.inf, apart_r))].reshape(z_bd.shape)

    count = len(z_k) // kind.size
    parts = z_k[: count * kind.size].reshape(count, kind.size, -1), y_k[: count * kind.size].reshape(count, kind.size)
    return jax.lax.map(batch, (*parts, jax.random.split(key, count))).reshape(count * kind.size, -1)
