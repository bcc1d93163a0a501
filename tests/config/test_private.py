"""Settings of private training: what they refuse, and the noise that an epsilon asks for."""

import math

import numpy as np
import pytest

from jaxsnn_mia import config
from jaxsnn_mia.config.specs import training_inputs
from jaxsnn_mia.config.sweep import variants
from jaxsnn_mia.privacy import accounting


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": {"dp_noise": 1.0}}, r"`train\.dp_noise` must be 0 without train\.dp_clip"),
        ({"train": {"dp_epsilon": 1.0}}, r"`train\.dp_epsilon` must be 0 without train\.dp_clip"),
        ({"train": {"dp_clip": -1.0}}, r"`train\.dp_clip` must be finite and at least 0"),
        ({"train": {"dp_clip": 1.0, "dp_noise": 1.0, "dp_epsilon": 1.0}}, r"`train\.dp_noise` must be 0 where"),
        ({"train": {"dp_clip": 1.0}, "sweep": {"dp_noise": (1.0,), "dp_epsilon": (1.0,)}}, r"`train\.dp_noise` must"),
        ({"train": {"dp_clip": 1.0, "dp_epsilon": 33.0}}, r"`train\.dp_epsilon` must be at most 32, got 33"),
        ({"train": {"dp_clip": 1.0, "dp_delta": 1.0}}, r"`train\.dp_delta` must be in \(0, 1\)"),
        ({"train": {"dp_clip": 1.0}, "data": {"standardise": "per_shadow"}}, r"`data\.standardise` .* Use 'dataset'"),
        ({"train": {"dp_clip": 1.0}, "quantization": {"what": "activation", "bits": 8}}, r"`quantization\.what` must"),
        ({"train": {"dp_clip": 1.0}, "quantization": {"what": "all", "mode": "ptq"}}, r"`quantization\.what` must"),
        ({"train": {"dp_clip": 1.0, "mixup": 0.2}}, r"`train\.mixup` must be .* Use 0"),
        (
            {"train": {"dp_clip": 1.0}, "model": {"architecture": "resnet8", "norm": "tdbn"}},
            r"`model\.norm` must be .* Use 'group'",
        ),
        ({"train": {"dp_clip": 1.0, "stop_at_train_accuracy": 0.9}}, r"`train\.stop_at_train_accuracy` must be"),
        ({"train": {"dp_clip": 1.0, "stop_at_gap": 0.1}, "data": {"validation": 0.1}}, r"`train\.stop_at_gap` must"),
    ],
)
def test_what_touches_training_rows_unaccounted_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        config.from_dict(values)


def works(n=120, **changes):
    """Each variant's work on n random candidates."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 5)).astype(np.float32), (np.arange(n) % 2).astype(np.int32)
    x[1] = x[0] if changes.pop("twins", False) else x[1]
    keep_sn = rng.random((8, n)) < 0.5
    c = config.from_dict({"model": {"family": "ann", "hidden": (4,)}, **changes})
    return keep_sn, {name: training_inputs(one, x, y, 2, keep_sn) for name, one in variants(c).items()}


@pytest.mark.long
def test_a_sweep_over_epsilon_is_one_program_with_the_noise_solved():
    keep_sn, made = works(train={"dp_clip": 0.5, "epochs": 10, "batch_size": 20}, sweep={"dp_epsilon": (1.0, 4.0)})
    one, four = made.values()
    assert repr(one.spec) == repr(four.spec)
    assert one.hyper.dp_noise > four.hyper.dp_noise > 0
    spec, rows = one.spec, int(keep_sn.sum(1).max())
    assert (spec.private, spec.batch_size, spec.rows, spec.ragged) == (True, 20, rows, False)
    assert spec.rate == math.ceil(20 / 60 * 2**23) / 2**23  # of half of the candidates, whatever a model has
    steps = spec.epochs * spec.steps_per_epoch
    assert spec.capacity == accounting.capacity(spec.rate, rows + 1, steps, accounting.RARE * 1e-5)
    for target, member in ((1.0, one), (4.0, four)):
        spent = accounting.epsilon(member.hyper.dp_noise, spec.rate, steps, 0.99e-5)
        assert 0.99 * target < spent <= target
    (plain,) = works()[1].values()
    assert not plain.spec.private
    assert plain.hyper.dp_noise == 0


def test_duplicates_and_a_large_delta_are_refused_where_the_rows_are_known():
    with pytest.raises(ValueError, match=r"`data\.duplicates` must be 'drop' with train\.dp_clip"):
        works(train={"dp_clip": 1.0, "dp_noise": 1.0}, twins=True)
    works(twins=True)
    with pytest.raises(ValueError, match=r"`train\.dp_delta` must be in \(0, 1 / 60\)"):
        works(train={"dp_clip": 1.0, "dp_noise": 1.0, "dp_delta": 0.02})
