"""What is trained is what the protocol says."""

import pytest

from experiments.study import conditions
from jaxsnn_mia import config
from jaxsnn_mia.config import sweep


@pytest.mark.long
def test_every_condition_is_a_config_of_the_protocol():
    for dataset, family, readout in conditions.kinds(conditions.DATASETS):
        c = config.from_dict(conditions.curves(dataset, family, readout, 1e-3))
        assert len(sweep.variants(c)) == 8 * 9
        assert (c.splits.n_shadows, c.train.epochs, c.train.batch_size, c.model.time_steps) == (64, 40, 64, 10)
        searched = sweep.variants(config.from_dict(conditions.searched(dataset, family, readout)))
        assert {(one.splits.seed, one.splits.n_shadows) for one in searched.values()} == {(1000, 16)}
        assert {one.train.lr for one in searched.values()} == {3e-4, 1e-3, 3e-3, 1e-2}
    assert 1000 not in conditions.SEEDS


def test_the_full_scale_has_four_times_the_shadows_and_convolutions():
    settings = conditions.full(conditions.curves("cifar10_jpeg", "ann", "leaky_integrator", 1e-3))
    c = config.from_dict(settings)
    assert (c.splits.n_shadows, c.model.architecture) == (256, "convnet")
