"""256 ResNet-18 shadows on CIFAR-10, half of the training images each, for one accelerator.

    timeout --signal=TERM 470 python experiments/run.py --config=experiments/configs/cifar10_resnet.py \\
        --workdir=runs/cifar10 --config.data.dir=FOLDER

Stops by itself before eight minutes with everything kept and exit code 75; the same command goes on. FOLDER holds
`cifar10_jpeg.npz`; `--config.data.name=tfds:cifar10` reads the original images. The recipe is that of fast single runs
(momentum with a cosine, smoothed labels, crop, flip and cutout) in bfloat16; `--dry_run` tells the FLOPs. Expected on 2
x86 cores: 37 to 50 days (`--dry_run`). The goal, ten minutes for all 256 at 92 % test accuracy on an H200, is
unmeasured.
`--config.model.family=snn` trains the spiking twin (T = 10; `--config.model.time_steps=4` for less).
`cifar10_resnet.py:smoke` is a ResNet-8 on 600 rows.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import config
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.data.name = "cifar10_jpeg"
    c.data.population = 0.1
    c.data.augment = "crop_flip_cutout"
    c.splits.n_shadows = 256
    c.model.family = "ann"
    c.model.architecture = "resnet18"
    c.model.hidden = ()
    c.train.optimizer = "sgd"
    c.train.schedule = "cosine"
    c.train.lr = 0.1
    c.train.weight_decay = 5e-4
    c.train.smoothing = 0.1
    c.train.epochs = 16
    c.train.batch_size = 128
    c.train.precision = "bfloat16"
    c.ensemble.chunk_seconds = 20.0
    c.signals.queries = 18
    c.report.title = "256 ResNet-18 shadows on CIFAR-10"
    return config.smoke(
        c, mode, data__rows=600, model__architecture="resnet8", train__epochs=1, train__precision="float32",
        signals__queries=2,
    )  # fmt: skip
