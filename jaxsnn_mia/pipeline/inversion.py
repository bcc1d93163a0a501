"""The inversion stages: inputs reconstructed from trained models, of all models at once, and what they leak."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsnn_mia.config import against_data
from jaxsnn_mia.data import splits
from jaxsnn_mia.data.prepared import candidates, rows_of
from jaxsnn_mia.pipeline import inversion_rows
from jaxsnn_mia.pipeline.trained import load_inputs
from jaxsnn_mia.reconstruction import decoder, gradients, inversion
from jaxsnn_mia.settings import Config, Inversion, as_dict
from jaxsnn_mia.store.files import write_array
from jaxsnn_mia.store.stage import STAGE_VERSION, provenance, run_stage, stage_path
from jaxsnn_mia.training.ensemble import make_ensemble
from jaxsnn_mia.training.inputs import Inputs, first_rows, repeat_last
from jaxsnn_mia.training.loop import load_group, valid_shadows

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


def inversion_stages(c: Config, folder: Path, paths: dict[str, Path]) -> dict[str, Path]:
    """A stage for each way: inversion-<hash>/z.npy float32 [S, K, D] (of clients z1, z4, ...), grid.npy for the report,
    and what `inversion_rows.write` writes."""
    found: dict[str, Path] = {}
    for name in c.inversion.names:
        settings = {k: v for k, v in as_dict(c.inversion).items() if k != "names"}
        inputs = {"name": name, "settings": settings, "metrics": as_dict(c.metrics),
                  "epoch": c.signals.epoch, "train": paths["train"].name, "splits": paths["splits"].name}  # fmt: skip
        path = stage_path(folder, "inversion", STAGE_VERSION["inversion"], inputs)

        def work(path: Path, name=name) -> None:
            s = scene(c, paths["data"])
            valid_s = valid_shadows(paths["train"])
            at_s = np.flatnonzero(valid_s & valid_s[splits.partners(len(valid_s))])[: c.inversion.shadows or None]
            if name in BATCHES:
                sizes = (1,) if name == "gradients_ratio" else c.inversion.batch_sizes
                arrays = {f"z{size}": ask(c, paths, s, at_s, name, size) for size in sizes}
                rows = [
                    row for size in sizes for row in inversion_rows.of_batches(c, s, at_s, arrays[f"z{size}"], size)
                ]
            else:
                arrays = {"z": ask(c, paths, s, at_s, name)}
                measure = inversion_rows.of_classes if name in CLASSES else inversion_rows.of_examples
                rows = measure(c, s, paths, at_s, arrays["z"])
            shown = inversion_rows.grid(c, s, next(iter(arrays.values())), name in CLASSES)
            if shown is not None:
                arrays["grid"] = shown
            for array_name, array in arrays.items():
                write_array(path / f"{array_name}.npy", array)
            targets = np.arange(arrays["z"].shape[1]) if name in CLASSES else s.at_k
            inversion_rows.write(path, f"inversion_{name}", rows, at_s, targets)

        found[f"inversion/{name}"] = run_stage(path, work, inputs=inputs, **provenance())
    return found


def ask(c: Config, paths: dict[str, Path], s: Scene, at_s: np.ndarray, name: str, size: int = 0) -> np.ndarray:
    """z [S, K, D] of the models `at_s`, of one program."""
    loaded = load_inputs(c, paths)
    rate = c.model.encoding == "rate"
    model = loaded.spec.model
    if rate:  # the network takes spikes that are made here, so that a gradient gets through
        shape = (model.time_steps, *model.in_shape)
        model = dataclasses.replace(model, timed=True, in_shape=shape, encoding="direct")
    work = loaded._replace(spec=dataclasses.replace(loaded.spec, model=model))
    state, batch, devices = trained(c, paths, work, at_s)
    ensemble = make_ensemble(work.spec, seed=work.seed, width=1, devices=devices)
    image = against_data.image_of(c, s.box.shape)
    kind = Kind(name, c.inversion, c.model.time_steps if rate else 0, s.box.shape, image, model.n_classes, size)
    shared = tuple(map(jnp.asarray, (s.box.low[None], s.box.span[None], s.population[0], *s.targets)))
    return np.asarray(first_rows(ensemble.query(one(kind))(state, batch, shared, ())["z"], len(at_s)))


def trained(c: Config, paths: dict[str, Path], work: Inputs, at_s: np.ndarray) -> tuple[Any, Any, list]:
    """(states, shadows, devices) of the models `at_s`, repeated up to a multiple of the devices."""
    used = jax.local_devices()[: c.ensemble.devices or None]
    plan = json.loads((paths["train"] / "plan.json").read_text())
    ensemble = make_ensemble(work.spec, seed=work.seed, width=1, devices=used)
    states, batches, first = [], [], 0
    for group in range(plan["groups"]):
        epoch = c.signals.epoch or None
        whole, batch, real = load_group(paths["train"], work, ensemble, plan, group, len(used), epoch)
        own = at_s[(at_s >= first) & (at_s < first + real)] - first
        states.append(jax.tree.map(lambda a, own=own: np.asarray(a)[own], whole.state))
        batches.append(jax.tree.map(lambda a, own=own: np.asarray(a)[own], batch))
        first += real
    state, batch = (jax.tree.map(lambda *a: np.concatenate(a), *parts) for parts in (states, batches))
    padded = -(-len(at_s) // len(used)) * len(used)
    return repeat_last(state, padded), repeat_last(batch, padded), used


class Kind(NamedTuple):
    """A way of reconstructing, static: `steps` of a rate-coded input (0: analogue), `size` of a client's batch."""

    name: str
    how: Inversion
    steps: int
    shape: tuple[int, ...]
    image: tuple[int, int, int] | None
    n_classes: int
    size: int


@functools.cache
def one(kind: Kind) -> Callable:
    """fn(apply, params, x, y, hyper, key) -> {"z": [K, D]} of ONE model, as `Ensemble.query` takes it."""
    how = kind.how
    ascent = inversion.Ascent(how.steps, how.lr, how.tv, how.l2, 0.0, 1.0, how.process_every)

    def of_model(apply, params, x, y, hyper, key):
        low, span, z_public, z_k, y_k = x

        def of_spikes(spikes_trd, key):
            moved = low[None] + span[None] * jnp.moveaxis(spikes_trd, 0, 1)
            return apply(params, moved.reshape(*moved.shape[:2], *kind.shape), hyper, key).logits_bc

        def analogue(z_rd, key):
            return apply(params, (low + span * z_rd).reshape(-1, *kind.shape), hyper, key).logits_bc

        logits_of = inversion.through_rate(of_spikes, kind.steps) if kind.steps else analogue
        start, run = jax.random.split(key)
        if kind.name == "black":
            public, asked = (decoder.features(logits_of(z, run), how.keep or None) for z in (z_public, z_k))
            return {"z": decoder.decode(decoder.train(start, public, z_public, decoder.Settings()), asked)}
        if kind.name in BATCHES:
            return {"z": from_gradients(apply, params, (low, span, z_k, y_k), hyper, key, kind)}
        wanted = jnp.arange(kind.n_classes)
        if kind.name == "white_example":
            wanted = jax.nn.softmax(logits_of(z_k, run))
        count = len(wanted)
        wanted = jnp.repeat(wanted, how.restarts, axis=0)
        if kind.name == "spikes":
            begin = jax.random.normal(start, (kind.steps, len(wanted), low.shape[1]))
            box = ascent._replace(low=-2.0, high=2.0)
            z_rd, _, score_r = inversion.invert_spikes(of_spikes, begin, wanted, box, run, image=kind.image)
        else:
            begin = jax.random.uniform(start, (len(wanted), low.shape[1]))
            z_rd, score_r = inversion.invert(logits_of, begin, wanted, ascent, run, image=kind.image)
        return {"z": inversion.best(z_rd, score_r, count)[0]}

    return of_model


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
