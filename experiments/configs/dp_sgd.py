"""32 shadow models of the dense ANN and its spiking twin on digits, privately trained at three epsilons; or clipped.

    python experiments/run.py --config=experiments/configs/dp_sgd.py --workdir=runs/dp_sgd

The noise is solved for each epsilon at delta 1e-5, add or remove one example. Every example is included by a fair coin,
so that the lower bound of epsilon that one training gives stands beside the accounted one. Expected on 2 x86 cores: 86
seconds. Expected result, clipped and at epsilon 32, 8 and 2: test accuracy .97, .95, .92, .84 (ANN) and .96, .94, .91,
.80 (SNN), AUC of the strongest attack .65, .62, .59, .56 and .67, .62, .59, .55. `dp_sgd.py:smoke` is a run on 600
rows.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import config
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.splits.n_shadows = 32
    c.splits.rows = "iid"
    c.train.dp_clip = 1.0
    c.train.lr = 5e-3
    c.train.epochs = 30
    c.train.batch_size = 256
    c.sweep.family = ("ann", "snn")
    c.sweep.dp_epsilon = (0.0, 32.0, 8.0, 2.0)  # 0: no noise
    c.report.title = "DP-SGD: a dense ANN and its spiking twin"
    return config.smoke(c, mode, data__rows=600, model__hidden=(16,), train__epochs=3, sweep__dp_epsilon=(0.0, 8.0))
