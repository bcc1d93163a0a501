"""Modules of the caller's own: looked at before training, in one line; what they read is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mia import attacks, models
from jaxsnn_mia.models import Hyper, ModelSpec, own
from jaxsnn_mia.pipeline.run import run_pipeline
from tests.models import own_modules
from tests.runs import scores, small

pytestmark = pytest.mark.usefixtures("unpainted")

X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 6)), jnp.float32)


def spec(name, **changes):
    return dataclasses.replace(
        ModelSpec("ann", (6,), 2, architecture=f"tests.models.own_modules:{name}", time_steps=4), **changes
    )


def answers(name, *, train, key=1):
    model = models.build(spec(name))
    return model.apply(model.init(jax.random.key(0)), X, Hyper(), jax.random.key(key), train=train)


def test_what_a_module_reads_is_known():
    assert own.probed(spec("Linear")).reads == set()
    assert own.probed(spec("Narrow")).reads == {"qmax_weight"}
    assert own.probed(spec("Spiking")).reads == {"beta", "threshold", "slope"}


def test_a_surrogate_that_is_read_changes_the_program_and_another_setting_does_not():
    programs = {own.probed(spec("Spiking", surrogate=name)).program for name in ("arctan", "sigmoid")}
    assert len(programs) == 2
    assert own.probed(spec("Linear", surrogate="sigmoid")) == own.probed(spec("Linear", reset="zero"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Bare", r"calling it by \(x, hyper, key, train=True\) failed: ValueError: Bare must return Output"),
        ("OneTooMany", r"logits must be \[B, 2\], got \(3, 3\) for B=3"),
        ("Single", r"got \(3, 1\) for B=3. Of a single logit z give both"),
        ("Other", r"calling it by .* failed: TypeError"),
        ("Unmade", r"making it by \(spec, rngs=rngs\) failed"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(name, says):
    with pytest.raises(ValueError, match=says) as error:
        own.probed(spec(name))
    assert "\n" not in str(error.value)


def test_dropout_of_flax_draws_by_the_key_in_training_alone():
    one, same, other = (answers("Dropping", train=True, key=key).logits_bc for key in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    still = [answers("Dropping", train=False, key=key).logits_bc for key in (1, 2)]
    np.testing.assert_array_equal(*still)
    np.testing.assert_array_equal(still[0], answers("Linear", train=False).logits_bc)
    assert "key" not in str(jax.tree.structure(models.build(spec("Dropping")).init(jax.random.key(0))))


def test_batch_statistics_are_kept_and_known():
    moved = answers("Normalised", train=True).aux["statistics"]
    assert any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(moved))
    assert own.has_batch_statistics(spec("Normalised"))
    assert not own.has_batch_statistics(spec("Linear"))


def test_narrow_logits_become_float32():
    assert answers("Bfloat", train=False).logits_bc.dtype == jnp.float32


def run(tmp_path, name, **sections):
    model = {"architecture": f"tests.models.own_modules:{name}"}
    return run_pipeline(small(**{**sections, "model": model}), tmp_path, until="attacks")


@pytest.mark.parametrize(
    ("name", "sections", "says"),
    [
        ("Linear", {"sweep": {"bits": (32, 4)}}, r"`quantization.bits` must be 32 for .*Linear, which reads none of"),
        ("Linear", {"sweep": {"beta": (0.5, 0.9)}}, r"`sweep.beta` varies what .*Linear never reads: model.beta=0.5"),
        ("Linear", {"sweep": {"surrogate": ("arctan", "sigmoid")}}, r"`sweep.surrogate` varies what"),
        ("Normalised", {"train": {"dp_clip": 1.0}, "data": {"duplicates": "drop"}, "splits": {"rows": "iid"}},
         r"`train.dp_clip` must be 0 for .*Normalised: it keeps statistics"),
        ("Single", {}, "Of a single logit z give both"),
    ],
)  # fmt: skip
def test_it_is_refused_before_anything_is_trained(tmp_path, name, sections, says):
    with pytest.raises(ValueError, match=says):
        run(tmp_path, name, **sections)
    assert not list(tmp_path.glob("*/train-*"))


def test_a_module_with_dropout_and_an_own_attack_run(tmp_path):
    """`nnx.Dropout(rngs=rngs)` in an ensemble; the attack is `loss` on another scale."""
    own_attack = "tests.models.own_modules:attack"
    run(tmp_path, "Dropping", attacks={"names": ("loss", own_attack)}, splits={"n_shadows": 6}, train={"epochs": 2,
        "snapshot_epochs": ()}, sweep={"dataset": ("iris",)})  # fmt: skip
    found = scores(tmp_path)
    np.testing.assert_allclose(found["loss"], -np.logaddexp(0, -found[own_attack]), rtol=1e-5)


def test_an_own_attack_names_what_it_needs():
    assert attacks.named("tests.models.own_modules:attack") == attacks.Attack(own_modules.attack, ("phi", "keep"))
    assert attacks.named("lira") is attacks.ATTACKS["lira"]
    for name, says in (
        ("tests.models.own_modules:unknown_need", r"must be signals .* got \['confidence'\]"),
        ("tests.models.own_modules:nothing", "could not be found"),
        ("liar", "must be one of"),
    ):
        with pytest.raises(ValueError, match=says):
            attacks.named(name)
