"""What arrays from elsewhere hold: logits, probabilities, log probabilities, losses or predicted labels.

Public: `OUTPUTS`, `kind_of`, `as_labels`, `floor_of`, `as_logits`. A kind is taken as it was named, or seen where the
values leave one reading; what can be read in two ways is asked about.
"""

from collections.abc import Iterable

import numpy as np

OUTPUTS = ("logits", "probabilities", "log_probabilities", "losses", "labels")
OF_CLASSES = OUTPUTS[:3]  # kinds with an axis of classes, or one value of a binary model
NEAR_ONE = 0.1  # of sums that look like those of probabilities
SUM_TOLERANCE = 0.02  # of sums of probabilities: float16 and rounding
LARGEST = float(np.finfo(np.float32).max)
FAR_BELOW = 104.0  # in nats: a class of probability 0, below the least float32


class Summary:
    """What the values of an array are like, gathered a model at a time: it may be a memory map."""

    def __init__(self, outputs: np.ndarray, name: str):
        self.integers = outputs.dtype.kind in "iub"
        self.least, self.most = np.inf, -np.inf
        self.whole, self.masked, self.infinite = True, False, False
        self.sum_away = self.log_sum_away = 0.0  # the furthest that a sum of a row, or of its exp, is from 1
        for row in outputs:
            values = as_floats(row, name)
            if np.isnan(values).any():
                raise ValueError(f"{name}: NaN. Leave diverged models and their partners out.")
            finite = values[np.abs(values) < LARGEST]
            self.masked |= bool((values <= -LARGEST).any())
            self.infinite |= bool((values >= LARGEST).any())
            if finite.size:
                self.least, self.most = min(self.least, finite.min()), max(self.most, finite.max())
                self.whole &= bool((finite == np.round(finite)).all())
            if values.ndim > 1:
                with np.errstate(over="ignore"):
                    sums, log_sums = values.sum(-1), np.exp(values).sum(-1)
                self.sum_away = max(self.sum_away, np.abs(sums - 1).max(initial=0.0))
                self.log_sum_away = max(self.log_sum_away, np.abs(log_sums - 1).max(initial=0.0))

    @property
    def in_unit(self) -> bool:
        """Whether all values lie in [0, 1]."""
        return self.least >= 0 and self.most <= 1 and not self.masked and not self.infinite

    @property
    def span(self) -> str:
        return f"values from {self.least:.6g} to {self.most:.6g}"


def as_floats(values: np.ndarray, name: str) -> np.ndarray:
    """float64, of any number type of any byte order; ValueError for text, objects and complex numbers."""
    values = np.asarray(values)
    if values.dtype.kind not in "fiub" and values.dtype.name not in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        raise ValueError(f"{name}: numbers are needed, got {values.dtype}.")
    return values.astype(np.float64)


def kind_of(outputs: np.ndarray, given: str | None, labelled: bool, name: str = "outputs") -> str:
    """What an array of outputs holds, one of `OUTPUTS`.

    Args:
      outputs: [S, N, C] or [S, N, A, C] of classes (of a binary model also [S, N], [S, N, 1] or [S, N, A, 1]: the logit
        or the probability of class 1), losses or predicted labels [S, N] or [S, N, A].
      given: what its owner says; None: what the values leave as the only reading.
      labelled: whether labels are there.

    Raises:
      ValueError: another name, values that contradict it, values with two readings, NaN, or no labels where they are
        needed.
    """
    if given is not None and given not in OUTPUTS:
        raise ValueError(f"outputs must be one of {', '.join(OUTPUTS)}, got {given!r}.")
    if outputs.ndim not in (2, 3, 4) or 0 in outputs.shape:
        raise ValueError(
            f"{name}: expected [S, N, C] or [S, N, A, C] of classes, or [S, N] of losses, labels or a binary model, "
            f"got shape {outputs.shape}."
        )
    seen = Summary(outputs, name)
    kind = given or only_reading(outputs, seen, labelled, name)
    against = contradiction(kind, outputs, seen)
    if against:
        raise ValueError(f"{name}: {kind} are not what this array holds: {against}")
    if kind != "losses" and not labelled:
        raise ValueError(f"{name}: {kind} need the labels of the examples. Pass them, or losses [S, N].")
    return kind


def only_reading(outputs: np.ndarray, seen: Summary, labelled: bool, name: str) -> str:
    """The only kind that the values can be; ValueError asks where there are two."""

    def ask(what: str, kinds: Iterable[str]) -> ValueError:
        return ValueError(f"{name}: {what} Say what they are: outputs={' or outputs='.join(kinds)}.")

    if seen.integers or (outputs.ndim == 2 and seen.whole):
        raise ask(f"{outputs.dtype} of whole numbers can be read in several ways.", ("labels", "losses", "logits"))
    binary = outputs.ndim == 2 or outputs.shape[-1] == 1
    if seen.in_unit:
        if binary:
            raise ask(
                f"all values of shape {outputs.shape} lie in [0, 1], as losses and probabilities of class 1 may.",
                ("losses", "probabilities"),
            )
        sums = "sum to 1, as probabilities do" if seen.sum_away <= NEAR_ONE else "lie in [0, 1], as few logits do"
        raise ask(f"all rows {sums}.", ("probabilities", "logits"))
    if binary:
        if seen.least < 0:
            raise ask(
                f"{seen.span} of shape {outputs.shape} are no losses; a binary model's logits of class 1 may be so.",
                ("logits", "log_probabilities"),
            )
        if outputs.ndim == 2:
            return "losses"
        raise ask(f"{seen.span} of shape {outputs.shape} can be read in two ways.", ("losses", "logits"))
    if not labelled:
        raise ask(f"shape {outputs.shape} without labels can be read in two ways.", ("losses", "logits"))
    return "logits"


def contradiction(kind: str, outputs: np.ndarray, seen: Summary) -> str:
    """Why the values cannot be of a kind, with the remedy; "" where they can."""
    if kind == "labels":
        if not seen.whole or seen.masked or seen.infinite or seen.least < 0:
            return f"labels are whole numbers from 0 on, got {seen.span}."
        return f"labels are [S, N] or [S, N, A], got {outputs.shape}." if outputs.ndim == 4 else ""
    if seen.integers:
        return f"they are floats, got {outputs.dtype}. Of predicted labels pass outputs=labels."
    binary = outputs.ndim == 2 or outputs.shape[-1] == 1
    if kind == "losses":
        if outputs.ndim == 4 or seen.least < 0 or seen.masked:
            return f"losses are at least 0, [S, N] or [S, N, A], got {seen.span}, shape {outputs.shape}."
        if not binary and seen.in_unit and seen.sum_away <= SUM_TOLERANCE:
            return "all rows sum to 1, as probabilities do. Pass outputs=probabilities."
        return ""
    if seen.infinite:
        return "infinite values. Leave diverged models and their partners out."
    if kind == "logits" and not binary and seen.in_unit and seen.sum_away <= NEAR_ONE:
        return "all rows sum to 1, as probabilities do. Pass outputs=probabilities."
    if kind == "probabilities":
        if not seen.in_unit:
            return f"probabilities lie in [0, 1], got {seen.span}."
        if not binary and seen.sum_away > SUM_TOLERANCE:
            return f"rows sum to 1 within {SUM_TOLERANCE:g}, got {seen.sum_away:.3g} away. Divide by the sums."
    if kind == "log_probabilities":
        if seen.most > 1e-6:
            return f"log probabilities are at most 0, got {seen.span}."
        if not binary and seen.log_sum_away > SUM_TOLERANCE:
            return f"rows of exp(x) sum to 1 within {SUM_TOLERANCE:g}, got {seen.log_sum_away:.3g} away."
    return ""


def as_labels(labels_n: np.ndarray, classes: int | None, name: str = "labels") -> np.ndarray:
    """int64 [N], of any type of whole numbers. ValueError for fractions, another shape, and labels outside
    [0, classes); None: any number of classes."""
    labels_n = np.asarray(labels_n)
    if labels_n.ndim != 1:
        raise ValueError(f"{name}: expected whole numbers [N], got shape {labels_n.shape}.")
    values = as_floats(labels_n, name)
    if not np.isfinite(values).all() or (values != np.round(values)).any():
        bad = values[~np.isfinite(values) | (values != np.round(values))][0]
        raise ValueError(f"{name}: whole numbers are needed, got {bad:g}.")
    widened = labels_n.astype(np.int64)
    most = np.iinfo(np.int64).max if classes is None else classes - 1
    if widened.size and (widened.min() < 0 or widened.max() > most):
        of = "of at least 0" if classes is None else f"in [0, {most}]"
        raise ValueError(
            f"{name}: classes {of} are needed, got {widened.min()} to {widened.max()}. Leave examples without a class "
            "out, and count from 0."
        )
    return widened


def classes_of(outputs: np.ndarray, kind: str) -> int | None:
    """How many classes the outputs of a kind tell of; None where they do not say."""
    if kind not in OF_CLASSES:
        return None
    return 2 if outputs.ndim == 2 or outputs.shape[-1] == 1 else outputs.shape[-1]


def floor_of(outputs: np.ndarray, kind: str) -> float:
    """What a probability of 0 is taken for: half of the least positive one of the array. Rounding, or the end of the
    type's range, has made it 0. Of losses: log 2 more than the largest finite one, in place of infinity."""
    if kind == "losses":
        finite = (row[np.isfinite(row)] for row in map(np.asarray, outputs))
        return float(max(row.max(initial=0.0) for row in finite) + np.log(2))
    if kind != "probabilities" and not any(np.isneginf(row).any() for row in outputs):
        return 0.0  # none is 0
    least = 1.0
    for row in outputs:
        z = of_classes(np.asarray(row, np.float64), kind)
        p = np.exp(z - log_sum(z))
        least = min(least, p[p > 0].min(initial=1.0))
    return float(least / 2)


def of_classes(values: np.ndarray, kind: str) -> np.ndarray:
    """Logits [N, ..., C] of one model, with -inf for a probability of 0; a binary model's one value becomes two
    classes."""
    if values.ndim == 1 or values.shape[-1] == 1:
        return two_classes(values if values.ndim == 1 else values[..., 0], kind)
    with np.errstate(divide="ignore"):
        return np.log(values) if kind == "probabilities" else values


def two_classes(of_one: np.ndarray, kind: str) -> np.ndarray:
    """Logits [..., 2] of a binary model from what it says of class 1."""
    if kind == "logits":
        return np.stack([np.zeros_like(of_one), of_one], -1)
    p = of_one if kind == "probabilities" else np.exp(of_one)
    with np.errstate(divide="ignore"):
        return np.stack([np.log1p(-p), np.log(p) if kind == "probabilities" else of_one], -1)


def log_sum(values: np.ndarray) -> np.ndarray:
    """log sum exp along the last axis, kept."""
    top = values.max(-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return top + np.log(np.exp(values - top).sum(-1, keepdims=True))


def as_logits(values: np.ndarray, kind: str, labels_n: np.ndarray, floor: float) -> np.ndarray:
    """Logits float32 [N, A, C] of one model, all of them finite.

    A class of probability 0 stays far below the others, so that it adds nothing. Where the label itself, or all that is
    not the label, has probability 0, it is taken for `floor`.

    Args:
      values: [N], [N, C] or [N, A, C] of a kind in `OF_CLASSES`.
      labels_n: int [N].
      floor: `floor_of` of all models.
    """
    z = of_classes(np.asarray(values, np.float64), kind)
    z = z[:, None] if z.ndim == 2 else z
    lost = np.isneginf(z)
    if lost.any():
        own = np.broadcast_to(labels_n[:, None, None] == np.arange(z.shape[-1]), z.shape)
        z_own = np.where(own, z, -np.inf).max(-1, keepdims=True)
        nothing_else = (lost | own).all(-1, keepdims=True)
        far = z.max(-1, keepdims=True) - FAR_BELOW
        rest = np.where(nothing_else, z_own + np.log(floor / max(z.shape[-1] - 1, 1)), far)
        z = np.where(lost, np.where(own, log_sum(z) + np.log(floor), rest), z)
    return z.astype(np.float32)
