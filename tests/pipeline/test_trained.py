"""The trained models of a run, as a user loads them."""

import jax
import numpy as np
import pytest

from jaxsnn_mia.pipeline import trained
from jaxsnn_mia.signals.from_logits import logit_confidence
from jaxsnn_mia.store import checkpoint
from jaxsnn_mia.store.files import StoreError
from tests.runs import scores

VARIANT = "breast_cancer-ann"


@pytest.fixture(scope="module")
def run(small_run):
    return trained.load(small_run, VARIANT)


def test_a_run_gives_what_its_stages_hold(run, small_run):
    S, N = run.keep.shape
    assert (S, N) == (8, len(run.x)) == (8, len(run.y))
    assert run.keep.dtype == bool
    assert run.valid.all()
    for name, array in scores(small_run).items():
        np.testing.assert_array_equal(run.scores(name), array)
    assert run.signal("phi").shape == (S, N, 1)
    population = np.load(next(small_run.glob("data-*/role.npy"))) == 1
    assert run.signal("phi", "population").shape == (S, population.sum(), 1)
    assert run.hyper.lr == run.config.train.lr
    assert run.spec.model.hidden == (16,)


def test_the_parameters_of_a_shadow_are_those_of_its_checkpoint(run, small_run):
    group = next(small_run.glob(f"{VARIANT}/train-*")) / "group-00001"
    for epoch in (None, 2):
        whole = checkpoint.checkpointer().restore(checkpoint.step_path(group, epoch or 6).absolute())
        leaves = jax.tree.leaves(run.params(6, epoch)["params"])
        held = [whole[name][2] for name in sorted(whole) if name.startswith("state.params.params")]
        assert sorted(map(np.shape, leaves)) == sorted(map(np.shape, held))
        assert sum(float(np.abs(a).sum()) for a in leaves) == pytest.approx(sum(np.abs(a).sum() for a in held))


def test_the_answers_are_those_that_were_attacked(run):
    """All models at once, and one model alone, against the confidences on disk."""
    logits = run.logits(run.x[:40])
    phi = logit_confidence(logits[:, :, None], run.y[:40])
    np.testing.assert_allclose(phi, run.signal("phi")[:, :40], rtol=1e-4, atol=1e-4)
    for shadow in (0, 5):
        one = run.apply(shadow, run.x[:40]).logits_bc
        np.testing.assert_allclose(one, logits[shadow], rtol=1e-4, atol=1e-4)


def test_chosen_models_are_those_of_their_numbers(run):
    at_s = np.array([1, 2, 6])
    models = run.chosen(at_s)
    assert (models.real, len(models.shadows.ids)) == (3, 4)  # four devices
    np.testing.assert_array_equal(models.shadows.ids[:3], at_s)
    for place, shadow in enumerate(at_s):
        jax.tree.map(
            lambda a, b, place=place: np.testing.assert_array_equal(a[place], b),
            models.state.params, run.params(shadow),
        )  # fmt: skip


def test_what_is_not_there_is_named(run, small_run, tmp_path):
    with pytest.raises(StoreError, match=r"no finished run.*--workdir"):
        trained.load(tmp_path, VARIANT)
    with pytest.raises(ValueError, match=r"`variant` must be one of \['breast_cancer-ann'\].*got 'iris'"):
        trained.load(small_run, "iris")
    with pytest.raises(ValueError, match=r"one of the attacks \['loss', 'lira', .* got 'quantile'"):
        run.scores("quantile")
    with pytest.raises(ValueError, match=r"`part` must be one of .*got 'members'"):
        run.signal("phi", "members")
    with pytest.raises(ValueError, match=r"`shadow` must be in \[0, 8\), got 8"):
        run.params(8)
