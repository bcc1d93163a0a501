"""The small convolutional net of the literature on Fashion-MNIST: ReLU everywhere, spikes in the dense layers alone
("hybrid", what arXiv 2411.06613 calls its SNN), spikes everywhere.

    pip install -e '.[tfds]' -c launch/constraints.txt
    python -m jaxsnn_mia.data.tfds fashion_mnist
    python experiments/run.py --config=experiments/configs/fashion_mnist.py --workdir=runs/fashion_mnist

`--config.data.name=mnist_idx:FOLDER` reads the four published IDX files instead. `fashion_mnist.py:smoke` is a run on
600 rows. Expected: for an accelerator, where it is unmeasured; 2 x86 cores would take 1.7 hours for each of the first
two and 17 for the last (`--dry_run`). The result is unmeasured: the images were not at hand.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import config
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.data.name = "tfds:fashion_mnist"
    c.splits.n_shadows = 16
    c.model.architecture = "convnet"
    c.model.hidden = (1000,)
    c.train.epochs = 20
    c.train.batch_size = 128
    c.sweep.family = ("ann", "hybrid", "snn")
    c.ensemble.chunk_seconds = 20.0
    c.report.title = "Fashion-MNIST: where in a convolutional net neurons spike"
    return config.smoke(c, mode, data__rows=600, model__hidden=(64,), model__time_steps=4, train__epochs=2)
