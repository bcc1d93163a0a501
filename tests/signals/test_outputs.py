"""What arrays from elsewhere hold: read as it is meant, or asked about; and the same signals from each form."""

import jax
import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

from jaxsnn_mia.attacks import signals
from jaxsnn_mia.signals import outputs
from jaxsnn_mia.signals.outputs import as_labels, as_logits, classes_of, floor_of, kind_of

logit_confidence = jax.jit(signals.logit_confidence)

S, N, A, C = 4, 30, 2, 5
RNG = np.random.default_rng(0)
LOGITS = 3 * RNG.normal(size=(S, N, C))
LABELS = RNG.integers(C, size=N)
BINARY = 3 * RNG.normal(size=(S, N))
FORMS = {
    "logits": LOGITS,
    "probabilities": softmax(LOGITS, -1),
    "log_probabilities": log_softmax(LOGITS, -1),
    "losses": -log_softmax(LOGITS, -1)[:, np.arange(N), LABELS],
    "labels": LOGITS.argmax(-1),
}


@pytest.mark.parametrize("kind", outputs.OUTPUTS)
def test_what_is_named_is_taken_and_its_contradiction_refused(kind):
    assert kind_of(FORMS[kind], kind, labelled=True) == kind
    # log probabilities are logits too, and give the same signals; [S, N] from 0 on may be of a binary model
    may_be = {"log_probabilities": {"logits"}, "losses": {"logits"}}
    for other in set(outputs.OUTPUTS) - {kind} - may_be.get(kind, set()):
        with pytest.raises(ValueError, match=f"outputs: {other} are not what this array holds: "):
            kind_of(FORMS[kind], other, labelled=True)


@pytest.mark.parametrize(
    ("array", "labelled", "asked"),
    [
        (FORMS["probabilities"], True, "rows sum to 1.*outputs=probabilities or outputs=logits"),
        (np.round(FORMS["probabilities"], 2), True, "rows sum to 1"),
        (FORMS["probabilities"].astype(np.float16), True, "rows sum to 1"),
        (expit(LOGITS), True, r"rows lie in \[0, 1\]"),
        (expit(BINARY), True, "outputs=losses or outputs=probabilities"),
        (expit(BINARY), False, "outputs=losses or outputs=probabilities"),
        (BINARY, True, "are no losses.*outputs=logits"),
        (FORMS["labels"], True, "int64 of whole numbers.*outputs=labels"),
        (FORMS["labels"].astype(float), True, "float64 of whole numbers.*outputs=labels"),
        (LOGITS, False, "without labels can be read in two ways"),
        (np.abs(LOGITS[..., :1]), True, "can be read in two ways"),
    ],
)  # fmt: skip
def test_what_has_two_readings_is_asked_about(array, labelled, asked):
    with pytest.raises(ValueError, match=asked):
        kind_of(array, None, labelled)


def test_what_has_one_reading_is_taken():
    assert kind_of(LOGITS, None, labelled=True) == "logits"
    assert kind_of(np.repeat(LOGITS[:, :, None], A, 2), None, labelled=True) == "logits"
    assert kind_of(10 * FORMS["losses"], None, labelled=False) == "losses"


@pytest.mark.parametrize("bad", [np.nan, "text", 1j])
def test_nan_and_what_are_no_numbers_are_refused(bad):
    array = np.full((S, N, C), bad)
    with pytest.raises(ValueError, match=r"NaN|numbers are needed, got"):
        kind_of(array, "logits", labelled=True)


def test_infinite_logits_and_shapes_are_refused():
    with pytest.raises(ValueError, match="infinite values"):
        kind_of(np.where(LOGITS > 7, np.inf, LOGITS), "logits", labelled=True)
    with pytest.raises(ValueError, match=r"got shape \(30,\)"):
        kind_of(LABELS, None, labelled=True)
    with pytest.raises(ValueError, match="one of logits, probabilities"):
        kind_of(LOGITS, "logit", labelled=True)
    with pytest.raises(ValueError, match="probabilities need the labels"):
        kind_of(FORMS["probabilities"], "probabilities", labelled=False)


def test_every_form_of_classes_gives_the_same_confidence():
    want = logit_confidence(LOGITS[0][:, None].astype(np.float32), LABELS)
    for kind in outputs.OF_CLASSES:
        z = as_logits(FORMS[kind][0], kind, LABELS, floor_of(FORMS[kind], kind))
        np.testing.assert_allclose(logit_confidence(z, LABELS), want, rtol=2e-4, atol=2e-5)
    np.testing.assert_array_equal(as_logits(LOGITS[0], "logits", LABELS, 0.5)[:, 0], LOGITS[0].astype(np.float32))


@pytest.mark.parametrize("last", [(), (1,)])
def test_a_binary_model_of_one_logit_or_probability(last):
    """phi of class 1 is the logit itself, of class 0 its negative."""
    labels = LABELS % 2
    want = np.where(labels == 1, BINARY[0], -BINARY[0])
    for kind, array in (
        ("logits", BINARY),
        ("probabilities", expit(BINARY)),
        ("log_probabilities", -np.log1p(np.exp(-BINARY))),
    ):
        array = array.reshape(*array.shape, *last)
        assert kind_of(array, kind, labelled=True) == kind
        assert classes_of(array, kind) == 2
        z = as_logits(array[0], kind, labels, floor_of(array, kind))
        np.testing.assert_allclose(logit_confidence(z, labels)[:, 0], want, rtol=1e-5, atol=1e-5)


def test_masked_classes_have_probability_zero():
    """-inf for some classes is the softmax without them."""
    masked = LOGITS[0].copy()
    labels = LABELS.copy()
    masked[:, 4], labels[labels == 4] = -np.inf, 0
    z = as_logits(masked, "logits", labels, floor_of(masked[None], "logits"))
    assert np.isfinite(z).all()
    want = logit_confidence(masked[:, None, :4].astype(np.float32), labels)
    np.testing.assert_allclose(logit_confidence(z, labels), want, atol=1e-5)


@pytest.mark.parametrize("digits", [2, 3])
def test_rounded_probabilities_of_zero_and_one_are_half_a_step(digits):
    """The label's 0, and the rest's 0 where the label has 1, are taken for half of the least that was given."""
    p = np.zeros((1, 2, 3))
    p[0, 0], p[0, 1] = (1, 0, 0), (0, 1 - 10.0**-digits, 10.0**-digits)
    floor = floor_of(p, "probabilities")
    assert floor == pytest.approx(0.5 * 10.0**-digits)
    z = as_logits(p[0], "probabilities", np.array([0, 0]), floor)
    phi = np.asarray(logit_confidence(z, np.array([0, 0])))[:, 0]
    np.testing.assert_allclose(phi, [-np.log(floor), np.log(floor)], rtol=1e-3)


def test_labels_of_any_whole_type_are_widened_once():
    for dtype in (np.uint8, np.int8, np.uint16, ">i4", np.uint64, bool, np.float32):
        labels = as_labels(np.array([0, 1, 1]).astype(dtype), 2)
        assert labels.dtype == np.int64
        assert labels.tolist() == [0, 1, 1]
    many = as_labels(np.arange(200, dtype=np.uint8), 300)
    z = RNG.normal(size=(200, 300)).astype(np.float32)
    rows = np.arange(200)
    rest = np.where(np.arange(300) == many[:, None], -np.inf, z)
    want = z[rows, many] - np.log(np.exp(rest).sum(1))
    for labels in (many, many.astype(np.uint8)):
        np.testing.assert_allclose(logit_confidence(z[:, None], labels)[:, 0], want, rtol=1e-4)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 1.7], "whole numbers are needed, got 1.7"), ([0, np.nan], "got nan"), ([0, -1], "got -1 to 0"),
        ([0, -100], "Leave examples without a class out"), ([1, 5], r"in \[0, 4\]"), ([[0], [1]], r"shape \(2, 1\)"),
    ],
)  # fmt: skip
def test_labels_that_are_none_are_refused(labels, says):
    with pytest.raises(ValueError, match=says):
        as_labels(np.array(labels), C)
