"""What models from elsewhere say of examples, and the signals of attacks from it."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from jaxsnn_mia.signals import from_logits, outputs

OF_LOSSES = ("phi", "logp")  # the signals that a loss gives
OF_LABELS = ("correct", "label_noise")
OF_CLASSES = (*OF_LOSSES, "logp_t2", "entropy", "modified_entropy", "correct", "logits")


class Models(NamedTuple):
    """What M models say of N examples.

    Attributes:
      outputs: logits, probabilities or log probabilities [M, N, C], or [M, N, A, C] of A aligned queries of an example;
        of a binary model [M, N] of class 1; losses or predicted labels [M, N] or [M, N, A]. May be a memory map.
      labels_n: whole numbers [N]; None for losses.
      population, population_labels: the same of Z examples that are in no training set; or None.
      kind: what the outputs are, one of `outputs.OUTPUTS`; None: what they can only be (`outputs.kind_of`).
      floor: what a probability of 0 is taken for; `understood` sets it.
    """

    outputs: np.ndarray
    labels_n: np.ndarray | None
    population: np.ndarray | None = None
    population_labels: np.ndarray | None = None
    kind: str | None = None
    floor: float = 0.0

    @property
    def known(self) -> tuple[str, ...]:
        """The signals that the outputs give."""
        of = {"losses": OF_LOSSES, "labels": OF_LABELS}.get(self.kind or "", OF_CLASSES)
        return of if self.population is None else (*of, *(f"{name}_population" for name in of))

    @property
    def queries(self) -> int:
        """How many answers there are of an example."""
        with_queries = 4 if self.kind in outputs.OF_CLASSES else 3
        return self.outputs.shape[2] if self.outputs.ndim == with_queries else 1

    def signal(self, name: str) -> np.ndarray:
        """A signal [M, N, A, ...] by the names of `attacks.Attack`, of models that are `understood`."""
        if name.endswith("_population"):
            assert self.population is not None
            population = self._replace(outputs=self.population, labels_n=self.population_labels)
            return population.signal(name.removesuffix("_population"))
        return np.stack([self.of_one(name, row) for row in self.outputs])  # one at a time: it may be a memory map

    def of_one(self, name: str, row: np.ndarray) -> np.ndarray:
        """A signal [N, A, ...] of one model."""
        if self.kind == "losses":
            return of_losses(name, as_queries(np.minimum(np.asarray(row, np.float64), self.floor)))
        assert self.labels_n is not None
        if self.kind == "labels":
            correct_na = as_queries(np.asarray(row)) == self.labels_n[:, None]
            return correct_na.mean(1, keepdims=True, dtype=np.float32) if name == "label_noise" else correct_na * 1
        return of_logits(name, outputs.as_logits(row, str(self.kind), self.labels_n, self.floor), self.labels_n)

    def of(self, examples_n: np.ndarray) -> "Models":
        """What they say of these examples, bool [N]."""
        if examples_n.all():
            return self
        labels_n = None if self.labels_n is None else self.labels_n[examples_n]
        return self._replace(outputs=self.outputs[:, examples_n], labels_n=labels_n)


def as_queries(values: np.ndarray) -> np.ndarray:
    """[N, A] of [N] or [N, A]."""
    return values if values.ndim == 2 else values[:, None]


def of_losses(name: str, loss_na: np.ndarray) -> np.ndarray:
    """log p = -loss, or log p - log(1 - p), float32 [N, A]."""
    loss_na = np.maximum(loss_na, 1e-12)
    value = -loss_na if name == "logp" else -loss_na - np.log(-np.expm1(-loss_na))
    return value.astype(np.float32)


def of_logits(name: str, logits_nac: np.ndarray, labels_n: np.ndarray) -> np.ndarray:
    if name == "logits":
        return logits_nac
    if name == "correct":
        return (logits_nac.argmax(-1) == labels_n[:, None]).astype(np.uint8)
    return np.asarray(COMPILED[name](logits_nac, labels_n))


# the labels were looked at (`fitting`), which a compiled function cannot do
COMPILED: dict[str, Callable] = {
    "phi": jax.jit(from_logits.logit_confidence),
    "logp": jax.jit(from_logits.log_confidence),
    "logp_t2": jax.jit(partial(from_logits.log_confidence, temperature=2.0)),
    "entropy": jax.jit(lambda logits_nac, labels_n: from_logits.entropy(logits_nac)),
    "modified_entropy": jax.jit(from_logits.modified_entropy),
}


def understood(models: Models, name: str = "models") -> Models:
    """The models with their kind, whole labels and what a 0 is taken for.

    Raises:
      ValueError: outputs that can be read in two ways or contradict their kind (`outputs.kind_of`), NaN, labels that do
        not fit.
    """
    kind = outputs.kind_of(models.outputs, models.kind, models.labels_n is not None, name)
    labels_n = fitting(models.outputs, models.labels_n, kind, f"{name}, labels")
    population_labels = models.population_labels
    if models.population is not None:
        of = f"{name}, population"
        outputs.kind_of(models.population, kind, population_labels is not None, of)
        population_labels = fitting(models.population, population_labels, kind, f"{of} labels")
        if len(models.population) != len(models.outputs):
            raise ValueError(f"{of}: expected {len(models.outputs)} models, got {len(models.population)}.")
    floor = 0.0 if kind == "labels" else outputs.floor_of(models.outputs, kind)
    return models._replace(labels_n=labels_n, population_labels=population_labels, kind=kind, floor=floor)


def fitting(of: np.ndarray, labels_n: np.ndarray | None, kind: str, name: str) -> np.ndarray | None:
    """The labels as int64 [N]; None for losses, which do not need them."""
    if labels_n is None or kind == "losses":
        return None
    if np.shape(labels_n) != of.shape[1:2]:
        raise ValueError(f"{name}: expected whole numbers [{of.shape[1]}], got shape {np.shape(labels_n)}.")
    return outputs.as_labels(labels_n, outputs.classes_of(of, kind), name)
