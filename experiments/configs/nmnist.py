"""16 shadow models of a dense and of a recurrent net, ReLU and spiking, on N-MNIST in 10 bins of time.

    pip install -e '.[events]' -c launch/constraints.txt
    python -m jaxsnn_mia.data.fetch nmnist --dir FOLDER
    python experiments/run.py --config=experiments/configs/nmnist.py --workdir=runs/nmnist --config.data.dir=FOLDER

ReLU nets see the same frames step by step, and their logits are averaged. `nmnist.py:smoke` is a run on 1,000
recordings. Expected on 2 x86 cores: 77 minutes (`--dry_run`). The result is unmeasured: the recordings were not at
hand.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import config
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.data.name = "nmnist:10"
    c.splits.n_shadows = 16
    c.model.time_steps = 10
    c.train.epochs = 10
    c.train.batch_size = 128
    c.sweep.architecture = ("dense", "recurrent")
    c.sweep.family = ("ann", "snn")
    c.ensemble.chunk_seconds = 10.0
    c.report.title = "N-MNIST: dense and recurrent nets on events"
    return config.smoke(c, mode, data__rows=1000, model__hidden=(32,), train__epochs=2)
