"""32 shadow models of the dense ANN and its spiking twin on MNIST-10k, the 10,000 images of MNIST's test file.

    python experiments/run.py --config=experiments/configs/mnist.py --workdir=runs/mnist --config.data.dir=FOLDER

FOLDER holds `t10k-images-idx3-ubyte.gz` and `t10k-labels-idx1-ubyte.gz`. `--config.data.name=mnist_idx:FOLDER` takes
all four files, `tfds:mnist` what `python -m jaxsnn_mia.data.tfds mnist` prepared. `mnist.py:smoke` is a run on 1,000
rows. Expected on 2 x86 cores: 70 seconds. Expected result: test accuracy .945 (ANN) and .934 (SNN), AUC of online LiRA
.65 and .68, of the loss threshold .53 and .54.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import config
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.data.name = "mnist10k"
    c.splits.n_shadows = 32
    c.model.hidden = (256,)
    c.train.epochs = 20
    c.train.batch_size = 128
    c.sweep.family = ("ann", "snn")
    c.report.title = "MNIST-10k: a dense ANN and its spiking twin"
    return config.smoke(c, mode, data__rows=1000, model__hidden=(32,), train__epochs=3)
