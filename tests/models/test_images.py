"""Networks on images: parameters of the paper, an ensemble from end to end, what tables and families lack."""

import re

import jax
import numpy as np
import pytest

from jaxsnn_mia import config, models
from jaxsnn_mia.models import ModelSpec
from jaxsnn_mia.pipeline import cost
from jaxsnn_mia.pipeline.run import run_pipeline
from tests.runs import scores

RNG = np.random.default_rng(0)


def bars(n=120, size=8):
    """Two classes of noisy images uint8 [N, size, size, 3]: a bright row, a bright column."""
    y = np.arange(n) % 2
    x = RNG.integers(0, 80, (n, size, size, 3))
    for i, at in enumerate(RNG.integers(0, size, n)):
        x[(i, at) if y[i] else (i, slice(None), at)] += 150
    return x.astype(np.uint8), y


def test_resnet18_has_the_parameters_of_the_paper():
    """11.17 million for 32x32 images and 10 classes, as with batch normalisation; our convolutions also have biases."""
    model = models.build(ModelSpec("ann", (32, 32, 3), 10, hidden=(), architecture="resnet18"))
    shapes = jax.eval_shape(model.init, jax.random.key(0))["params"]
    leaves = {jax.tree_util.keystr(path): leaf.size for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)}
    of_convolutions = [name for name in leaves if "bias" in name and re.search("conv|stem|shortcut", name)]
    without_bias = sum(leaves.values()) - sum(leaves[name] for name in of_convolutions)
    assert abs(without_bias - 11_173_962) < 2 * 960  # three shortcuts have no normalisation here


@pytest.mark.long
def test_an_ensemble_of_convolutional_networks_end_to_end(tmp_path):
    x, y = bars()
    np.savez(tmp_path / "bars.npz", x=x, y=y)
    c = config.from_dict({
        "data": {"name": f"npz:{tmp_path / 'bars.npz'}", "augment": "flip"},
        "splits": {"n_shadows": 6},
        "model": {"family": "ann", "architecture": "convnet", "hidden": (16,)},
        "train": {"epochs": 40, "batch_size": 16, "lr": 0.003},
        "signals": {"queries": 18},
        "attacks": {"names": ("loss", "lira")},
        "metrics": {"replicates_auc": 20, "replicates_tpr": 20},
    })  # fmt: skip
    run_pipeline(c, tmp_path / "run")
    (folder,) = (tmp_path / "run").glob("data-*")
    assert np.load(folder / "x.npy").dtype == np.uint8
    phi = np.load(next((tmp_path / "run").glob("*/signals-*/phi/candidates-00000.npy")))
    assert phi.shape[2] == 18
    assert len(np.unique(phi[0, 0])) > 9
    history = np.load(next((tmp_path / "run").glob("*/train-*/history.npz")))
    assert history["accuracy"][:, -1].mean() > 0.85
    assert scores(tmp_path / "run")["lira"].shape[0] == 6
    (one,) = cost.estimate(c)
    assert one.flops > 1e6


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"signals": {"queries": 2}}, r"`signals\.queries` must be 1 for digits"),
        ({"data": {"augment": "flip"}}, r"`data\.augment` must be 'none' for digits"),
        (
            {"model": {"family": "ann", "architecture": "resnet8"}},
            r"`model\.architecture` must be 'dense' or 'recurrent' for digits",
        ),
    ],
)
def test_tables_have_no_convolutions(section, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run_pipeline(config.from_dict(section), tmp_path, until="data")


def test_a_family_that_an_architecture_lacks():
    with pytest.raises(ValueError, match=r"`model\.family` must be one of \['ann', 'snn'\] for resnet8, got 'hybrid'"):
        config.from_dict({"model": {"architecture": "resnet8", "family": "hybrid"}})
